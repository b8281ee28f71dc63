"""The schema of a run, and the only home of defaults besides each method's own: frozen typed objects."""

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, model_validator

Preprocess = Literal[
    "resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "scale_shortside_and_crop", "none"
]
Unit = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A group of settings: unknown keys are refused, values cannot change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MethodConfig(Section):
    """What every method's own config has; the method's file adds its fields."""

    name: str


class ResnetGeneratorConfig(Section):
    name: Literal["resnet"] = "resnet"
    base_channels: int = Field(64, ge=1)  # width at full resolution (ngf)
    num_blocks: Literal[4, 6, 9] = 9
    norm: Literal["instance", "batch", "none"] = "instance"
    dropout: Unit = 0.0  # probability inside the residual blocks
    antialias_down: bool = True
    antialias_up: bool = True
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = "xavier"
    init_gain: float = Field(0.02, gt=0)


class PatchDiscriminatorConfig(Section):
    name: Literal["patch"] = "patch"
    base_channels: int = Field(64, ge=1)  # width of the first layer (ndf)
    num_layers: int = Field(3, ge=1, le=7)  # 3: receptive field 70 px
    norm: Literal["instance", "batch", "none"] = "instance"
    antialias: bool = True
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = "xavier"
    init_gain: float = Field(0.02, gt=0)


class PixelDiscriminatorConfig(Section):
    name: Literal["pixel"] = "pixel"
    base_channels: int = Field(64, ge=1)
    norm: Literal["instance", "batch", "none"] = "instance"
    init: Literal["normal", "xavier", "kaiming", "orthogonal"] = "xavier"
    init_gain: float = Field(0.02, gt=0)


class UnpairedDataConfig(Section):
    """Two folders of pictures per split: `<root>/{train,val,test}{A,B}`."""

    name: Literal["unpaired"] = "unpaired"
    root: str
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    channels_a: Literal[1, 3] = 3  # of domain A on disk, whatever the direction
    channels_b: Literal[1, 3] = 3
    preprocess: Preprocess = "resize_and_crop"
    load_px: int = Field(286, ge=8)  # what the picture is scaled to before cropping
    crop_px: int = Field(256, ge=8, multiple_of=4)  # side of the square crop; the generators halve twice
    flip: bool = True  # mirror left and right with probability 1/2
    no_crop_in_decay: bool = False  # scale to crop_px without cropping while the rate decays, as the authors' code does
    batch_size: int = Field(1, ge=1)
    num_workers: int = Field(2, ge=0, le=256)  # processes that load; 0 loads in the training process

    @model_validator(mode="after")
    def _crop_fits(self) -> "UnpairedDataConfig":
        if self.preprocess in ("resize_and_crop", "scale_width_and_crop", "scale_shortside_and_crop"):
            if self.load_px < self.crop_px:
                raise ValueError(f"load_px ({self.load_px}) must be at least crop_px ({self.crop_px})")
        elif self.preprocess in ("none", "scale_width") and self.batch_size > 1:
            raise ValueError(f"preprocess {self.preprocess} leaves pictures of several sizes, so batch_size must be 1")
        return self


class AdamConfig(Section):
    name: Literal["adam"] = "adam"
    lr: float = Field(2e-4, gt=0)
    betas: tuple[Unit, Unit] = (0.5, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class _Length(Section):
    """A schedule's length, in epochs or in steps: subclasses name the pairs of fields of which one unit is given."""

    @model_validator(mode="after")
    def _one_unit(self):
        given = {n.rsplit("_", 1)[-1] for n in type(self).model_fields if getattr(self, n) and n.endswith(_UNITS)}
        if len(given) != 1:
            pair = " or ".join(", ".join(n for n in type(self).model_fields if n.endswith(u)) for u in _UNITS)
            raise ValueError(f"give the length in one unit, either {pair}")
        return self


_UNITS = ("epochs", "steps")


class LinearScheduleConfig(_Length):
    """The full rate, then linearly to 0; by default CUT's 200 + 200 epochs."""

    name: Literal["linear"] = "linear"
    constant_epochs: int | None = Field(None, ge=0)
    decay_epochs: int | None = Field(None, ge=0)
    constant_steps: int | None = Field(None, ge=0)
    decay_steps: int | None = Field(None, ge=0)


class CosineScheduleConfig(_Length):
    """Half a cosine from the full rate to `final_factor` of it, once over the whole length."""

    name: Literal["cosine"] = "cosine"
    total_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)
    final_factor: float = Field(0.0, ge=0.0, le=1.0)


class StepScheduleConfig(_Length):
    """The rate times `factor` after every so many epochs or steps."""

    name: Literal["step"] = "step"
    total_epochs: int | None = Field(None, ge=1)
    every_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)
    every_steps: int | None = Field(None, ge=1)
    factor: float = Field(0.1, gt=0.0, le=1.0)

    @model_validator(mode="after")
    def _has_interval(self):
        if not (self.every_epochs if self.total_epochs else self.every_steps):
            raise ValueError("give every_epochs beside total_epochs, or every_steps beside total_steps")
        return self


class ConstantScheduleConfig(_Length):
    name: Literal["constant"] = "constant"
    total_epochs: int | None = Field(None, ge=1)
    total_steps: int | None = Field(None, ge=1)


class TrainConfig(Section):
    max_steps: int | None = Field(
        None, ge=1
    )  # stop here, though the schedule goes on; one step is one generator update
    log_every_steps: int = Field(50, ge=1)
    sample_every_steps: int = Field(1000, ge=1)
    num_samples: int = Field(8, ge=1)  # rows of a sample sheet
    checkpoint_every_steps: int = Field(5000, ge=1)
    keep_checkpoints: int = Field(3, ge=1)
    ema_decay: Unit | None = (
        None  # translate with a moving average of the generator, e.g. 0.999; null: the last weights
    )
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    deterministic: bool = False  # refuse algorithms that do not repeat bit for bit; CPU runs repeat without it
    tensorboard: bool = True


GeneratorConfig = ResnetGeneratorConfig
DiscriminatorConfig = Annotated[PatchDiscriminatorConfig | PixelDiscriminatorConfig, Field(discriminator="name")]
DataConfig = UnpairedDataConfig
OptimConfig = AdamConfig
ScheduleConfig = Annotated[
    LinearScheduleConfig | CosineScheduleConfig | StepScheduleConfig | ConstantScheduleConfig,
    Field(discriminator="name"),
]


class RunConfig(Section):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=2**63)
    method: SerializeAsAny[MethodConfig]
    generator: GeneratorConfig = ResnetGeneratorConfig()
    discriminator: DiscriminatorConfig = PatchDiscriminatorConfig()
    data: DataConfig
    optim: OptimConfig = AdamConfig()
    schedule: ScheduleConfig = LinearScheduleConfig(constant_epochs=200, decay_epochs=200)
    train: TrainConfig = TrainConfig()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every default written out."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)
