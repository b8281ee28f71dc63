"""Programs of ours that this process starts. They are stopped in the same way on every system, and none outlives it.

A child's stdin is a pipe from its parent. A byte in it is the number of a signal that the parent hands on; its end
means that the parent is gone, however it ended. Signals themselves would not do: Windows cannot send SIGINT to one
process, and its SIGTERM leaves no time to save.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO

_MARK = "CUT_CHILD"
_ON_WINDOWS = os.name == "nt"
_AGAIN_SECONDS = 5.0
_NEW_GROUP = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200)  # known on Windows only


def start_child(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None, output: IO[str] | None = None
) -> subprocess.Popen:
    """Starts Python with these arguments, in a process group of its own: the terminal's Ctrl-C does not reach it.

    Args:
        arguments: Of Python, such as `-m cut.cli.train`.
        environment: Variables to set besides those of this process.
        output: Where stdout and stderr go; None: where those of this process go.
    """
    group = {"creationflags": _NEW_GROUP} if _ON_WINDOWS else {"start_new_session": True}
    return subprocess.Popen(  # noqa: S603  our own programs, and no shell
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {}), _MARK: "1"},
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        **group,
    )


def hand_on(child: subprocess.Popen, signum: int) -> None:
    """Asks a child to end as `signum` asks; one that has ended does not mind."""
    assert child.stdin is not None
    with contextlib.suppress(OSError, ValueError):  # ValueError: closed here
        os.write(child.stdin.fileno(), bytes([signum]))


def wait_in_parts(child: subprocess.Popen, seconds: float = 0.2) -> int:
    """The exit status of a child. Nothing interrupts a wait on Windows, so a long one would not hear Ctrl-C."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(seconds)


def end_group(child: subprocess.Popen) -> None:
    """Kills a child that still runs and all processes that it has started, and lets go of its pipe."""
    if child.poll() is None:
        if _ON_WINDOWS:
            child.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdin:
        with contextlib.suppress(OSError):
            child.stdin.close()


def listen_to_parent() -> None:
    """In a child: raises here what the parent hands on, and SIGTERM where the parent is gone, so that a run is saved.

    Without effect in a process that `start_child` has not started.
    """
    if os.environ.pop(_MARK, None) is None:  # and not in children of others, which inherit the pipe
        return
    # What a shell starts with & ignores SIGINT, and so do its children: here only the parent sends it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def listen() -> None:
        is_asked = False
        while byte := os.read(0, 1):
            is_asked = True
            # While the program starts, a library that is imported may catch the KeyboardInterrupt. A handler of our own
            # loses nothing, and is not asked twice: a second signal would not let it save.
            may_be_lost = signal.getsignal(byte[0]) is signal.default_int_handler
            _signal_myself(byte[0])
            if may_be_lost:
                again = threading.Timer(_AGAIN_SECONDS, _signal_myself, [byte[0]])
                again.daemon = True
                again.start()
        if not is_asked:  # a second signal would not let it save
            _signal_myself(signal.SIGTERM)

    threading.Thread(target=listen, daemon=True).start()


def _signal_myself(signum: int) -> None:
    if _ON_WINDOWS:  # where `os.kill` ends a process without asking it
        signal.raise_signal(signum)
    else:  # not `os.kill`, which may choose the calling thread: what the main one waits for would then go on
        main = threading.main_thread().ident
        assert main is not None, "it has started"
        signal.pthread_kill(main, signum)
