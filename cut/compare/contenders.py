"""Which runs a comparison is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cut.config import RunConfig, ScheduleConfig
from cut.config.load import load_config
from cut.errors import UserError
from cut.methods import find_translator, method_config
from cut.storage.files import real_path


@dataclass(frozen=True)
class Contender:
    """One config of the comparison, a row of the table.

    Args:
        name: of the row and of its folder.
        paths: of the YAML and of those that go over it.
        overrides: `a.b=value`, for every seed.
        config: read from all of them.
    """

    name: str
    paths: tuple[Path, ...]
    overrides: tuple[str, ...]
    config: RunConfig

    @property
    def is_trained(self) -> bool:
        """Whether there is a run to train first."""
        from cut.methods.stylizer import Stylizer  # only now, because it imports torch

        return not issubclass(find_translator(self.config.method.name), Stylizer)

    @property
    def takes_styles(self) -> bool:
        """Whether a picture has many translations, one per style."""
        return "style" in find_translator(self.config.method.name).inputs

    @property
    def best_title(self) -> str:
        """The name of the row of its best.pt, for what has `eval`."""
        assert self.config.eval is not None, "what has no eval has no best.pt"
        return f"{self.name}, best {self.config.eval.decisive}"

    def settings(self, *further: str) -> list[str | Path]:
        """The arguments of cut-train and cut-test that name it, with further overrides."""
        words: list[str | Path] = [word for path in self.paths for word in ("--config", path)]
        return words + [word for override in (*self.overrides, *further) for word in ("--set", override)]


def plan_contenders(
    paths: Sequence[Path], overrides: Sequence[str], num_steps: int | None, overlays: Sequence[Path] = ()
) -> list[Contender]:
    """Reads all configs, so that a mistake in the last one is told before the first is trained.

    Args:
        paths: of the YAMLs.
        overrides: for all of them.
        num_steps: the length of every run; None leaves each its own.
        overlays: YAMLs that go over each of them.

    Raises:
        UserError: a config is wrong, or given twice.
    """
    contenders = []
    for name, path in zip(_names(paths), paths, strict=True):
        files = (path, *overlays)
        config = load_config(files, overrides, method_config)
        contender = Contender(name, files, tuple(overrides), config)
        contenders.append(with_length(contender, num_steps) if num_steps and contender.is_trained else contender)
    return contenders


def with_length(contender: Contender, num_steps: int, further: Sequence[str] = ()) -> Contender:
    """The same with so many generator updates, its schedule in proportion, and further overrides."""
    settings = (*contender.overrides, *further, *_budget(contender.config.schedule, num_steps))
    return replace(contender, overrides=settings, config=load_config(contender.paths, settings, method_config))


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names, with as many of the folders above as tell equal ones apart."""
    whole = [real_path(path).with_suffix("").parts[1:] for path in paths]
    for path in paths:
        if [real_path(other) for other in paths].count(real_path(path)) > 1:
            raise UserError(f"--configs: {path} is given twice; each config is one row of the table")
    names = [parts[-1] for parts in whole]
    for depth in range(2, max(map(len, whole)) + 1):
        names = [
            name if names.count(name) == 1 else "_".join(parts[-depth:])
            for name, parts in zip(names, whole, strict=True)
        ]
    return names


def _budget(schedule: ScheduleConfig, num_steps: int) -> list[str]:
    """The overrides that bring a schedule to `num_steps`, its parts in proportion."""
    fields = [name for name in type(schedule).model_fields if name.endswith(("_epochs", "_steps"))]
    parts = {name.rsplit("_", 1)[0]: getattr(schedule, name) for name in fields if getattr(schedule, name) is not None}
    total = parts.get("total") or parts.get("constant", 0) + parts.get("decay", 0)
    scaled = {name: round(num_steps * length / total) for name, length in parts.items()}
    if "decay" in scaled:
        scaled["decay"] = num_steps - scaled.get("constant", 0)
    if "every" in scaled:
        scaled["every"] = max(scaled["every"], 1)
    lengths = {name: scaled.get(name.removesuffix("_steps"), "null") for name in fields if name.endswith("_steps")}
    lengths |= dict.fromkeys((name for name in fields if name.endswith("_epochs")), "null")
    return [*(f"schedule.{name}={length}" for name, length in lengths.items()), "train.max_steps=null"]
