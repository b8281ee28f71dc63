"""Opens a run: begins in a new directory, or resumes from the newest checkpoint that can be read."""

from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from cut.config import RunConfig
from cut.config.load import changes_of_run, parse_config
from cut.config.own_code import own_code
from cut.data.evaluation_set import list_of_split
from cut.data.picture_list import OTHER_RUN, PictureList, changes_of_pictures
from cut.errors import UserError, reason, shown
from cut.methods import method_config
from cut.runtime.environment import describe_environment, write_environment
from cut.storage.checkpoint import list_checkpoints, load_checkpoint
from cut.storage.files import real_path, write_whole
from cut.train.run_files import require_own_files
from cut.train.start import ReadWeights, read_weights, start_from
from cut.train.state import restore
from cut.train.trainer import Trainer


def open_run(trainer: Trainer, run_dir: Path, resume: bool, read: ReadWeights = read_weights) -> str:
    """Prepares the run directory: a new one gets the config, one with checkpoints is resumed.

    Args:
        trainer: Trainer at step 0; it takes up the newest readable checkpoint, if there is one.
        run_dir: Run directory.
        resume: Whether to resume even if the config has changed.
        read: Reads the weights that a new run starts from.

    Returns:
        One line that says where the run starts.

    Raises:
        UserError: The config has changed (the line says how), or no checkpoint can be read.
    """
    processes = trainer.processes
    trainer.pictures["eval"] = processes.on_first(lambda: _scored_pictures(trainer.config))
    path, state, lines = processes.on_first(lambda: _newest_state(trainer.config, run_dir, resume))
    if state is None:
        processes.on_first(lambda: _refuse_inside_pictures(trainer, run_dir))
        start = trainer.config.start
        started = f"; {processes.together(lambda: start_from(trainer, start, read))}" if start else ""
        processes.on_first(lambda: _describe_run(run_dir, trainer, is_resumed=False))
        return f"{run_dir}: a new run of {trainer.last_step} steps{started}"
    processes.together(lambda: _take_up(trainer, state, path))
    if trainer.step < trainer.last_step:  # of a finished run, what it ran on stays
        processes.on_first(lambda: _describe_run(run_dir, trainer, is_resumed=True))
    at = f"{run_dir}: going on from step {trainer.step} of {trainer.last_step}"
    before = state.get("num_processes", 1)
    if before != processes.count:
        at += f" (number of processes {before} -> {processes.count}: equal to rounding, not bit for bit)"
    *damaged, changes = lines
    trainer.remarks = _changes_of_pictures(trainer, state.get("pictures"))
    return "; ".join([*damaged, at, *([f"with {changes}"] if changes else []), *trainer.remarks])


def _refuse_inside_pictures(trainer: Trainer, run_dir: Path) -> None:
    """Its sample sheets would be trained on when the run is resumed."""
    for split in ("train", *([trainer.config.eval.split] if trainer.config.eval else [])):
        for folder in trainer.stream.folders(split):
            if real_path(run_dir).is_relative_to(real_path(folder)):
                raise UserError(
                    f"{run_dir}: lies in {folder}, with whose pictures those of the run would mix; choose another "
                    "--run-dir"
                )


def _scored_pictures(config: RunConfig) -> PictureList:
    return list_of_split(config.data, config.eval.split) if config.eval else {}


def _changes_of_pictures(trainer: Trainer, before: Any) -> list[str]:
    """What pictures were added, removed or replaced since the checkpoint, and what that means for the run."""
    lists = before if isinstance(before, dict) else {}  # of older versions: none
    remarks = []
    if changes := changes_of_pictures(lists.get("train"), trainer.pictures["train"]):
        remarks.append(f"{', '.join(changes)}, {OTHER_RUN}")
    changes = changes_of_pictures(lists.get("eval"), trainer.pictures["eval"])
    if changes and trainer.evaluations:
        trainer.evaluations.set_aside()
        remarks.append(f"{', '.join(changes)}, so scores before and after do not compare")
    return remarks


def _newest_state(config: RunConfig, run_dir: Path, resume: bool) -> tuple[Path, dict[str, Any] | None, list[str]]:
    """The newest readable checkpoint with its path, or None in a new run; what is to be said of damaged ones, and of
    changes, which come last."""
    lines = []
    for path in reversed(list_checkpoints(run_dir / "checkpoints")):
        try:
            state = load_checkpoint(path)
        except UserError as error:
            lines.append(str(error))
            continue
        _refuse_foreign_code(path, state["config"], config)
        changes = changes_of_run(parse_config(state["config"], method_config, str(path)), config)
        if changes and not resume:
            raise UserError(
                f"{run_dir}: holds a run with another config ({'; '.join(changes)}); "
                "choose another --run-dir, or give --resume to go on with the new settings"
            )
        return path, state, [*lines, ", ".join(changes)]
    if lines:
        more = f" (and {len(lines) - 1} more are damaged)" if len(lines) > 1 else ""
        raise UserError(
            f"{lines[0]}{more}: there is none in {run_dir / 'checkpoints'}; move that folder away to begin again, or "
            "choose another --run-dir"
        )
    return run_dir, None, []


def _refuse_foreign_code(path: Path, values: dict[str, Any], config: RunConfig) -> None:
    """A checkpoint may name code outside this package only where the user's own config names it too."""
    trusted = own_code(config.to_dict())
    for key, name in own_code(values).items():
        if trusted.get(key) != name:
            raise UserError(
                f"{path}: its {key} {shown(name)} is code outside this program, and not that of the config; "
                "choose another --run-dir"
            )


def _take_up(trainer: Trainer, state: dict[str, Any], path: Path) -> None:
    try:
        restore(trainer, state)
        for optimizer in trainer.optimizers.values():
            _check_optimizer(optimizer)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001  states of the wrong kind or shape raise whatever they meet first
        raise UserError(f"{path}: holds a state that cannot be taken up ({type(error).__name__}: {error})") from None


def _check_optimizer(optimizer: Optimizer) -> None:
    """Raises a ValueError where a state has not the shape of its parameter, which torch would find in mid-step."""
    for parameter, state in optimizer.state.items():
        numbers = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        if any(value.shape not in ((), parameter.shape) for value in numbers.values()) or len(numbers) < len(state):
            raise ValueError("an optimizer's state has not the shape of its parameter")


def _describe_run(run_dir: Path, trainer: Trainer, is_resumed: bool) -> None:
    """Writes what decides the run, and what it runs on."""
    networks = {name: sum(p.numel() for p in part.parameters()) for name, part in trainer.method.named_children()}
    parameters = {name: count for name, count in networks.items() if count}
    environment = describe_environment(trainer.fabric.device)
    environment |= {"seed": trainer.config.seed, "first_step": trainer.step, "parameters": parameters}
    environment["num_processes"] = trainer.processes.count
    try:
        require_own_files(run_dir, is_resumed)
        write_whole(run_dir / "config.yaml", trainer.config.to_yaml(), flush_to_disk=True)
        write_environment(run_dir, environment)
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be written ({reason(error)}); choose another --run-dir") from None
