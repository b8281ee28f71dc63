"""Calls the project's programs in processes of their own, as a user would, and waits for them."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from cut.errors import UserError, reason
from cut.runtime.children import end_group, hand_on, start_child, wait_in_parts
from cut.runtime.run_lock import lock_holder
from cut.runtime.signals import Stopped, stop_signals
from cut.storage.own_list import SAFE
from cut.terminal import say

_INTERRUPTED = {status: number for number in stop_signals() for status in (128 + number, -number)}
_POLL_SECONDS = 0.5


def call(program: str, log: Path, arguments: Sequence[Any]) -> None:
    """Runs `cut-<program>`; what it says goes to the end of `log`.

    Raises:
        UserError: It failed, with its last line.
        Stopped: By a signal.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [_word(argument) for argument in arguments]
    start = time.perf_counter()
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFE, 0o666)
    with os.fdopen(opened, "a", encoding="utf-8", errors="backslashreplace") as file:  # names need be no valid text
        try:
            print(f"$ cut-{program} {' '.join(words)}", file=file, flush=True)
        except OSError as error:
            raise UserError(f"{log}: cannot be written ({reason(error)})") from None
        status = wait(start_child(["-m", f"cut.cli.{program}", *words], output=file))
    if status in _INTERRUPTED:
        raise _stopped(_INTERRUPTED[status])
    if status:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise UserError(f"{said[-1]} (status {status}; all of it: {log})")
    say(f"  cut-{program}: {time.perf_counter() - start:.0f} s")


def _word(argument: Any) -> str:
    """An argument as the program takes it, to which a path that begins with `-` were an option, and `~` the home."""
    text = str(argument)
    return f"./{text}" if isinstance(argument, PurePath) and text.startswith(("-", "~")) else text


def wait(child: subprocess.Popen) -> int:
    """The status; a signal to end is handed on, and waited for, so that the run can save.

    Raises:
        Stopped: it was asked to end and has ended in another way, because it was done by then.
    """
    asked: list[int] = []

    def ask(signum: int, frame: object) -> None:
        asked.append(signum)
        hand_on(child, signum)

    previous = {number: signal.signal(number, ask) for number in stop_signals()}
    try:
        status = wait_in_parts(child)
    finally:
        end_group(child)  # whatever ended the wait: nothing of it trains on
        for number, handler in previous.items():
            signal.signal(number, handler)
    if asked:
        raise _stopped(asked[0])
    return status


def _stopped(signum: int) -> Stopped:
    return Stopped(signum, "stopped; the same command goes on from there")


def wait_for_others(run_dir: Path) -> None:
    """Waits while a training of this run goes on, as where a comparison was killed and its program still saves.

    It is not ended: it may be somebody's own.
    """
    if holder := lock_holder(run_dir):
        say(f"  {run_dir}: {holder} is still training here; waiting for it to end (Ctrl-C stops the waiting alone)")
        while lock_holder(run_dir):
            time.sleep(_POLL_SECONDS)
