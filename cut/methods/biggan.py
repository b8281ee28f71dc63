"""BigGAN: images of a class from noise (Brock, Donahue, Simonyan, ICLR 2019, arXiv:1809.11096).

    L(D) = mean max(0, 1 - D(x, c)) + mean max(0, 1 + D(G(z, c'), c'))     (hinge; appendix C)
    L(G) = -mean D(G(z, c'), c')

Symbols: x a real image and c its class; z a latent from N(0, I), c' a class drawn evenly; G generator, D discriminator.
G sees a part of z and the class at every level (section 3.1), D's score is a projection on the class's embedding.

A step is `discriminator_steps` updates of D, each on real images, latents and classes of its own, then one of G on
further ones. Spectral norm iterates once per pass, so D judges real and generated images in one. The moving average of
G, with its running statistics, is what draws (train.ema_decay; the authors' 0.9999).

As in the authors' code (ajbrock/BigGAN-PyTorch, commit 9845943): layers, losses, order of updates, orthogonal weights.
What differs: the average follows fast at first, where the authors copy G until a set step; no orthogonal
regularisation, which their published models do not use either; tables of 32 and 64 px that go down to 4 px.
"""

from dataclasses import dataclass
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from cut.config import MethodConfig
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.methods import conditional
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.models.biggan import BigGANDiscriminator, BigGANGenerator

_SHEET_LATENTS = 7  # columns of a sample sheet beside the real picture
_COLUMNS = tuple(f"drawn {column + 1}" for column in range(_SHEET_LATENTS))


class BigGANConfig(MethodConfig):
    """BigGAN's."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None
    data_names = ("labelled", "idx")

    name: str = "biggan"
    """Method: BigGAN, images of a class from noise."""
    discriminator_steps: int = Field(1, ge=1)
    """Updates of D per step, each on a batch of its own."""
    generator: conditional.BigGANGeneratorConfig = conditional.BigGANGeneratorConfig()
    """Generator (G)."""
    discriminator: conditional.BigGANDiscriminatorConfig = conditional.BigGANDiscriminatorConfig()
    """Discriminator (D)."""


@dataclass
class Drawn:
    """What one step plays with: per update of D and, but for real images, one more for G."""

    reals: tuple[Tensor, ...]  # (N, C, H, W)
    real_labels: tuple[Tensor, ...]  # (N,)
    latents: list[Tensor]  # (N, latent_size)
    labels: list[Tensor]  # (N,)


class BigGAN(Method):
    Config = BigGANConfig
    inputs = frozenset({"latent", "label"})
    output_columns = _COLUMNS

    generator: BigGANGenerator
    sheet_seed: Tensor  # all sample sheets of a run show the latents of this seed

    def __init__(
        self,
        config: BigGANConfig,
        generator: BigGANGenerator,
        discriminator: BigGANDiscriminator,
        label_names: tuple[str, ...],
    ):
        super().__init__()
        self.config, self.label_names = config, label_names
        self.generator, self.discriminator = generator, discriminator
        self.register_buffer("sheet_seed", torch.randint(2**31, (1,)))

    @classmethod
    def build(cls, config: BigGANConfig, networks: Networks) -> "BigGAN":
        generator, discriminator = conditional.build_networks(config.generator, config.discriminator, networks)
        return cls(config, generator, discriminator, tuple(networks.class_names))

    def forward(self, latent: Tensor, label: Tensor | None = None) -> Tensor:
        """Images `(N, C, H, W)` in [-1, 1] of latents `(N, latent_size)` and classes `(N,)`; by default of the first
        class."""
        if label is None:
            label = torch.zeros(len(latent), dtype=torch.int64, device=latent.device)
        return self.generator(latent, label)

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randn((count, self.generator.latent_size), generator=generator)

    @property
    def batches_per_step(self) -> int:
        return self.config.discriminator_steps

    def translate(self, batch: Batch) -> Drawn:
        """Deals out the real images and draws latents and classes, on the CPU so that any device trains on the same."""
        turns = self.config.discriminator_steps
        reals = batch["real"].chunk(turns)
        drawn = Drawn(reals, batch["label"].chunk(turns), [], [])
        for _ in range(turns + 1):
            drawn.latents.append(conditional.draw_latents(self.generator, reals[0]))
            drawn.labels.append(conditional.draw_labels(len(self.label_names), reals[0]))
        return drawn

    def players(self) -> tuple[Player, ...]:
        discriminator = [
            Player("discriminator", (self.discriminator,), partial(self.discriminator_terms, turn=turn))
            for turn in range(self.config.discriminator_steps)
        ]
        return (*discriminator, Player("generator", (self.generator,), self.generator_terms))

    def discriminator_terms(self, drawn: Drawn, turn: int) -> Terms:
        real, fake = self._scores(drawn, turn)
        return {
            "gan_real": discriminator_loss(real, real=True, kind="hinge"),
            "gan_fake": discriminator_loss(fake, real=False, kind="hinge"),
        }

    def generator_terms(self, drawn: Drawn) -> Terms:
        label = drawn.labels[-1]
        fake = self.generator(drawn.latents[-1], label)
        return {"gan": generator_loss(self.discriminator(fake, label), "hinge")}

    def _scores(self, drawn: Drawn, turn: int) -> tuple[Tensor, Tensor]:
        """D's scores of one update's real and generated images."""
        real, label = drawn.reals[turn], drawn.labels[turn]
        with torch.no_grad():
            fake = self.generator(drawn.latents[turn], label)
        scores = self.discriminator(torch.cat([fake, real]), torch.cat([label, drawn.real_labels[turn]]))
        return scores[len(fake) :], scores[: len(fake)]

    def judgements(self, drawn: Drawn) -> dict[str, Judgement]:
        return {"discriminator": Judgement(*self._scores(drawn, -1), "hinge")}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """A picture of a class, and drawn ones of the same class, whose latents are the same in every row."""
        latents = self.latents(_SHEET_LATENTS, torch.Generator().manual_seed(int(self.sheet_seed)))
        images = self(latents.to(batch["real_a"]), batch["label"].expand(_SHEET_LATENTS))
        return {"real": batch["real_a"]} | {name: image[None] for name, image in zip(_COLUMNS, images, strict=True)}
