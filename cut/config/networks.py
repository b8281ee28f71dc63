"""Generators and discriminators, each with its flat settings."""

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from cut.config.section import Section, Unit

Initialisation = Literal["normal", "xavier", "kaiming", "orthogonal"]


class ResnetGeneratorConfig(Section):
    name: Literal["resnet"] = "resnet"
    base_channels: int = Field(64, ge=1)  # width at full resolution (ngf)
    num_blocks: int = Field(9, ge=1, le=1000)  # 9 at 256 px, 6 at 128 px
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
    num_blocks: int = Field(6, ge=2, le=1000, multiple_of=2)  # half of them in the encoder
    noise: bool = True  # injected into the decoder, with a learnt weight


class UnetGeneratorConfig(Section):
    name: Literal["unet"] = "unet"
    image_px: Literal[32, 64, 128, 256, 512] = 256  # halved until this is one pixel; data.crop_px is a multiple of it
    base_channels: int = Field(64, ge=1)  # width of the outermost level (ngf)
    norm: Literal["instance", "batch", "none"] = "batch"
    dropout: Unit = 0.5  # probability in the decoder's inner levels
    init: Initialisation = "normal"
    init_gain: float = Field(0.02, gt=0)


_ReceptiveFieldPx = Literal[1, 16, 34, 70, 142, 286, 574, 1150]  # of 0, 1, ... downsampling layers; 0: 1x1 convolutions
_RECEPTIVE_FIELDS_PX: tuple[int, ...] = get_args(_ReceptiveFieldPx)


class PatchDiscriminatorConfig(Section):
    """A PatchGAN, whose size either `receptive_field_px` or `num_layers` names; null leaves it to the other."""

    name: Literal["patch"] = "patch"
    base_channels: int = Field(64, ge=1)  # width of the first layer (ndf)
    receptive_field_px: _ReceptiveFieldPx = 70  # with strided convolutions; antialias widens it by a fifth
    num_layers: int = Field(3, ge=0, le=7)  # 3: receptive field 70 px
    norm: Literal["instance", "batch", "none"] = "instance"
    antialias: bool = True
    init: Initialisation = "xavier"
    init_gain: float = Field(0.02, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _one_names_the_other(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        px, layers = values.get("receptive_field_px"), values.get("num_layers")
        if layers is None and px in _RECEPTIVE_FIELDS_PX:
            return values | {"num_layers": _RECEPTIVE_FIELDS_PX.index(px)}
        if px is None and isinstance(layers, int) and 0 <= layers < len(_RECEPTIVE_FIELDS_PX):
            return values | {"receptive_field_px": _RECEPTIVE_FIELDS_PX[layers]}
        return values

    @model_validator(mode="after")
    def _both_agree(self) -> "PatchDiscriminatorConfig":
        layers = _RECEPTIVE_FIELDS_PX.index(self.receptive_field_px)
        if layers != self.num_layers:
            raise ValueError(
                f"receptive_field_px ({self.receptive_field_px}) takes num_layers {layers}, but num_layers is "
                f"{self.num_layers}; give one of the two, or null for one"
            )
        return self


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


GeneratorConfig = Annotated[
    ResnetGeneratorConfig | StyleGAN2GeneratorConfig | UnetGeneratorConfig,
    Field(discriminator="name"),
]
DiscriminatorConfig = Annotated[
    PatchDiscriminatorConfig | PixelDiscriminatorConfig | StyleGAN2DiscriminatorConfig,
    Field(discriminator="name"),
]
