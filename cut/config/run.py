"""A whole run: its method, networks, data, optimizer, schedule, and how it is trained."""

from typing import Any, Literal

import yaml
from pydantic import Field, SerializeAsAny, model_validator

from cut.config.data import DataConfig
from cut.config.evaluation import EvalConfig
from cut.config.networks import DiscriminatorConfig, GeneratorConfig, PatchDiscriminatorConfig, ResnetGeneratorConfig
from cut.config.schedule import LinearScheduleConfig, ScheduleConfig
from cut.config.section import MethodConfig, Section, Unit

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class PlayerAdamConfig(Section):
    """What one player's optimizer has otherwise; null takes the common value."""

    lr: float | None = Field(None, gt=0)
    betas: tuple[Unit, Unit] | None = None
    eps: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)


class AdamConfig(Section):
    name: Literal["adam"] = "adam"
    lr: float = Field(2e-4, gt=0)
    betas: tuple[Unit, Unit] = (0.5, 0.999)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    per_player: dict[str, PlayerAdamConfig] = Field({})  # by the players' names, e.g. {discriminator: {lr: 1e-4}}

    def of(self, player: str) -> "AdamConfig":
        """The settings of one player's optimizer."""
        own = self.per_player.get(player, PlayerAdamConfig())
        return self.model_copy(update={key: value for key, value in own if value is not None})


class StartConfig(Section):
    """Weights of an earlier run that a new run starts from."""

    file: str  # a run directory (its newest checkpoint), a checkpoint (.pt) or an inference file (.safetensors)
    rename: dict[str, str] = Field({})  # beginnings of keys in the file: how they are called in this run


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
    num_micro_batches: int = Field(1, ge=1)  # parts of a batch worked on in turn, to save memory (accumulation)
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "32-true"
    compile: bool = False  # torch.compile; takes minutes at the start, and on a CPU steps became slower by it
    checkpoint_activations: bool = False  # about a third less memory for a third more time
    deterministic: bool = False  # refuse algorithms that do not repeat bit for bit; CPU runs repeat without it
    autotune: bool = True  # let cuDNN try its convolutions on each new size and keep the fastest; not if deterministic
    tf32: bool = True  # NVIDIA GPUs since Ampere multiply float32 with 10 bits of mantissa instead of 23, much faster
    tensorboard: bool = True


class RunConfig(Section):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=2**63)
    method: SerializeAsAny[MethodConfig]
    generator: GeneratorConfig | None = ResnetGeneratorConfig()
    discriminator: DiscriminatorConfig | None = PatchDiscriminatorConfig()
    data: DataConfig
    optim: AdamConfig = AdamConfig()
    schedule: ScheduleConfig = LinearScheduleConfig(constant_epochs=200, decay_epochs=200)
    train: TrainConfig = TrainConfig()
    eval: EvalConfig | None = None  # null: nothing is scored while training
    start: StartConfig | None = None  # null: new weights

    @model_validator(mode="after")
    def _plateau_is_measured(self) -> "RunConfig":
        if self.schedule.name == "plateau" and self.eval is None:
            raise ValueError("schedule: plateau follows the scores of eval; add eval: {every_epochs: 5}")
        return self

    @model_validator(mode="after")
    def _unet_fits_the_pictures(self) -> "RunConfig":
        if self.generator is None or self.generator.name != "unet":
            return self
        if self.data.crop_px % self.generator.image_px:
            raise ValueError(
                f"generator.image_px: a U-Net for {self.generator.image_px} px cannot halve data.crop_px "
                f"({self.data.crop_px}) down to whole pixels; crop_px must be a multiple of image_px"
            )
        preprocess = getattr(self.data, "preprocess", "crop")
        if "crop" not in preprocess:
            raise ValueError(f"data.preprocess: a U-Net needs crops, which {preprocess} does not make")
        return self

    @model_validator(mode="after")
    def _generator_can_checkpoint(self) -> "RunConfig":
        name, norm = getattr(self.generator, "name", None), getattr(self.generator, "norm", None)
        # Batch norm would update its running averages twice.
        if self.train.checkpoint_activations and (name not in ("resnet", "stylegan2") or norm == "batch"):
            raise ValueError("train.checkpoint_activations needs a generator resnet or stylegan2 without batch norm")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values, every default written out."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)
