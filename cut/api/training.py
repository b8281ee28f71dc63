"""A training from its configuration to the last word: what `cut.train` and cut-train do."""

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cut.config import RunConfig
from cut.config.load import PathOrPaths
from cut.errors import UserError, printable
from cut.storage.files import given_path
from cut.terminal import say

if TYPE_CHECKING:
    from cut.train.trainer import Trainer

_PAGE = "report.html"
_MOST_LOOKED_AT = 256  # pictures of a folder whose files are opened to say what is left out


def train(
    config: PathOrPaths | Mapping[str, Any] | RunConfig,
    overrides: Sequence[str] = (),
    *,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
) -> Path:
    """Trains what a configuration describes, in this process, as cut-train does; resumes a run that was stopped.

    Args:
        config: YAML, its name (`quickstart`), several of them, or the settings themselves as nested mappings.
        overrides: Settings that go over it, e.g. `["train.max_steps=200"]`; not with a `RunConfig`.
        run_dir: Where the run goes; None takes `runs/<names of the YAMLs>`.
        resume: Whether to resume even though the configuration has changed.

    Returns:
        The run directory, which `cut.load` reads.

    Raises:
        cut.UserError: A setting is wrong, or data are missing.
        KeyboardInterrupt: Ctrl-C or a signal came; the run was saved.
    """
    from cut.build import build_trainer, given_config
    from cut.runtime.signals import Stopped

    if run_dir is None:
        if isinstance(config, RunConfig | Mapping):
            raise UserError("cut.train: settings that are no file need run_dir")
        run_dir = default_run_dir([config] if isinstance(config, str | Path) else config)
    folder = given_path(run_dir, "run_dir")
    trainer = build_trainer(given_config(config, overrides, "cut.train"))
    try:
        run_training(trainer, folder, resume)
    except Stopped as stopped:
        kind = KeyboardInterrupt if stopped.signum == signal.SIGINT else SystemExit
        raise kind(f"{folder}: {stopped}") from None
    return folder


def default_run_dir(configs: Sequence[str | Path]) -> Path:
    """Where the run of some YAMLs goes unless somebody says otherwise."""
    return Path("runs") / "_".join(Path(path).stem for path in configs)


def run_training(trainer: "Trainer", run_dir: Path, resume: bool) -> None:
    """Trains to the end of the run, or resumes it, and says what came of it.

    Args:
        trainer: Trainer at step 0.
        run_dir: Run directory.
        resume: Whether to resume even though the configuration has changed.

    Raises:
        UserError: See `Trainer.fit` and `open_run`.
        Stopped: A signal came; the run is saved.
    """
    from cut.runtime.run_lock import run_lock

    with ExitStack() as stack:
        trainer.processes.on_first(lambda: stack.enter_context(run_lock(run_dir)))
        _train(trainer, run_dir, resume)


def _train(trainer: "Trainer", run_dir: Path, resume: bool) -> None:
    from cut.api.start import read_start
    from cut.train.run_dir import open_run

    is_first = trainer.processes.is_first
    start = open_run(trainer, run_dir, resume, read_start)
    if is_first:
        say(printable(start))
    if trainer.step >= trainer.last_step:
        if is_first:
            _say_finished_already(run_dir)
        return
    if is_first:
        say_left_out(trainer)
        say_memory(trainer)
    trainer.fit(run_dir)
    if is_first:
        _say_end(trainer, run_dir)


def say_left_out(trainer: "Trainer") -> None:
    """What the training finds beside the user's pictures, and what it does not use of them."""
    from cut.data.images import evenly_chosen, list_images
    from cut.data.left_out import describe_left_out
    from cut.data.scale import describe_scale

    splits = ["train", *([trainer.config.eval.split] if trainer.config.eval else [])]
    for line in trainer.stream.notes():
        say(f"cut-train: {line}")
    by_split = [trainer.stream.sources(split) for split in splits]
    bands = trainer.config.data.bands.values()
    whole = {s for sources in by_split for s, b in zip(sources, bands, strict=False) if not b.are_plain}
    sources = [source for of_split in by_split for source in of_split]
    beside = [line for split in splits for line in trainer.stream.passed_over(split)]
    for line in [*describe_left_out(sources, _MOST_LOOKED_AT, whole), *beside]:
        say(f"cut-train: note: {line}")
    if trainer.config.eval and trainer.config.data.kind == "unpaired":
        inputs = trainer.stream.sources(trainer.config.eval.split)[0]
        found = describe_scale(evenly_chosen(list_images(inputs), _MOST_LOOKED_AT), trainer.config.data)
        if found:
            say(
                printable(f"cut-train: note: eval: {inputs}: {found}; they are translated and scored at their own size")
            )


def say_memory(trainer: "Trainer") -> None:
    """What the training will need; a warning if there is less."""
    from cut.build import estimate_memory
    from cut.runtime.memory import available_bytes

    needed = estimate_memory(trainer.config, trainer.processes.count)
    free = available_bytes(trainer.fabric.device)
    if free is not None and trainer.fabric.device.type == "cpu":
        free //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes of this machine
    if needed is None or free is None:
        return
    sizes = f"about {needed / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free"
    each = " each" if trainer.processes.count > 1 else ""
    if needed <= free:
        say(f"will need {sizes}{each}")
        return
    say(
        f"cut-train: warning: may need {sizes}{each}; if it ends, lower data.batch_size or data.crop_px, or set "
        "train.checkpoint_activations=true, train.precision=bf16-mixed or train.num_micro_batches"
    )


def _say_finished_already(run_dir: Path) -> None:
    say(f"{run_dir}: finished already", sys.stdout)
    if _is_page_missing(run_dir):
        _report(run_dir)


def _say_end(trainer: "Trainer", run_dir: Path) -> None:
    if trainer.evaluations and trainer.evaluations.best:
        say(f"{run_dir}: {trainer.evaluations.summary()}", sys.stdout)
    _report(run_dir)
    from_noise = "image" not in trainer.method.inputs
    use = "draw images with" if from_noise else "translate pictures with"
    what = "--num-images 64" if from_noise else "--input FOLDER"
    what += " --label all" if "label" in trainer.method.inputs else ""
    command = f"cut-test --run {shlex.quote(str(run_dir))} {what} --output FOLDER"
    say(printable(f"{run_dir}: finished; {use}: {command}"), sys.stdout)


def _is_page_missing(run_dir: Path) -> bool:
    """Whether a finished run was killed before it wrote its page, or has an earlier page only."""
    page, log = run_dir / _PAGE, run_dir / "metrics.jsonl"
    return not page.exists() or (log.exists() and page.stat().st_mtime_ns < log.stat().st_mtime_ns)


def _report(run_dir: Path) -> None:
    """Writes the page that shows the run; whatever goes wrong, the training is done and its files are whole."""
    page = run_dir / _PAGE
    try:
        from cut.report import write_report

        write_report([run_dir], page)
    except Exception as error:  # noqa: BLE001  of whatever kind it is
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        again = shlex.join(["cut-report", str(run_dir), "--output", str(page)])
        say(printable(f"cut-train: warning: no report: {reason}; to try again: {again}"))
        return
    say(f"{run_dir}: to look at: {page}", sys.stdout)
