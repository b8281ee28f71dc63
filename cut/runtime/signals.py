"""Ctrl-C, SIGTERM and the end of a terminal as a request that the loop reads between two steps."""

import signal
import sys
import threading
import time
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
    """The signal that asked the run to stop, or None, and when it came, on the monotonic clock."""

    signum: int | None = None
    asked_at = 0.0


_request = StopRequest()  # of the run that goes on in this process


def waited_since_asked(seconds: float) -> int | None:
    """The signal that asked the run to stop, if that is so long ago."""
    return _request.signum if time.monotonic() - _request.asked_at > seconds else None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Inside, the first of `stop_signals` only sets the request; a second one ends the process as usual.

    Not a second SIGHUP: the system and the shell each send one when a terminal is closed.
    """
    global _request
    _request = request = StopRequest()
    previous = {s: signal.getsignal(s) for s in stop_signals()}

    def note(signum: int, frame: object) -> None:
        request.signum, request.asked_at = signum, request.asked_at or time.monotonic()
        if signum not in (signal.SIGINT, signal.SIGTERM):
            return
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield request
    finally:
        _request = StopRequest()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_ctrl_c() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once, as SIGTERM does: a library that waits in C for hours does not return to
    Python, which alone would notice."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
