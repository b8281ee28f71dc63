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


class UnetGeneratorConfig(Section):
    name: Literal["unet"] = "unet"
    image_px: Literal[32, 64, 128, 256, 512] = 256  # halved until this is one pixel; data.crop_px is a multiple of it
    base_channels: int = Field(64, ge=1)  # width of the outermost level (ngf)
    norm: Literal["instance", "batch", "none"] = "batch"
    dropout: Unit = 0.5  # probability in the decoder's inner levels
    init: Initialisation = "normal"
    init_gain: float = Field(0.02, gt=0)


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


GeneratorConfig = Annotated[
    ResnetGeneratorConfig | UnetGeneratorConfig,
    Field(discriminator="name"),
]
DiscriminatorConfig = Annotated[PatchDiscriminatorConfig | PixelDiscriminatorConfig, Field(discriminator="name")]
