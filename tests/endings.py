"""How a process that was forked to run a program ends."""

import contextlib
import os
import sys
import traceback


@contextlib.contextmanager
def as_whole_program():
    """Inside runs all that this process still does; behind it the process ends with the status that was asked for."""
    status = 1
    try:
        yield
        status = 0
    except SystemExit as ending:
        status = ending.code or 0
    except BaseException:  # noqa: BLE001  as Python itself would print it
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)
