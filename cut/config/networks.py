"""Generators and discriminators, each with its flat settings."""

from typing import Annotated, Literal

from pydantic import Field

from cut.config.base import Section, Unit

Initialisation = Literal["normal", "xavier", "kaiming", "orthogonal"]


class ResnetGeneratorConfig(Section):
    name: Literal["resnet"] = "resnet"
    base_channels: int = Field(64, ge=1)  # width at full resolution (ngf)
    num_blocks: Literal[4, 6, 9] = 9
    norm: Literal["instance", "batch", "none"] = "instance"
    dropout: Unit = 0.0  # probability inside the residual blocks
    antialias_down: bool = True
    antialias_up: bool = True
    init: Initialisation = "xavier"
    init_gain: float = Field(0.02, gt=0)


class StyleGAN2GeneratorConfig(Section):
    """SinCUT's; its layers have an initialisation of their own."""

    name: Literal["stylegan2"] = "stylegan2"
    base_channels: int = Field(80, ge=1)  # width at full resolution (at crops of 64 px 8 times the authors' ngf)
    num_downsamplings: int = Field(1, ge=1, le=4)
    num_blocks: int = Field(6, ge=2, multiple_of=2)  # half of them in the encoder
    noise: bool = True  # injected into the decoder, with a learnt weight


class PatchDiscriminatorConfig(Section):
    name: Literal["patch"] = "patch"
    base_channels: int = Field(64, ge=1)  # width of the first layer (ndf)
    num_layers: int = Field(3, ge=1, le=7)  # 3: receptive field 70 px
    norm: Literal["instance", "batch", "none"] = "instance"
    antialias: bool = True
    init: Initialisation = "xavier"
    init_gain: float = Field(0.02, gt=0)


class PixelDiscriminatorConfig(Section):
    name: Literal["pixel"] = "pixel"
    base_channels: int = Field(64, ge=1)
    norm: Literal["instance", "batch", "none"] = "instance"
    init: Initialisation = "xavier"
    init_gain: float = Field(0.02, gt=0)


class StyleGAN2DiscriminatorConfig(Section):
    """SinCUT's; it judges images of one size, and its layers have an initialisation of their own."""

    name: Literal["stylegan2"] = "stylegan2"
    base_channels: int = Field(32, ge=1)  # width at full resolution (at 64 px 4 times the authors' ndf)


GeneratorConfig = Annotated[ResnetGeneratorConfig | StyleGAN2GeneratorConfig, Field(discriminator="name")]
DiscriminatorConfig = Annotated[
    PatchDiscriminatorConfig | PixelDiscriminatorConfig | StyleGAN2DiscriminatorConfig, Field(discriminator="name")
]
