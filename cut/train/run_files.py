"""The files of a run directory, of which none may be the user's own when a training begins to write them."""

import os
from collections.abc import Iterator
from pathlib import Path

from cut.errors import UserError, listed
from cut.storage.checkpoint import BEST_FILE, INFERENCE_FILE, list_checkpoints
from cut.storage.written import LIST, adopt, is_foreign, list_beside, list_inside, record_name
from cut.train.history import read_entries

_FILES = ("config.yaml", "environment.json", "losses.png", "evaluation.json", "report.html", BEST_FILE, INFERENCE_FILE)
_LOG = "metrics.jsonl"
SHEETS = "samples"
_EVALUATIONS = "evaluation/*"
_FOLDERS = (SHEETS, "checkpoints", "evaluation", "tensorboard", "wandb", "mlflow")


def require_own_files(run_dir: Path, is_resumed: bool) -> None:
    """Refuses to train where files of a run are there that no training wrote, or that were changed since.

    Args:
        run_dir: Run directory; it need not exist.
        is_resumed: Whether it holds checkpoints of ours. What lies beside those of earlier versions, which kept no list
            of what they wrote, counts as written by them.

    Raises:
        UserError: there are such files.
        OSError: they cannot be read.
    """
    list_inside(run_dir)
    for folder in (run_dir / SHEETS, *run_dir.glob(_EVALUATIONS)):
        list_beside(folder)
    if is_resumed and not (run_dir / LIST).exists():
        adopt([*_own_names(run_dir), *(path for path in run_dir.glob(f"{_EVALUATIONS}/**/*") if path.is_file())])
        for path in list_checkpoints(run_dir / "checkpoints"):
            record_name(path)
    foreign = [path for path in _own_names(run_dir) if is_foreign(path)]
    folders = (run_dir / name for name in _FOLDERS)
    foreign += [path for path in folders if os.path.lexists(path) and not path.is_dir()]
    if _is_foreign_log(run_dir / _LOG):
        foreign.append(run_dir / _LOG)
    if foreign:
        raise UserError(
            f"{listed(foreign)}: is there already, and no training wrote it, or it was changed since; rename it, or "
            "choose another --run-dir"
        )


def _own_names(run_dir: Path) -> Iterator[Path]:
    yield from (run_dir / name for name in _FILES)
    yield from (run_dir / SHEETS).glob("step_*.png")


def _is_foreign_log(path: Path) -> bool:
    """Whether a file that grows, and so is on no list, is a link, or holds something, but not one line of a log."""
    if path.is_symlink() or not path.exists():
        return path.is_symlink()
    return not path.is_file() or (path.stat().st_size > 0 and not read_entries(path)[0])
