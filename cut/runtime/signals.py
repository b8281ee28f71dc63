"""Ctrl-C and SIGTERM as a request that the loop reads between two steps."""

import signal
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


class StopRequest:
    """The signal that asked the run to stop, or None."""

    signum: int | None = None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Inside, the first SIGINT or SIGTERM only sets the request; a second one ends the process as usual."""
    request = StopRequest()
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def note(signum: int, frame: object) -> None:
        request.signum = signum
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
