"""What a run tells: metrics.jsonl, TensorBoard, and the terminal."""

import contextlib
import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cut.errors import UserError, reason
from cut.storage.files import write_whole
from cut.terminal import say
from cut.train.history import read_lines
from cut.train.loggers import Loggers

_STEPS_TO_TIME = 10
_MUCH_LOADING = 0.1  # of the time


class RunLog:
    """Writes one line of JSON per logged step and keeps a progress bar; a viewer is never needed.

    Args:
        run_dir: `metrics.jsonl` and `tensorboard/` go here; None is silent, for all processes but the first.
        first_step: steps already done; lines of later steps, left by a killed run, are dropped.
        last_step: where the bar ends.
        tensorboard: also write TensorBoard events.
        loggers: names of further loggers, see `cut.train.loggers`; what is not known there is passed over.
        config: settings of the run, for those loggers.
    """

    def __init__(
        self,
        run_dir: Path | None,
        first_step: int,
        last_step: int,
        tensorboard: bool,
        loggers: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ):
        self._file, self._is_silent = None, run_dir is None
        self._writer = None
        self._loggers: Loggers | None = None
        if run_dir is not None:
            if tensorboard:
                from torch.utils.tensorboard import SummaryWriter  # only here, for it is slow to import

                threading.excepthook = _without_writer_threads(threading.excepthook)
                self._writer = SummaryWriter(run_dir / "tensorboard", purge_step=first_step + 1)
            _drop_later_lines(run_dir / "metrics.jsonl", first_step or -1)  # a run from its beginning logs all anew
            self._file = open(run_dir / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115  closed in `close`
        if run_dir is not None and loggers:
            is_resumed, warn = first_step > 0, partial(self.warn, first_step)
            self._loggers = Loggers(loggers, run_dir, is_resumed, config or {}, warn)
        self._planned, self._steps, self._first_at = last_step - first_step, 0, 0.0  # of this process
        self._bar = tqdm(
            total=last_step, initial=first_step, unit="step", dynamic_ncols=True, disable=self._is_silent or None
        )

    def tick(self) -> None:
        """One step is done; after a few of them it is said how long all will take."""
        self._bar.update()
        self._steps += 1
        if self._steps == 1:  # which takes longer: libraries choose their algorithms
            self._first_at = time.perf_counter()
        left = self._planned - self._steps
        if self._steps == 1 + _STEPS_TO_TIME and left > 0:
            seconds = (time.perf_counter() - self._first_at) / _STEPS_TO_TIME
            self.say(f"{seconds:.2g} s per step: the {left} steps to come take about {duration(left * seconds)}")

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Logs the figures of the steps since the last call."""
        losses = {k.removeprefix("loss/"): f"{v:.3g}" for k, v in values.items() if k.startswith("loss/")}
        rate = f"{values['time/seconds_per_step']:.2f} s/step, {values['time/images_per_second']:.1f} images/s"
        if (loading := values["time/loading_share"]) >= _MUCH_LOADING:
            rate += f" ({loading:.0%} of the time waiting for pictures)"
        memory = f"{values['memory/peak_mib'] / 1024:.1f} GiB"
        if self._bar.disable:
            shown = ", ".join(f"{k} {v}" for k, v in losses.items())
            remaining = duration((self._bar.total - step) * values["time/seconds_per_step"])
            self.say(f"step {step}/{self._bar.total}: {shown}; {rate}, {memory}, {remaining} to go")
        else:
            self._bar.set_postfix({**losses, "speed": rate, "memory": memory})
        self.record(step, values)

    def record(self, step: int, values: Mapping[str, float]) -> None:
        """Logs figures to the files, not to the terminal."""
        self._write(step, values)
        if self._writer:
            with _told(self._writer.log_dir):
                for key, value in values.items():
                    self._writer.add_scalar(key, value, step)
        if self._loggers:
            self._loggers.metrics(step, values)

    def scores(self, step: int, scores: Mapping[str, Mapping[str, float]]) -> None:
        """Logs an evaluation: `eval/<generator>/<score>`."""
        for generator, values in scores.items():
            self.say(f"step {step}: {generator}: " + ", ".join(f"{k} {v:.4g}" for k, v in values.items()))
        self.record(step, {f"eval/{g}/{name}": v for g, values in scores.items() for name, v in values.items()})

    def warn(self, step: int, text: str) -> None:
        """Tells what may be wrong with the run, on the terminal and in the file."""
        self.say(f"warning: step {step}: {text}")
        self.note(step, text)

    def note(self, step: int, text: str) -> None:
        """Keeps in the file what the terminal shows already."""
        self._write(step, {"warning": text})

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Shows a `(H, W, 3)` uint8 picture in TensorBoard and other loggers."""
        if self._writer:
            with _told(self._writer.log_dir):
                self._writer.add_image(name, picture, step, dataformats="HWC")
        if self._loggers:
            self._loggers.picture(step, name, picture)

    def say(self, line: str) -> None:
        """One line to the terminal, above the bar."""
        if not self._is_silent:
            say(line, above_bars=True)

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        if self._file:
            line = {k: v if not isinstance(v, float) or math.isfinite(v) else None for k, v in values.items()}
            with _told(self._file.name):
                self._file.write(json.dumps({"step": step, "time": round(time.time(), 3), **line}) + "\n")
                self._file.flush()

    def close(self) -> None:
        self._bar.close()
        if self._loggers:
            self._loggers.close(self._steps >= self._planned)
        for file in (self._writer, self._file):
            if file:
                with contextlib.suppress(OSError):  # it has been told, where it mattered
                    file.close()


def _without_writer_threads(hook: Callable[[Any], object]) -> Callable[[Any], object]:
    """Leaves out the traceback of TensorBoard's thread: what it meets is raised again where the writer is used next."""
    return lambda failed: None if type(failed.thread).__name__ == "_AsyncWriterThread" else hook(failed)


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Inside, a file that cannot be written is the user's to mend."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({reason(error)}); free some space, then run the same command again"
        ) from None


def _drop_later_lines(path: Path, last_step: int) -> None:
    """Keeps the whole lines of steps up to `last_step`, so that a resumed run's file equals a straight run's."""
    lines = read_lines(path)
    kept = [text for text, entry in lines if entry is not None and entry["step"] <= last_step]
    if lines:
        write_whole(path, "".join(f"{text}\n" for text in kept), checked=False)


def duration(seconds: float) -> str:
    """In hours and minutes, or minutes and seconds."""
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {int(seconds % 60):02d} s"
