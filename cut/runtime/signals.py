"""Ctrl-C, SIGTERM and the end of a terminal as a request that the loop reads between two steps."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):  # noqa: N818  not an error: the run was asked to stop, and saved
    """The run was asked to stop and has saved.

    Args:
        signum: the signal that asked; a command exits with 128 + signum, as the shell expects.
    """

    def __init__(self, signum: int, message: str):
        super().__init__(message)
        self.signum = signum


def stop_signals() -> list[signal.Signals]:
    """What asks a program to end. SIGHUP is the end of its terminal: under nohup ignored, on Windows unknown."""
    found = [signal.SIGINT, signal.SIGTERM]
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found


class StopRequest:
    """The signal that asked the run to stop, or None."""

    signum: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Inside, the first of `stop_signals` only sets the request; a second one ends the process as usual.

    Not a second SIGHUP: the system and the shell each send one when a terminal is closed.
    """
    request = StopRequest()
    previous = {s: signal.getsignal(s) for s in stop_signals()}

    def note(signum: int, frame: object) -> None:
        request.signum = signum
        if signum not in (signal.SIGINT, signal.SIGTERM):
            return
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
