"""The terminal: one way to print that never ends a program, because what it says is never worth the work done."""

import contextlib
import os
import sys
from typing import Any, TextIO, cast


def say(text: object, stream: TextIO | None = None, above_bars: bool = False) -> None:
    """Prints a line; where it cannot be printed, nothing happens.

    The terminal may be gone, its log may lie on a full disk, the reader of a pipe may have ended. Print what a command
    was called for, such as a table of scores, with `print`, whose failure `cut.cli.run` reports.

    Args:
        text: One line, or several.
        stream: `sys.stderr` by default; `sys.stdout` for the last word of a command that writes files.
        above_bars: Progress bars of this process may be on the screen; they stay below the line.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # Python was started without one
        return
    try:
        with _bars_below(stream) if above_bars else contextlib.nullcontext():
            print(text, file=stream, flush=True)
    except (OSError, ValueError):  # ValueError: it is closed
        if stream is sys.stdout:
            discard(stream)


def _bars_below(stream: TextIO) -> contextlib.AbstractContextManager[None]:
    from tqdm import tqdm  # only here, because most lines are printed before it is needed

    return tqdm.external_write_mode(file=stream)


def discard(stream: TextIO) -> None:
    """Sends what a stream still holds, and all that follows, to nowhere, so that no later flush fails again."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.flush()


def prepare_streams() -> None:
    """Makes the standard streams of a program safe to use, whoever started it.

    A number (0 to 2) that is closed would be given to the next file opened, a checkpoint for instance, into which
    libraries then print. Progress bars, warnings and logging print to stderr by themselves, so writing to it must not
    fail. Names of files need not be valid text.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  as long as the program
        elif hasattr(stream, "reconfigure"):  # no stand-in of a test
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")
    if not isinstance(sys.stderr, _Unfailing):
        sys.stderr = cast(TextIO, _Unfailing(sys.stderr))


class _Unfailing:
    """A stream to which writing never fails; the next write is tried again, because a disk may have room by then."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
