"""A whole run: its method, networks, data, optimizer, schedule, and how it is trained."""

from typing import Any, Literal

import yaml
from pydantic import Field, SerializeAsAny, model_validator

from cut.config.data import DataConfig
from cut.config.evaluation import EvalConfig
from cut.config.networks import DiscriminatorConfig, GeneratorConfig, PatchDiscriminatorConfig, ResnetGeneratorConfig
from cut.config.schedule import LinearScheduleConfig, ScheduleConfig
from cut.config.section import MethodConfig, PathText, Section, Unit
from cut.config.sides import MULTIPLE_PX, as_text

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


class PlayerAdamConfig(Section):
    """What one player's optimizer has otherwise; null takes the common value."""

    lr: float | None = Field(None, gt=0)
    """Learning rate (alpha), before the schedule."""
    betas: tuple[Unit, Unit] | None = None
    """Decay of the averages of the gradient and of its square (beta 1 and beta 2), each from 0 to below 1."""
    eps: float | None = Field(None, gt=0)
    """Term in the denominator against a division by 0 (epsilon)."""
    weight_decay: float | None = Field(None, ge=0)
    """Weight of half the sum of all squared parameters in the loss."""


class AdamConfig(Section):
    """Adam (Kingma & Ba, ICLR 2015), for every player of the method."""

    name: Literal["adam"] = "adam"
    """Optimizer: Adam."""
    lr: float = Field(2e-4, gt=0)
    """Learning rate (alpha), before the schedule."""
    betas: tuple[Unit, Unit] = (0.5, 0.999)
    """Decay of the averages of the gradient and of its square (beta 1 and beta 2), each from 0 to below 1."""
    eps: float = Field(1e-8, gt=0)
    """Term in the denominator against a division by 0 (epsilon)."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight of half the sum of all squared parameters in the loss."""
    per_player: dict[str, PlayerAdamConfig] = Field({})
    """What single players, or parts of them, have otherwise, by their names, e.g. {discriminator: {lr: 1e-4}}."""

    def of(self, player: str) -> "AdamConfig":
        """The settings of one player's optimizer."""
        own = self.per_player.get(player, PlayerAdamConfig())
        return self.model_copy(update={key: value for key, value in own if value is not None})


class StartConfig(Section):
    """Weights of an earlier run that a new run starts from."""

    file: PathText
    """Run directory (its newest checkpoint), checkpoint (.pt), inference file (.safetensors) or public .pth."""
    networks: Literal["all", "generator"] = "all"
    """What is taken over: all that fits, or what translates alone, beside new discriminators."""
    freeze_generator_steps: int = Field(0, ge=0)
    """First steps in which what translates stays as it is, while new discriminators get to know its images."""
    rename: dict[str, str] = Field({})
    """Beginnings of keys in the file -> what they are called in this run; {ema.generator: generator}: the average."""


class TrainConfig(Section):
    """How a run is trained; one step is one update of the generator."""

    max_steps: int | None = Field(None, ge=1)
    """Step to stop at, although the schedule goes on. null: the end of the schedule."""
    log_every_steps: int = Field(50, ge=1)
    """Steps between two lines of the log, which hold averages since the last one."""
    sample_every_steps: int = Field(1000, ge=1)
    """Steps between two sample sheets."""
    num_samples: int = Field(8, ge=1)
    """Rows of a sample sheet."""
    checkpoint_every_steps: int = Field(5000, ge=1)
    """Steps between two checkpoints, from which a run can be resumed."""
    keep_checkpoints: int = Field(3, ge=1)
    """Number of checkpoints that are kept, the newest ones; best.pt is kept besides."""
    ema_decay: Unit | None = None
    """Decay per step of the generator's moving average, which then translates (0.999). null: no average."""
    num_micro_batches: int = Field(1, ge=1)
    """Parts of a batch that are worked on in turn, to save memory (gradient accumulation)."""
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device; auto takes a GPU if there is one."""
    precision: Precision = "32-true"
    """Number format: float32, or mixed with bfloat16 or float16."""
    compile: bool = False
    """torch.compile: takes minutes at the start; on a CPU it made steps slower."""
    checkpoint_activations: bool = False
    """Compute the generator twice: a third less memory, a third more time."""
    deterministic: bool = False
    """Refuse algorithms that do not repeat bit for bit; runs on a CPU repeat without it."""
    autotune: bool = True
    """Let cuDNN try its convolutions on each new size and keep the fastest; not if deterministic."""
    tf32: bool = True
    """NVIDIA GPUs since Ampere multiply float32 with 10 bits of mantissa instead of 23, much faster."""
    tensorboard: bool = True
    """Write the log for TensorBoard too."""
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] | None = None
    """Further places for the log, offline by default: wandb (Weights & Biases), mlflow; null: none."""


class RunConfig(Section):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of all random numbers, from 0 to 2^63 - 1."""
    method: SerializeAsAny[MethodConfig]
    """What is trained: the method and its losses."""
    generator: SerializeAsAny[GeneratorConfig] | None = ResnetGeneratorConfig()
    """Generator. null: the method has its own."""
    discriminator: SerializeAsAny[DiscriminatorConfig] | None = PatchDiscriminatorConfig()
    """Discriminator. null: the method has its own."""
    data: SerializeAsAny[DataConfig]
    """Pictures to train on, and what is done to them."""
    optim: AdamConfig = AdamConfig()
    """Optimizer of all networks."""
    schedule: ScheduleConfig = LinearScheduleConfig(constant_epochs=200, decay_epochs=200)
    """Learning rate over the run, and so its length: in epochs or in steps."""
    train: TrainConfig = TrainConfig()
    """How the run is trained, logged and saved."""
    eval: EvalConfig | None = None
    """What is scored while training. null: nothing."""
    start: StartConfig | None = None
    """Weights to start from. null: new ones."""

    @model_validator(mode="after")
    def _plateau_is_measured(self) -> "RunConfig":
        if self.schedule.name == "plateau" and self.eval is None:
            raise ValueError("schedule: plateau follows the scores of eval; add eval: {every_epochs: 5}")
        return self

    @model_validator(mode="after")
    def _generator_fits_the_pictures(self) -> "RunConfig":
        multiple_px = self.generator.multiple_px if self.generator else 1
        name = getattr(self.generator, "name", None)
        if any(side % multiple_px for side in self.data.crop_sides):
            raise ValueError(
                f"data.crop_px: must be a multiple of {multiple_px} for this {name} generator, "
                f"got {as_text(self.data.crop_px)}; change one of the two"
            )
        preprocess = getattr(self.data, "preprocess", "crop")
        if MULTIPLE_PX % multiple_px and "crop" not in preprocess:
            raise ValueError(f"data.preprocess: this {name} generator needs crops, which {preprocess} does not make")
        return self

    @model_validator(mode="after")
    def _method_fits_the_data(self) -> "RunConfig":
        self.method.check_data(self.data)
        return self

    @model_validator(mode="after")
    def _generator_can_checkpoint(self) -> "RunConfig":
        can = getattr(self.generator, "can_checkpoint_activations", False)
        # Batch norm would update its running averages twice.
        if self.train.checkpoint_activations and (not can or getattr(self.generator, "norm", None) == "batch"):
            raise ValueError("train.checkpoint_activations needs a generator resnet or stylegan2 without batch norm")
        return self

    def to_dict(self, written: bool = True) -> dict[str, Any]:
        """Plain values, every default written out.

        Args:
            written: Paths as the user wrote them, else with `~` and environment variables replaced.
        """
        return self.model_dump(mode="json", context={"written": written})

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None, width=120)
