"""What the runs of a comparison have left on disk: scores, costs, pictures that they learnt from."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cut.config import RunConfig
from cut.config.load import changes_of_run, load_config
from cut.data.kinds import open_stream
from cut.data.picture_list import OTHER_RUN, PictureList
from cut.errors import UserError, listed, shown
from cut.methods import method_config
from cut.storage.checkpoint import BEST_FILE, list_checkpoints, load_checkpoint
from cut.storage.files import read_json
from cut.storage.written import is_foreign
from cut.train.history import curves_of, is_number, read_entries

BEST = "_best"  # ends the names of what was made with best.pt


def training_list(config: RunConfig) -> PictureList:
    """What a run with this config would learn from today; nothing where that is gone."""
    try:
        return open_stream(config.data, config.seed).picture_list()
    except UserError:
        return {}


def remarks_of(run_dir: Path) -> list[str]:
    """What was said when the run was resumed with other pictures than it began with."""
    warnings = [entry.get("warning") for entry in read_entries(run_dir / "metrics.jsonl")[0]]
    return [text for text in dict.fromkeys(warnings) if isinstance(text, str) and OTHER_RUN in text]


def test_json(run_dir: Path) -> Path:
    """Where cut-test writes what it took."""
    return run_dir.with_name(f"{run_dir.name}_test.json")


def outputs_json(result: Path) -> Path:
    """Where the scores of several outputs of each picture go, and without the suffix the outputs."""
    return result.with_name(f"{result.stem}_outputs.json")


def transferred(output: Path) -> Path:
    """Where the inputs of a comparison in `output` lie after a colour transfer."""
    return output / "input_colour_transfer"


def costs_of_test(run_dir: Path) -> dict[str, float]:
    """Seconds per picture and peak memory in MiB, as cut-test has measured them."""
    took = read_json(test_json(run_dir))  # not there in older comparisons
    return {key: took[key] for key in ("peak_mib", "seconds_per_picture") if is_number(took.get(key))}


def costs_of(run_dir: Path) -> dict[str, float]:
    """What a finished run cost: median seconds per step, peak memory in MiB, parameters of its networks, steps.

    Raises:
        UserError: it has no log.
    """
    curves = curves_of(read_entries(run_dir / "metrics.jsonl")[0])
    if not {"time/seconds_per_step", "memory/peak_mib"} <= curves.keys():
        raise UserError(f"{run_dir}: holds no metrics.jsonl that says what it cost; delete the folder to train again")
    steps, seconds = curves["time/seconds_per_step"]
    parameters = read_json(run_dir / "environment.json").get("parameters")
    return {
        "seconds_per_step": statistics.median(seconds.tolist()),
        "peak_mib": curves["memory/peak_mib"][1].max().item(),
        "steps": int(steps[-1]),
        "training_seconds": statistics.median(seconds.tolist()) * int(steps[-1]),
        "parameters": sum(filter(is_number, parameters.values())) if isinstance(parameters, dict) else 0,
    }


def require_same_runs(runs: Iterable[tuple[Path, RunConfig]]) -> None:
    """Refuses to go on with runs that were begun with other settings, before the table loses their rows.

    Args:
        runs: Run directories, which need not exist, and the configs of their runs.

    Raises:
        UserError: Some were.
    """
    others = []
    for run_dir, config in runs:
        file = run_dir / "config.yaml"
        if list_checkpoints(run_dir / "checkpoints") and not is_foreign(file):
            try:
                changes = changes_of_run(load_config(file, (), method_config), config)
            except UserError:  # damaged, or of another version: cut-train says what is wrong
                continue
            others += [f"{run_dir} ({'; '.join(changes)})"] if changes else []
    if others:
        raise UserError(
            f"{listed(others, 3)}: was trained with other settings; choose another --output, or delete what is there "
            "to train it again"
        )


def require_best(run_dir: Path, step: int, seed: int) -> None:
    """Refuses a best.pt of another run, whose scores would stand in this one's row.

    Raises:
        UserError: It is one, or damaged.
    """
    state = load_checkpoint(run_dir / BEST_FILE)
    found = (state.get("step"), state.get("config", {}).get("seed"))
    if found != (step, seed):
        raise UserError(
            f"{run_dir / BEST_FILE}: is of step {shown(found[0])} with seed {shown(found[1])}, but the best of this "
            f"run is of step {step} with seed {seed}; put that back, or delete the folder to train again"
        )


def scores_of(result: Path, known: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """The scores of a result; None where it is missing, damaged, or the result of something other than `known`."""
    content = read_json(result)
    generated = content.get("generated")
    scores = generated.get("scores") if isinstance(generated, dict) else None
    if not isinstance(scores, dict) or not known.items() <= content.items():
        return None
    values = [score.get("value", "missing") if isinstance(score, dict) else "missing" for score in scores.values()]
    return scores if all(value is None or is_number(value) for value in values) else None
