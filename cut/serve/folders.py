"""Which models and trainings there are, in the paths that the user names."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cut.errors import UserError
from cut.runtime.run_lock import lock_holder
from cut.storage.checkpoint import INFERENCE_FILE, list_checkpoints
from cut.storage.files import real_path

_PARTS = ("config.yaml", "metrics.jsonl", "samples", "checkpoints", INFERENCE_FILE)
_DEPTH = 3  # of folders between the one that is named and a run: cut-compare makes OUTPUT/NAME/seed_0


@dataclass(frozen=True)
class Place:
    """A run directory, or a file of weights."""

    name: str
    path: Path

    @property
    def is_run(self) -> bool:
        """Whether there is something to watch: a log or samples."""
        return any((self.path / part).exists() for part in ("metrics.jsonl", "samples"))

    @property
    def is_training(self) -> bool:
        """Whether a training runs there."""
        return self.is_run and lock_holder(self.path) is not None

    @property
    def weights(self) -> Path | None:
        """The file that a model is loaded from; None before the first checkpoint."""
        if not self.path.is_dir():
            return self.path
        files = [self.path / INFERENCE_FILE, *reversed(list_checkpoints(self.path / "checkpoints"))]
        return next((file for file in files if file.is_file()), None)


def require_places(paths: Sequence[Path]) -> None:
    """Refuses paths without a run.

    Raises:
        UserError: A path does not exist, or holds no run.
    """
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such run or file")
        if not find_places([path]):
            raise UserError(f"{path}: holds no run; name a run directory, a folder of runs, or a file of weights")


def find_places(paths: Sequence[Path]) -> dict[str, Place]:
    """The runs and files that are there now, by the names that the page shows.

    Args:
        paths: Run directories, files of weights, and folders of runs; what is gone is passed over, so that the others
            can still be used.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_file() or _is_run_directory(path):
            found.setdefault(path, real_path(path).name)
            continue
        for run in _runs_below(path, _DEPTH):
            found.setdefault(run, run.relative_to(path).as_posix())
    names = list(found.values())
    places = [Place(name if names.count(name) == 1 else str(path), path) for path, name in found.items()]
    return {place.name: place for place in places}


def _is_run_directory(path: Path) -> bool:
    return any((path / part).exists() for part in _PARTS)


def _runs_below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:  # gone by now, or somebody else's, such as lost+found
        return
    for path in inside:
        with contextlib.suppress(PermissionError):
            if _is_run_directory(path):
                yield path
            elif depth > 1:
                yield from _runs_below(path, depth - 1)
