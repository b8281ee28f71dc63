"""How many steps of each method fit into the same time: equal steps are not equal work."""

import math
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cut.compare.contenders import Contender, with_length
from cut.compare.programs import wait_for_others
from cut.errors import UserError
from cut.storage.files import read_json, write_json
from cut.storage.written import is_leftover, temporary_name
from cut.terminal import say
from cut.train.history import curves_of, read_entries

_ROUNDS, _WINDOWS, _WINDOW_STEPS = 2, 6, 5
_PACE_FILE = "pace.json"


def with_equal_time(
    contenders: Sequence[Contender], minutes: float, output: Path, train: Callable[[Contender, Path], None]
) -> list[Contender]:
    """The contenders, each with as many steps as it takes in `minutes` here; what is not trained stays as it is.

    All take turns at a few steps, twice, so that what else the machine does befalls all alike. What was found is kept
    in the folder of the comparison, where the same command finds it again: a run must not change its length when it is
    resumed. Evaluations, samples and checkpoints are not counted.

    Args:
        contenders: The rows of the comparison.
        minutes: Time of every training.
        output: Folder of the comparison.
        train: Trains a contender into a new folder.

    Raises:
        UserError: One of them cannot be trained.
        Stopped: By a signal.
    """
    kept = read_json(output / _PACE_FILE)
    found: dict[str, float] = {}
    trained = [contender for contender in contenders if contender.is_trained]
    for contender in trained:
        of_name = kept.get(contender.name)
        if isinstance(of_name, dict) and of_name.get("config") == contender.config.to_dict():
            pace = of_name.get("seconds_per_step")
            if isinstance(pace, float) and 0 < pace < math.inf:
                found[contender.name] = pace
    if missing := [contender for contender in trained if contender.name not in found]:
        say(f"timing {_ROUNDS} x {_WINDOWS * _WINDOW_STEPS} steps of {len(missing)} configs, in turn")
        found |= _measure(missing, output, train)
        timed = {c.name: {"seconds_per_step": found[c.name], "config": c.config.to_dict()} for c in trained}
        write_json(output / _PACE_FILE, {**kept, **timed})  # also of configs that are not compared this time
    fitted = []
    for contender in contenders:
        if contender.is_trained:
            num_steps = _rounded(minutes * 60 / found[contender.name])
            say(f"  {contender.name}: {found[contender.name]:.3f} s/step, so {num_steps} steps in {minutes:g} min")
            contender = with_length(contender, num_steps)
        fitted.append(contender)
    return fitted


def _measure(
    contenders: Sequence[Contender], output: Path, train: Callable[[Contender, Path], None]
) -> dict[str, float]:
    """Median seconds per step; the first window of each round, in which memory is found, is left out."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    shorts = {c.name: with_length(c, _WINDOWS * _WINDOW_STEPS, _quiet(c)) for c in contenders}
    for _ in range(_ROUNDS):
        for contender in contenders:
            with _new_run_dir(output) as run_dir:
                try:
                    train(shorts[contender.name], run_dir)
                except UserError as error:
                    raise UserError(f"{contender.name}: cannot be timed, mend or leave it out: {error}") from None
                curves = curves_of(read_entries(run_dir / "metrics.jsonl")[0])
            if "time/seconds_per_step" not in curves or len(curves["time/seconds_per_step"][1]) < 2:
                raise UserError(f"{contender.name}: a run of {_WINDOWS * _WINDOW_STEPS} steps says no time per step")
            seconds[contender.name] += curves["time/seconds_per_step"][1].tolist()[1:]
    return {name: statistics.median(values) for name, values in seconds.items()}


@contextmanager
def _new_run_dir(output: Path) -> Iterator[Path]:
    """A run directory in the locked folder of a comparison, for a moment; also removes those that killed ones left."""
    for left in [path for path in output.iterdir() if is_leftover(path.name)] if output.is_dir() else []:
        wait_for_others(left / "run")  # which may save still
        shutil.rmtree(left, ignore_errors=True)
    folder = output / temporary_name()
    try:
        yield folder / "run"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quiet(contender: Contender) -> tuple[str, ...]:
    """The overrides that leave out what is not timed."""
    # A plateau schedule cannot be without scores; those at the beginning and at the end are not timed either.
    is_scored = contender.config.schedule.name == "plateau"
    scores = (f"eval.every_steps={10**9}", "eval.every_epochs=null") if is_scored else ("eval=null",)
    return (*scores, "train.tensorboard=false", "train.loggers=null", f"train.log_every_steps={_WINDOW_STEPS}")


def _rounded(num_steps: float) -> int:
    """To two digits, at least 1: more digits would claim more than a measured time can hold."""
    unit = 10 ** max(math.floor(math.log10(max(num_steps, 1))) - 1, 0)
    return max(round(num_steps / unit) * unit, 1)
