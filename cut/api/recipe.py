"""A training from two folders of pictures alone: which settings suit them and this machine."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cut.config.evaluation import EvalConfig
from cut.config.load import merged_values
from cut.data.folders import Listing, list_folder
from cut.data.images import images_if_any, pair_name
from cut.errors import UserError
from cut.methods import method_config
from cut.metrics.names import NEEDS_PAIRS
from cut.storage.files import real_path

RECIPES = ("fast", "paper", "few-pictures")  # YAMLs of configs/recipes
_FEW = 100  # pictures of the smaller side, below which a discriminator soon knows them by heart
_HELD_BACK = 0.1  # share of each side, where there is no test split
_SPLITS = ("train", "test", "val")


@dataclass(frozen=True)
class Folders:
    """Where the pictures are.

    Args:
        root: Folder with trainA and trainB; None where `a` and `b` name two folders.
        a, b: Two folders.
        beside: What lies beside them in `--data`, in words.
    """

    root: Path | None
    a: Path
    b: Path
    beside: str = ""

    @property
    def has_test_split(self) -> bool:
        return self.root is not None and all(_count(self.root / f"test{side}") for side in "AB")


@dataclass(frozen=True)
class Plan:
    """What cut-train is to do.

    Args:
        configs: YAMLs, as `--config` takes them.
        overrides: Settings over them, as `--set` takes them.
        run_dir: Where the run goes, unless somebody says otherwise.
        notes: What the user should know, a line each.
    """

    configs: tuple[str, ...]
    overrides: tuple[str, ...]
    run_dir: Path
    notes: tuple[str, ...] = ()


def find_folders(data: Path | None, a: Path | None, b: Path | None) -> Folders:
    """The two folders of pictures behind `--data`, or `--a` and `--b`.

    Raises:
        UserError: There are not two folders with pictures, or nobody can say which two are meant.
    """
    if data is None:
        if a is None or b is None:
            raise UserError(f"--{'b' if a else 'a'}: missing; --a and --b go together, a folder of pictures each")
        _require_pictures(a, "--a")
        _require_pictures(b, "--b")
        _require_apart(a, b)
        return Folders(None, a, b)
    if a or b:
        raise UserError("--data: names both folders of pictures; leave it out, or --a and --b")
    if not data.is_dir():
        raise UserError(f"--data {data}: {'is a file' if data.exists() else 'no such folder'}")
    if (data / "trainA").is_dir() or (data / "trainB").is_dir():
        for side in "AB":
            _require_pictures(data / f"train{side}", "--data")
        return Folders(data, data / "trainA", data / "trainB")
    listing = Listing(data)
    folders = [data / entry.name for entry in listing.take(data)]
    below = [path for path in folders if _count(path) and not _holds_runs(path)]
    if len(below) != 2:
        found = ", ".join(path.name for path in below[:5]) or "none"
        raise UserError(
            f"--data {data}: must hold trainA and trainB, or two folders with pictures (it holds {found}); "
            "name them with --a and --b"
        )
    beside = [f"{len(listing.paths)} pictures"] if listing.paths else []
    beside += listing.left_out()
    a, b = below
    return Folders(None, a, b, f"left out beside the two folders: {'; '.join(beside)}" if beside else "")


def plan(
    folders: Folders,
    recipe: str | None,
    configs: Sequence[str],
    run_dir: Path | None,
    has_gpu: bool,
    name: str | None = None,
    settings: Sequence[str] = (),
) -> Plan:
    """The settings that suit the pictures and the machine.

    Args:
        folders: Where the pictures are.
        recipe: One of `RECIPES`; None chooses.
        configs: YAMLs that the user gave instead of a recipe.
        run_dir: Where the run goes; one that is there goes on with its own settings. None takes a name of the folders.
        has_gpu: Whether there is a GPU.
        name: Name of the data set; None takes those of the folders.
        settings: Overrides that the user gave; what is scored is left to them.

    Raises:
        UserError: Both a recipe and YAMLs were given.
    """
    counts = {"A": _count(folders.a), "B": _count(folders.b)}
    run_dir = run_dir or Path("runs") / (name or f"{_name(folders.a)}2{_name(folders.b)}")
    where = [f"data.root={json.dumps(str(folders.root))}"] if folders.root else []
    if not folders.root:
        where = [f"data.{side}={json.dumps(str(path))}" for side, path in (("a", folders.a), ("b", folders.b))]
    if recipe and configs:
        raise UserError(f"--recipe {recipe}: is itself a config; leave it or --config out")
    own = run_dir / "config.yaml"
    if own.is_file() and not (recipe or configs):
        return Plan((str(own),), tuple(where), run_dir, (f"{run_dir}: goes on with its own settings, {own}",))
    notes = [f"A: {counts['A']} pictures of {folders.a}; B: {counts['B']} pictures of {folders.b}; A becomes B"]
    notes += [folders.beside] if folders.beside else []
    if not configs:
        chosen = recipe or _choose(min(counts.values()), has_gpu)
        configs = (f"recipes/{chosen}",)
        notes.append(f"recipe {chosen}{'' if recipe else _why(chosen, min(counts.values()))}")
    if _is_unpaired(configs):
        where = [*([] if folders.root else ["data.root=''"]), *where]
        if not folders.has_test_split and min(counts.values()) > 1:
            where.append(f"data.held_back={_HELD_BACK}")
            held = [max(1, round(_HELD_BACK * count)) for count in counts.values()]
            notes.append(
                f"held back from the training, because there is no test split: {held[0]} of {counts['A']} pictures "
                f"of A, {held[1]} of {counts['B']} of B; sample sheets show them (data.held_back)"
            )
        is_asked = any(setting.startswith(("eval=", "eval.")) for setting in settings)
        if not is_asked and (of_pairs := _scores_of_pairs(configs, folders)):
            where.append("eval=null")
            notes.append(
                f"nothing is scored, because {', '.join(of_pairs)} of the config compare pairs, and the test pictures "
                "are none (--set 'eval={every_epochs: 5, metrics: [fid]}' scores with fid)"
            )
    return Plan(tuple(configs), tuple(where), run_dir, tuple(notes))


def _scores_of_pairs(configs: Sequence[str], folders: Folders) -> list[str]:
    """The metrics of the YAMLs that need pairs, where the test pictures are not in pairs."""
    scored = merged_values(configs, ())[1].get("eval")
    if not isinstance(scored, dict):
        return []
    metrics = scored.get("metrics", EvalConfig.model_fields["metrics"].default)
    of_pairs = [name for name in metrics if name in NEEDS_PAIRS] if isinstance(metrics, list | tuple) else []
    split = f"{scored.get('split', 'test')}" if folders.has_test_split else "train"
    sides = [folders.root / f"{split}{side}" for side in "AB"] if folders.root else [folders.a, folders.b]
    names_a, names_b = ({pair_name(path.relative_to(side)) for path in images_if_any(side)} for side in sides)
    return [] if names_a <= names_b else of_pairs


def _is_unpaired(configs: Sequence[str]) -> bool:
    values = merged_values(configs, ())[1]
    data, method = values.get("data"), values.get("method")
    named = data.get("name") if isinstance(data, dict) else None
    method_name = method.get("name") if isinstance(method, dict) else None
    return (named or method_config(str(method_name)).data_names[0]) == "unpaired"


def _choose(count: int, has_gpu: bool) -> str:
    return "fast" if not has_gpu else "few-pictures" if count < _FEW else "paper"


def _why(recipe: str, count: int) -> str:
    reasons = {
        "fast": "there is no GPU here",
        "few-pictures": f"the smaller side has {count} pictures",
        "paper": "there is a GPU, and pictures enough",
    }
    others = ", ".join(other for other in RECIPES if other != recipe)
    return f", because {reasons[recipe]} (others, by --recipe: {others})"


def _require_pictures(folder: Path, option: str) -> None:
    if not _count(folder):
        what = "holds no picture" if folder.is_dir() else "is a file" if folder.exists() else "no such folder"
        raise UserError(f"{option}: {folder}: {what}")


def _require_apart(a: Path, b: Path) -> None:
    """Refuses two folders of which one lies in the other: its pictures would be of both kinds."""
    inner, outer = sorted((real_path(a), real_path(b)), key=lambda path: len(path.parts), reverse=True)
    if inner.is_relative_to(outer):
        what = "are the same folder" if inner == outer else "lie in each other, so some pictures would be of both kinds"
        raise UserError(f"--a {a}, --b {b}: {what}; name two folders beside each other")


def _holds_runs(folder: Path) -> bool:
    """Whether it is a run directory, or the folder of some, whose sample sheets are no pictures to learn from."""
    return any((place / "config.yaml").is_file() for place in (folder, *filter(Path.is_dir, folder.iterdir())))


def _count(folder: Path) -> int:
    return len(list_folder(folder).paths) if folder.is_dir() else 0


def _name(folder: Path) -> str:
    return folder.resolve().name
