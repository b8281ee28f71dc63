"""DeepI2I: translation between many classes, by networks of a GAN that was trained before (Wang, Yu, van de Weijer,
NeurIPS 2020, arXiv:2011.05867).

    y = G(z, c, A(E(x)))
    L(D) = mean max(0, 1 - D(r, c_r)) + mean max(0, 1 + D(y, c))
    L(G) = -mean D(y, c) + sum over l of alpha_l mean (f_l(y) - f_l(x))^2

Symbols: x a source image, r a real one and c_r its class; c the class to translate to, drawn evenly, z a latent from
N(0, I); E encoder, A adaptor, G generator, D discriminator; f_l D's features in maps of l px, alpha_l
`reconstruction_weights`. What A gives is added to G's maps of l px, times `feature_weights`.

Transfer, as published: E and D start as BigGAN's discriminator, G as the average of its generator (`start: {file: ...,
rename: {ema.generator: generator}}`), A is new. For `adaptor_steps` D and A are trained, then G too; E never is. New
classes begin with the first rows of the earlier embeddings, whatever these meant. From scratch: no `start`,
`train_encoder: true`, `adaptor_steps: 0`, and the authors' `feature_weights: [1, 1, 1, 0.1]`.

Order and number of passes are those of the authors' code (yaxingwang/DeepI2I, commit 9eb03b7), because spectral norm
iterates once per pass, also in networks that are not trained, and G's running averages move in both updates. What
differs: the reconstruction compares each translation with its own source (theirs compares the first two translations of
a batch with each other, unless each device has one image); A is drawn orthogonal in both cases; states of the earlier
training's optimizers are not taken over; x and r are the halves of a batch twice as large.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods import conditional
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.models.biggan import Adaptor, BigGANDiscriminator, BigGANEncoder, BigGANGenerator, draw_orthogonal

_SHEET_CLASSES = 8  # columns of a sample sheet, at most
# Dimension that counts classes, in what an earlier run with other classes gives.
_CLASS_DIMENSIONS = {"generator.shared.weight": 0, "discriminator.embed.weight": 0, "discriminator.embed.u0": 1}


class DeepI2IConfig(MethodConfig):
    """DeepI2I's."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None
    data_names = ("labelled", "idx")

    name: str = "deepi2i"
    """Method: DeepI2I, translation between many classes."""
    adaptor_steps: int = Field(500, ge=0)
    """Steps in which D and A alone are trained; G joins then. From scratch: 0."""
    train_encoder: bool = False
    """Train E too, from the first step: for training from scratch."""
    generator_lr_factor: float = Field(0.25, gt=0)
    """Learning rate of G as a share of optim.lr, that of A and E: the paper's 1e-4 of 4e-4."""
    feature_weights: tuple[float, ...] = (0.1, 0.1, 0.1, 0.1)
    """Weights of what A adds to G's maps of 4, 8, 16 and 32 px, as many as there are (32 px: two, 64 px: three)."""
    reconstruction_weights: tuple[float, ...] = (0.1, 0.1, 0.1, 0.01)
    """Weights of the squared distance of D's features (alpha) in maps of 4, 8, 16 and 32 px, as many as there are."""
    generator: conditional.BigGANGeneratorConfig = conditional.BigGANGeneratorConfig()
    """Generator (G)."""
    discriminator: conditional.BigGANDiscriminatorConfig = conditional.BigGANDiscriminatorConfig()
    """Discriminator (D), and encoder (E)."""


@dataclass
class Drawn:
    """What one step plays with; of latents and classes to translate to the first are D's, the others G's."""

    real: Tensor  # (N, C, H, W)
    real_label: Tensor  # (N,)
    source: Tensor  # (N, C, H, W)
    source_label: Tensor  # (N,)
    latents: list[Tensor]  # (N, latent_size)
    labels: list[Tensor]  # (N,)


class DeepI2I(Method):
    Config = DeepI2IConfig
    inputs = frozenset({"image", "style", "label"})

    generator: BigGANGenerator
    sheet_seed: Tensor  # all sample sheets of a run show the latent of this seed

    def __init__(
        self,
        config: DeepI2IConfig,
        encoder: BigGANEncoder,
        adaptor: Adaptor,
        generator: BigGANGenerator,
        discriminator: BigGANDiscriminator,
        label_names: tuple[str, ...],
    ):
        super().__init__()
        self.config, self.label_names = config, label_names
        self.encoder, self.adaptor, self.generator, self.discriminator = encoder, adaptor, generator, discriminator
        self.encoder.requires_grad_(config.train_encoder)
        sizes_px = sorted(encoder.widths)
        for field in ("feature_weights", "reconstruction_weights"):
            if len(getattr(config, field)) < len(sizes_px):
                raise ValueError(f"{field}: needs {len(sizes_px)} numbers, of maps of {sizes_px} px")
        self.feature_weights = dict(zip(sizes_px, config.feature_weights, strict=False))
        self.reconstruction_weights = dict(zip(sizes_px, config.reconstruction_weights, strict=False))
        self.register_buffer("sheet_seed", torch.randint(2**31, (1,)))

    @classmethod
    def build(cls, config: DeepI2IConfig, networks: Networks) -> "DeepI2I":
        generator, discriminator = conditional.build_networks(config.generator, config.discriminator, networks)
        of_d = config.discriminator
        widths = conditional.discriminator_widths(of_d, networks.image_px)
        encoder = BigGANEncoder(networks.channels["a"], widths, attention_px=of_d.attention_px)
        adaptor = Adaptor(encoder.widths, generator.widths)
        names = tuple(networks.class_names)
        return cls(config, draw_orthogonal(encoder), draw_orthogonal(adaptor), generator, discriminator, names)

    @property
    def output_columns(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"to {self.label_names[label]}" for label in self._sheet_labels())

    def inference_networks(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "adaptor": self.adaptor, "generator": self.generator}

    def forward(self, image: Tensor, style: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Images `(N, C, H, W)` in [-1, 1] translated to classes `(N,)`, by default the first one.

        The networks know one size, to which images of others are scaled, and back.

        Args:
            image: Images `(N, C, H, W)`.
            style: Latents `(N, latent_size)`; None: zeros.
            label: Classes.
        """
        count, px = len(image), self.generator.image_px
        style = image.new_zeros(count, self.generator.latent_size) if style is None else style
        label = torch.zeros(count, dtype=torch.int64, device=image.device) if label is None else label
        return _scaled(self._translate(_scaled(image, (px, px)), style, label), (image.shape[2], image.shape[3]))

    def _translate(self, image: Tensor, latent: Tensor, label: Tensor) -> Tensor:
        adapted = self.adaptor(self.encoder(image))
        return self.generator(latent, label, {px: self.feature_weights[px] * f for px, f in adapted.items()})

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn((count, self.generator.latent_size), generator=generator)

    @property
    def batches_per_step(self) -> int:
        return 2  # real images, and sources

    def translate(self, batch: Batch) -> Drawn:
        """Deals out the images and draws latents and classes; each player translates for itself."""
        (real, source), (real_label, source_label) = batch["real"].chunk(2), batch["label"].chunk(2)
        drawn = Drawn(real, real_label, source, source_label, [], [])
        for _ in range(2):
            drawn.latents.append(conditional.draw_latents(self.generator, source))
            drawn.labels.append(conditional.draw_labels(len(self.label_names), source))
        return drawn

    def players(self) -> tuple[Player, ...]:
        networks = (self.adaptor, self.generator, *([self.encoder] if self.config.train_encoder else []))
        generator = Player(
            "generator",
            networks,
            self.generator_terms,
            lr_factors={"generator": self.config.generator_lr_factor},
            joins={"generator": self.config.adaptor_steps},
        )
        return Player("discriminator", (self.discriminator,), self.discriminator_terms), generator

    def discriminator_terms(self, drawn: Drawn) -> Terms:
        real, fake = self._scores(drawn)
        return {
            "gan_real": discriminator_loss(real, real=True, kind="hinge"),
            "gan_fake": discriminator_loss(fake, real=False, kind="hinge"),
        }

    def _scores(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """D's scores of real images and of translations, from one pass."""
        with torch.no_grad():
            fake = self._translate(drawn.source, drawn.latents[0], drawn.labels[0])
        labels = torch.cat([drawn.labels[0], drawn.real_label])
        scores = self.discriminator(torch.cat([fake, drawn.real]), labels)
        return scores[len(fake) :], scores[: len(fake)]

    def generator_terms(self, drawn: Drawn) -> Terms:
        fake = self._translate(drawn.source, drawn.latents[1], drawn.labels[1])
        labels = torch.cat([drawn.labels[1], drawn.source_label])
        scores, features = self.discriminator.judge(torch.cat([fake, drawn.source]), labels)
        return {
            "gan": generator_loss(scores[: len(fake)], "hinge"),
            "reconstruction": feature_distance(features, self.reconstruction_weights),
        }

    def judgements(self, drawn: Drawn) -> dict[str, Judgement]:
        return {"discriminator": Judgement(*self._scores(drawn), "hinge")}

    def start_from(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """As `Method.start_from`; E starts as the discriminator where the weights have no encoder, and of embeddings of
        other classes the first rows are taken."""
        given = {key: tensor for key, tensor in tensors.items() if key != "sheet_seed"}
        if not any(key.startswith("encoder.") for key in given):
            of_d = {k.removeprefix("discriminator."): v for k, v in given.items() if k.startswith("discriminator.")}
            given |= {f"encoder.{key}": value for key, value in of_d.items()}
        own = self.state_dict()
        for key in _CLASS_DIMENSIONS.keys() & given.keys():
            given[key] = _first_classes(given[key], own[key], _CLASS_DIMENSIONS[key])
        return super().start_from(given)

    def _sheet_labels(self) -> list[int]:
        """The classes that sheets show, evenly chosen."""
        last, count = len(self.label_names) - 1, min(_SHEET_CLASSES, len(self.label_names))
        return torch.linspace(0, last, count).round().int().tolist()

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """A picture, and its translations to several classes, with one latent that is the same in every row."""
        image, labels = batch["real_a"], self._sheet_labels()
        latent = self.latents(1, torch.Generator().manual_seed(int(self.sheet_seed))).to(image)
        given = latent.expand(len(labels), -1), torch.tensor(labels, device=image.device)
        translated = self(image.expand(len(labels), -1, -1, -1), *given)
        columns = zip(self.output_columns, translated, strict=True)
        return {"input": image} | {name: output[None] for name, output in columns}


def feature_distance(features: Mapping[int, Tensor], weights: Mapping[int, float]) -> Tensor:
    """Weighted sum over maps of the mean squared distance between translations and their sources.

    Args:
        features: Maps `(2N, C, px, px)` by their side, of N translations and behind them of their sources.
        weights: By the maps' side.
    """
    pairs = {px: both.chunk(2) for px, both in features.items()}
    return torch.stack([weights[px] * F.mse_loss(ours, theirs) for px, (ours, theirs) in pairs.items()]).sum()


def _first_classes(given: Tensor, own: Tensor, dimension: int) -> Tensor:
    """`given` with as many classes as `own`: cut, or the rest as it is in `own`."""
    count = min(given.shape[dimension], own.shape[dimension])
    rest = own.narrow(dimension, count, own.shape[dimension] - count)
    return torch.cat([given.narrow(dimension, 0, count).to(rest), rest], dimension)


def _scaled(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[2:] == size:
        return image
    return F.interpolate(image, size, mode="bilinear", antialias=True)
