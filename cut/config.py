"""The schema of a run: the only home of defaults. YAML and overrides in, frozen typed objects out."""

import difflib
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from cut.errors import UserError

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


MethodConfigs = Callable[[str], type[MethodConfig]]  # a method's name -> its config class; raises UserError


def load_config(path: str | Path, overrides: Iterable[str], method_configs: MethodConfigs) -> RunConfig:
    """Reads a YAML (with its `base`, if it names one), applies `a.b=value` overrides and validates the result.

    Raises:
        UserError: one line per mistake, each with the file, the dotted key, what was given and what is allowed.
    """
    values = _read_with_base(Path(path), ())
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise UserError(f"--set {override}: write it as key=value, e.g. --set train.max_steps=100")
        try:
            value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a SafeLoader
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise UserError(f"--set {override}: the value is not YAML ({_yaml_reason(error)})") from None
        for part in reversed(key.split(".")):
            value = {part: value}
        values = _merge(values, value)
    return parse_config(values, method_configs, where=str(path))


def parse_config(values: dict[str, Any], method_configs: MethodConfigs, where: str) -> RunConfig:
    """Validates plain values; `where` names their source in errors."""
    method = values.get("method")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise UserError(f"{where}: method: must be a mapping with a name, e.g. method: {{name: cut}}")
    # The sections that are known without torch come first, so that their mistakes are found at once.
    _validate(RunConfig, {**values, "method": {"name": method["name"]}}, where)
    config_class = method_configs(method["name"])
    checked = _validate(config_class, method, where, prefix=("method",))
    return _validate(RunConfig, {**values, "method": checked}, where)


# What may change between two starts of one run: none of it touches the weights.
_HARMLESS = (
    "data.num_workers",
    "train.log_every_steps",
    "train.sample_every_steps",
    "train.num_samples",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
    "train.tensorboard",
)


def changes_of_run(before: RunConfig, after: RunConfig) -> list[str]:
    """`key: before -> after` for each setting in which the two would train differently."""
    changes = changed_keys(before.to_dict(), after.to_dict())
    return [change for change in changes if change.partition(":")[0] not in _HARMLESS]


def changed_keys(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """`key: before -> after` for each dotted key in which two dumped configs differ."""
    changes = []
    for key in [*before, *(k for k in after if k not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changes += changed_keys(old, new, f"{prefix}{key}.")
        elif old != new:
            changes.append(f"{prefix}{key}: {old} -> {new}")
    return changes


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, or nothing."""
    match = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{match[0]}'?" if match else ""


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice instead of keeping the last."""

    def construct_mapping(self, node, deep=False):
        self.flatten_mapping(node)  # merge keys, <<: *anchor
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if isinstance(key, str) and keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read_with_base(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UserError(f"{path}: base: the files inherit from each other in a circle")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read as a config file ({getattr(error, 'strerror', None) or error})"
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not valid YAML ({_yaml_reason(error)})") from None
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path}: must be a mapping of settings (method: ..., data: ..., ...)")
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise UserError(f"{path}: base: must be the path of another YAML, got {base!r}")
    return _merge(_read_with_base(path.parent / base, (*seen, path.resolve())), values)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, key by key; a section that changes its name starts anew."""
    renamed = "name" in above and "name" in below and above["name"] != below["name"]
    merged = {} if renamed else dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _validate(model: type[Section], values: dict[str, Any], where: str, prefix: tuple[str, ...] = ()) -> Any:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{where}: {_describe(model, problem, prefix)}" for problem in error.errors(include_url=False)]
        raise UserError("\n".join(dict.fromkeys(lines))) from None


def _describe(model: type[BaseModel], problem: dict[str, Any], prefix: tuple[str, ...]) -> str:
    """One pydantic error in our words: the dotted key, what was given, what is allowed."""
    models: list[type[BaseModel]] = [model]
    keys: list[str] = []
    for part in problem["loc"]:
        fields = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        if fields:
            models = [m for f in fields for m in _models_in(f.annotation)]
        elif named := [m for m in models if part == getattr(m.model_fields.get("name"), "default", None)]:
            models = named  # a discriminated union puts the chosen name into the location
            continue
        keys.append(str(part))
    dotted = ".".join((*prefix, *keys))
    got = problem.get("input")
    if problem["type"] == "extra_forbidden":
        known = sorted({name for m in models for name in m.model_fields})
        return f"{dotted}: unknown key{nearest(keys[-1], known)} (known here: {', '.join(known)})"
    if problem["type"] == "missing":
        return f"{dotted}: required, but not given"
    if problem["type"] == "union_tag_invalid":
        names = [str(m.model_fields["name"].default) for m in models]
        name = str(got.get("name"))
        return f"{dotted}.name: no such name '{name}'{nearest(name, names)} (known here: {', '.join(names)})"
    if problem["type"] == "union_tag_not_found":
        return f"{dotted}: needs a name ({', '.join(str(m.model_fields['name'].default) for m in models)})"
    message = problem["msg"].removeprefix("Value error, ")
    shown = f", got {got!r}" if not isinstance(got, (dict, BaseModel)) else ""
    return f"{dotted + ': ' if dotted else ''}{message[:1].lower()}{message[1:]}{shown}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated, list, tuple):
        return [m for part in typing.get_args(annotation) for m in _models_in(part)]
    return []


def _yaml_reason(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else (str(error).splitlines() or ["malformed"])[0]
