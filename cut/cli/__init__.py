"""The console programs: each one parses its arguments, builds what it needs, and calls it."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from cut.errors import UserError


def run(program: str, main: Callable[[], int | None]) -> NoReturn:
    """Runs `main` as a console program and exits with its status (None counts as 0).

    A `UserError` becomes one line on stderr and status 2 (or its own), Ctrl-C one line and status 130; neither shows a
    traceback.
    A reader that closes our output early (`| head`) is no error worth a word: status 141, as other programs have it.

    Args:
        program: the name to put before messages, such as 'cut-data'.
        main: does the work and returns the exit status.
    """
    try:
        status = main() or 0
        sys.stdout.flush()
    except UserError as error:
        if not error.is_told:
            print(f"{program}: error: {'; '.join(str(error).splitlines())}", file=sys.stderr)
        status = error.status
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_closed():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent too
            status = 141
        elif error.filename is None and error.strerror is None:  # not from the system: a fault of ours, to be seen
            raise
        else:
            print(f"{program}: error: {error.filename or 'input/output'}: {error.strerror}", file=sys.stderr)
            status = 2
    except KeyboardInterrupt:
        print(f"\n{program}: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def _stdout_is_closed() -> bool:
    try:
        print(flush=True)
    except BrokenPipeError:
        return True
    return False
