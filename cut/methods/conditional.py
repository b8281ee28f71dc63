"""What BigGAN and DeepI2I share: their networks by size, and what is drawn for each image of a step."""

import torch
from pydantic import Field
from torch import Tensor

from cut.config import Section
from cut.methods.base import Networks
from cut.models.biggan import (
    DISCRIMINATOR_WIDTHS,
    GENERATOR_WIDTHS,
    BigGANDiscriminator,
    BigGANGenerator,
    draw_orthogonal,
)
from cut.runtime.sharding import draw_rows


class BigGANGeneratorConfig(Section):
    """Generator; its levels follow from data.crop_px."""

    base_channels: int = Field(96, ge=1)
    """Channels at full resolution (ch), up to 16 times as many at 4 px."""
    latent_part: int = Field(20, ge=1)
    """Numbers of the latent (z) for each level; at 128 px there are six, so 120 in all."""
    shared_dim: int = Field(128, ge=1)
    """Numbers of a class's embedding, which all levels share."""
    attention_px: int | None = Field(None, ge=4)
    """Side of the map with self-attention: 64 in the paper's networks of 128 px. null: none."""


class BigGANDiscriminatorConfig(Section):
    """Discriminator; its levels follow from data.crop_px."""

    base_channels: int = Field(96, ge=1)
    """Channels behind the first block (ch), up to 16 times as many at 4 px."""
    attention_px: int | None = Field(None, ge=4)
    """Side of the map with self-attention: 64 in the paper's networks of 128 px. null: none."""


def discriminator_widths(section: BigGANDiscriminatorConfig, image_px: int) -> list[int]:
    """Channels behind each block of the discriminator, and of DeepI2I's encoder."""
    return [width * section.base_channels for width in DISCRIMINATOR_WIDTHS[image_px]]


def build_networks(
    of_g: BigGANGeneratorConfig, of_d: BigGANDiscriminatorConfig, networks: Networks
) -> tuple[BigGANGenerator, BigGANDiscriminator]:
    """Generator and discriminator, their weights drawn orthogonal.

    Raises:
        ValueError: There is no table of that size, or the data have no classes.
    """
    num_classes, channels, image_px = len(networks.class_names), networks.channels["b"], networks.image_px
    if image_px not in GENERATOR_WIDTHS:
        raise ValueError(f"data.crop_px: {image_px} has no networks; allowed: {list(GENERATOR_WIDTHS)}")
    widths = [width * of_g.base_channels for width in GENERATOR_WIDTHS[image_px]]
    generator = BigGANGenerator(channels, num_classes, widths, of_g.latent_part, of_g.shared_dim, of_g.attention_px)
    widths = discriminator_widths(of_d, image_px)
    discriminator = BigGANDiscriminator(channels, num_classes, widths, attention_px=of_d.attention_px)
    return draw_orthogonal(generator), draw_orthogonal(discriminator)


def draw_latents(generator: BigGANGenerator, like: Tensor) -> Tensor:
    """Latents `(N, latent_size)` from N(0, I) for N images `like`; drawn on the CPU, the same for every device."""
    return draw_rows(lambda rows: torch.randn(rows, generator.latent_size), len(like)).to(like)


def draw_labels(num_classes: int, like: Tensor) -> Tensor:
    """Classes `(N,)`, drawn evenly for N images `like`."""
    return draw_rows(lambda rows: torch.randint(num_classes, (rows,)), len(like)).to(like.device)
