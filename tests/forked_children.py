"""Makes the processes that a program of `forks.py` starts forks too, of a process that has done nothing yet.

They are as real as new ones: a process group, a pipe and an environment of their own, and the program is their parent.
Only the start of Python, the imports, is spared, which takes longer than all that such tests do besides.
"""

import ctypes
import importlib
import json
import os
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

from endings import as_whole_program

_SET_CHILD_SUBREAPER = 36  # of prctl: whose parent has ended is then a child of this process
_MOST_BYTES = 1 << 17


def instead_of_new_processes() -> None:
    """From now on `cut.runtime.children` starts `python -m MODULE ...` as a fork."""
    from cut.runtime import children

    assert ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        here.close()
        _fork_on_request(there)
    there.close()

    def start(words, **how):
        return Forked(here, words, **how)

    names = {name: getattr(subprocess, name) for name in ("PIPE", "TimeoutExpired")}
    children.subprocess = SimpleNamespace(Popen=start, **names)


class Forked:
    """What `children` and those who call it need of `subprocess.Popen`."""

    def __init__(self, asked, words, env, stdin, stdout, stderr, start_new_session):
        assert stdin == subprocess.PIPE and stdout is stderr and start_new_session
        read_end, write_end = os.pipe()
        request = {"words": words[words.index("-m") + 1 :], "environment": env, "folder": os.getcwd()}
        outputs = [stream.fileno() for stream in ([stdout] * 2 if stdout else [sys.stdout, sys.stderr])]
        socket.send_fds(asked, [json.dumps(request).encode()], [read_end, *outputs])
        os.close(read_end)
        self.pid = int(asked.recv(_MOST_BYTES))
        self.args, self.returncode, self.stdin = words, None, os.fdopen(write_end, "wb", buffering=0)

    def poll(self):
        if self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if done else None
        return self.returncode

    def wait(self, timeout=float("inf")):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.005)
        return self.returncode


def _fork_on_request(asked: socket.socket) -> None:
    """Makes each child the child of a process that ends at once, so that it becomes one of the program that asks."""
    while True:
        data, files, *_ = socket.recv_fds(asked, _MOST_BYTES, 3)
        if not data:  # the program has ended
            os._exit(0)
        read_end, write_end = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                _become(json.loads(data), files)
            os.write(write_end, str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        asked.send(os.read(read_end, 100))
        for file in (*files, read_end, write_end):
            os.close(file)


def _become(request: dict, files: list[int]) -> None:
    """Never returns."""
    with as_whole_program():
        os.setsid()
        for target, file in enumerate(files):
            os.dup2(file, target)
        os.closerange(3, max(files) + 64)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        module, *arguments = request["words"]
        sys.argv, sys.orig_argv = [module, *arguments], [sys.executable, "-m", module, *arguments]
        importlib.import_module(module).main(arguments)
