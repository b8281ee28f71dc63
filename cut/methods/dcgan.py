"""DCGAN: images from noise (Radford, Metz, Chintala, ICLR 2016, arXiv:1511.06434), and the GAN that it trains
(Goodfellow et al., NeurIPS 2014, arXiv:1406.2661).

    min_G max_D  V(D, G) = E_x log D(x) + E_z log(1 - D(G(z)))    (Goodfellow et al., equation 1)

Symbols: G generator, D discriminator, x a real image, z a latent, uniform in [-1, 1] or standard normal. D minimises
-V; where it can do no better than chance, both of its terms are log 2 and V is -log 4 (theorem 1). G minimises
`gan_loss`:

- `nonsaturating` (the default, as in DCGAN): -log D(G(z)), whose gradient stays when D wins;
- `saturating`: log(1 - D(G(z))), the minimax game itself;
- `lsgan`: both play with squared distances to 1 (real) and 0 (fake) instead (Mao et al., ICCV 2017).

D may pay for its slope at real images too, R1 (Mescheder et al., ICML 2018): lambda_r1 / 2 E_x |grad_x D(x)|^2.

A step is algorithm 1 of Goodfellow et al.: k = `discriminator_steps` updates of D, each on real images and latents of
its own, then one of G on further latents. Fakes for D come from G in training mode, so batch norm's running averages
see them too. The generator is DCGAN's, or a ResNet that turns a map of noise as large as the image into the image;
the discriminator is DCGAN's or VGG-16; any pair of them.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from cut.config import MethodConfig, Section
from cut.losses.adversarial import discriminator_loss, generator_loss
from cut.losses.gradient_penalty import r1_penalty
from cut.methods.base import Batch, Judgement, Method, Networks, Player, Terms
from cut.models.dcgan import DCGANDiscriminator, DCGANGenerator
from cut.models.initialisation import initialise
from cut.models.noise_map_generator import NoiseMapGenerator
from cut.models.vgg_discriminator import VGG16Discriminator
from cut.runtime.sharding import draw_rows

_COLUMNS = 8  # of a sample sheet
_INIT_STD = 0.02  # of all weights (Radford et al., section 4)


class DCGANGeneratorConfig(Section):
    """DCGAN's."""

    name: Literal["dcgan"] = "dcgan"
    """DCGAN's, which doubles the size of a small map."""
    latent_size: int = Field(100, ge=1)
    """Numbers per latent (z)."""
    base_channels: int = Field(128, ge=1)
    """Channels before the last layer, twice as many at each half of the size."""


class ResnetNoiseGeneratorConfig(Section):
    """A ResNet that turns a map of noise into an image."""

    name: Literal["resnet"] = "resnet"
    """A ResNet that turns a map of noise into an image."""
    latent_size: int = Field(784, ge=64)
    """Numbers per latent (z), the pixels of the image: the latent is a map of noise, 28 x 28 for MNIST."""
    base_channels: int = Field(64, ge=1)
    """Channels at full resolution."""
    num_blocks: int = Field(6, ge=1)
    """Number of residual blocks, at a quarter of the size."""


class DCGANDiscriminatorConfig(Section):
    """DCGAN's."""

    name: Literal["dcgan"] = "dcgan"
    """DCGAN's, which halves the size with strided convolutions."""
    base_channels: int = Field(64, ge=1)
    """Channels of the first layer, twice as many in each further one."""


class VGG16DiscriminatorConfig(Section):
    """VGG-16, with one output."""

    name: Literal["vgg16"] = "vgg16"
    """VGG-16, with one output."""
    base_channels: int = Field(64, ge=1)
    """Channels of the first block."""
    norm: Literal["none", "batch"] = "none"
    """Normalisation behind each convolution: none in the paper; with batch norm D easily wins outright."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Probability of dropout behind the first two fully connected layers, from 0 to below 1."""


class DCGANConfig(MethodConfig):
    """DCGAN's."""

    default_generator = None  # the networks stand in this section
    default_discriminator = None
    data_names = ("images", "idx")

    name: str = "dcgan"
    """Method: DCGAN, images from noise."""
    gan_loss: Literal["nonsaturating", "saturating", "lsgan"] = "nonsaturating"
    """Kind of the adversarial loss."""
    lambda_r1: float = Field(0.0, ge=0)
    """Weight of R1, half the squared slope of D at real images; not in the paper."""
    discriminator_steps: int = Field(1, ge=1)
    """Updates of D per step (k), each on a batch of its own."""
    latent: Literal["uniform", "normal"] = "uniform"
    """Distribution of the latents: uniform in [-1, 1], or normal with mean 0 and standard deviation 1."""
    generator: Annotated[DCGANGeneratorConfig | ResnetNoiseGeneratorConfig, Field(discriminator="name")] = (
        DCGANGeneratorConfig()
    )
    """Generator (G)."""
    discriminator: Annotated[DCGANDiscriminatorConfig | VGG16DiscriminatorConfig, Field(discriminator="name")] = (
        DCGANDiscriminatorConfig()
    )
    """Discriminator (D)."""


@dataclass
class Drawn:
    """What one step plays with."""

    reals: tuple[Tensor, ...]  # per update of D, (N, C, H, W)
    latents: list[Tensor]  # per update of D, and one more for G, (N, latent_size)


class DCGAN(Method):
    Config = DCGANConfig
    inputs = frozenset({"latent"})
    output_columns = tuple(str(column + 1) for column in range(_COLUMNS))

    sheet_seed: Tensor  # all sample sheets of a run show the latents of this seed

    def __init__(self, config: DCGANConfig, generator: nn.Module, discriminator: nn.Module):
        super().__init__()
        self.config = config
        self.generator = generator
        self.discriminator = discriminator
        self.register_buffer("sheet_seed", torch.randint(2**31, (1,)))

    @classmethod
    def build(cls, config: DCGANConfig, networks: Networks) -> "DCGAN":
        channels, image_px = networks.channels["b"], networks.image_px
        generator = _generator(config.generator, channels, image_px)
        return cls(config, generator, _discriminator(config.discriminator, channels, image_px))

    def forward(self, latent: Tensor) -> Tensor:
        """`(N, latent_size)` -> `(N, C, H, W)` in [-1, 1]."""
        return self.generator(latent)

    def latents(self, count: int, generator: torch.Generator) -> Tensor:
        shape = (count, self.config.generator.latent_size)
        if self.config.latent == "normal":
            return torch.randn(shape, generator=generator)
        return 2.0 * torch.rand(shape, generator=generator) - 1.0

    @property
    def batches_per_step(self) -> int:
        return self.config.discriminator_steps

    def translate(self, batch: Batch) -> Drawn:
        """Deals out the real images and draws the latents, on the CPU so that any device trains on the same ones."""
        turns, real = self.config.discriminator_steps, batch["real"]
        reals = real.chunk(turns)
        count = len(reals[0])
        latents = [
            draw_rows(lambda rows: self.latents(rows, torch.default_generator), count).to(real.device)
            for _ in range(turns + 1)
        ]
        return Drawn(reals, latents)

    def players(self) -> tuple[Player, ...]:
        turns = range(self.config.discriminator_steps)
        discriminator = [
            Player("discriminator", (self.discriminator,), partial(self.discriminator_terms, turn=turn))
            for turn in turns
        ]
        return (*discriminator, Player("generator", (self.generator,), self.generator_terms))

    def discriminator_terms(self, drawn: Drawn, turn: int) -> Terms:
        """-V(D, G), or lsgan's counterpart, on the batch of this turn, and R1."""
        kind, real, penalties = self.config.gan_loss, drawn.reals[turn], {}
        with torch.no_grad():
            fake = self.generator(drawn.latents[turn])
        # Two passes: batch norm would otherwise tell D from the mixture of real and fake which is which.
        if self.config.lambda_r1:
            real_scores, penalty = r1_penalty(self.discriminator, real)
            penalties["r1"] = 0.5 * self.config.lambda_r1 * penalty
        else:
            real_scores = self.discriminator(real)
        return penalties | {
            "gan_real": discriminator_loss(real_scores, real=True, kind=kind),
            "gan_fake": discriminator_loss(self.discriminator(fake), real=False, kind=kind),
        }

    def generator_terms(self, drawn: Drawn) -> Terms:
        fake = self.generator(drawn.latents[-1])
        return {"gan": generator_loss(self.discriminator(fake), self.config.gan_loss)}

    def judgements(self, drawn: Drawn) -> dict[str, Judgement]:
        fake = self.generator(drawn.latents[-1])
        scores = self.discriminator(drawn.reals[-1]), self.discriminator(fake)
        return {"discriminator": Judgement(*scores, self.config.gan_loss)}

    def visuals(self, batch: Batch) -> dict[str, Tensor]:
        """One row of a sheet, from latents of this row's number alone."""
        return self._row(self._sheet_latents(int(batch["row"])))

    def further_visuals(self) -> dict[str, dict[str, Tensor]]:
        first, *_, last = self._sheet_latents(0)
        between = interpolate(first, last, _COLUMNS, spherical=self.config.latent == "normal")
        return {"interpolation from the first to the last image of row 1": self._row(between)}

    def _row(self, latents: Tensor) -> dict[str, Tensor]:
        images = self(latents.to(self.sheet_seed.device))
        return {str(column + 1): image[None] for column, image in enumerate(images)}

    def _sheet_latents(self, row: int) -> Tensor:
        generator = torch.Generator().manual_seed(int(self.sheet_seed) + row)
        return self.latents(_COLUMNS, generator)


def interpolate(start: Tensor, end: Tensor, count: int, spherical: bool) -> Tensor:
    """`count` latents from `start` to `end`, both included.

    Args:
        start: `(latent_size,)`.
        end: likewise.
        count: at least 2.
        spherical: along the great circle (White 2016, "Sampling Generative Networks", arXiv:1609.04468, section 2.1),
            because the middle of a straight line between normal latents is shorter than any that G was trained on;
            otherwise along that line, which stays in the cube of uniform ones.

    Returns:
        `(count, latent_size)`.
    """
    share = torch.linspace(0, 1, count)[:, None]  # (count, 1)
    if not spherical:
        return torch.lerp(start, end, share)
    cosine = torch.dot(start, end) / (start.norm() * end.norm())
    angle = math.acos(cosine.clamp(-1.0, 1.0))
    return (torch.sin((1.0 - share) * angle) * start + torch.sin(share * angle) * end) / math.sin(angle)


def _generator(config: DCGANGeneratorConfig | ResnetNoiseGeneratorConfig, channels: int, image_px: int) -> nn.Module:
    size = config.latent_size
    if config.name == "dcgan":
        return initialise(DCGANGenerator(size, channels, image_px, config.base_channels), "normal", _INIT_STD)
    if size != image_px**2:
        raise ValueError(
            f"generator.latent_size: {size} is no map of {image_px} x {image_px} px; "
            f"set it to {image_px**2}, or data.crop_px to the root of {size}"
        )
    network = NoiseMapGenerator(channels, image_px, config.base_channels, config.num_blocks)
    return initialise(network, "normal", _INIT_STD)


def _discriminator(
    config: DCGANDiscriminatorConfig | VGG16DiscriminatorConfig, channels: int, image_px: int
) -> nn.Module:
    if config.name == "dcgan":
        return initialise(DCGANDiscriminator(channels, image_px, config.base_channels), "normal", _INIT_STD)
    network = VGG16Discriminator(channels, image_px, config.base_channels, config.norm, config.dropout)
    return initialise(network, "kaiming")  # made for this kind of network (He et al., ICCV 2015)
