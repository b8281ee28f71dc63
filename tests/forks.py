"""Runs the programs in children of one process that has imported torch: as real as processes of their own to every
signal, limit and file, and many times as quick to start. Their losses.png is blank, as `conftest.py` makes it.
"""

import contextlib
import faulthandler
import functools
import importlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from endings import as_whole_program

REPOSITORY = Path(__file__).parents[1]
_LOOK_SECONDS, _LEAST_SHARE = 10.0, 0.01  # how often a late program is looked at; the part of a processor at work
_STARTS_PROGRAMS = {"compare", "--devices"}  # what begins further processes of ours
_PRELOADED = ("cut.build", "cut.cli.train", "cut.cli.test", "cut.cli.eval", "cut.cli.data", "cut.import_weights")
_PRELOADED += (
    "cut.api.training",
    "cut.methods.cut",
    "cut.inference.translate",
    "cut.inference.sample",
    "cut.scoring.evaluator",
    "cut.report.page",
    "cv2",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "torch.utils.tensorboard",
)


@dataclass
class Ended:
    """How a program ended: its exit status, or minus the signal that killed it; None: it hung, and was killed."""

    status: int | None
    stdout: str
    stderr: str
    peak_mib: float
    seconds: float

    @property
    def mistake(self) -> str:
        """The one line that a user's mistake is told; fails where it is anything else."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("cut-") and ": error: " in line]
        assert self.status == 2 and len(lines) == 1 and "Traceback" not in self.stderr, self
        return lines[0]

    def check(self) -> "Ended":
        """Fails unless the program did what it should."""
        assert self.status == 0 and "Traceback" not in self.stderr, self
        return self


@functools.cache
def server() -> tuple[TextIO, TextIO]:
    """Requests to the process that forks, and its answers.

    It is a fork of this one, which has imported nearly all by the time that the tests are collected. It must be made
    before the first of them: what a test changes for a while would stay changed there.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:  # many tests, some of which will import the rest in any case
        _prepare()
    (asked, ask), (answers, answer) = os.pipe(), os.pipe()
    with warnings.catch_warnings():  # newer Pythons do not like a fork beside pytest-xdist's thread, which is not ours
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        with as_whole_program():
            _forget_the_tests({asked, answer})
            with os.fdopen(asked) as requests, os.fdopen(answer, "w") as answers:
                _serve(requests, answers)
    os.close(asked), os.close(answer)
    return os.fdopen(ask, "w"), os.fdopen(answers)


class Forks:
    """The process that forks; `folder` takes what the children write to stdout and stderr."""

    def __init__(self, folder: Path):
        self._folder, self._count = folder, 0
        self.current = folder / "current"  # the folder that programs run in by default, where nothing may be left
        self.current.mkdir()

    def start(self, program: str, *arguments, fault: dict | None = None, **limits) -> "Child":
        """Starts `cut-<program>`, or a module of these tests or of scripts/.

        Args:
            fault: what `inner_faults.py` shall do to it, by name and number.
            limits: `memory_mib` above what the imports take, `file_mib` of one file; the paths `stdin`, `stdout`,
                `stderr`, `current`, the folder to run in, `terminal`, that of its own session; `ignored`, numbers of
                signals; `closed`, whether it has no standard streams at all; `path`, folders to import from first.
        """
        self._count += 1
        log = {name: str(self._folder / f"{self._count}.{name}") for name in ("stdout", "stderr")} | limits
        request = {"program": program, "arguments": list(map(str, arguments)), "fault": fault}
        request |= {"current": str(self.current), "environment": dict(os.environ)} | log
        return Child(self, self._ask(request), Path(log["stdout"]), Path(log["stderr"]))

    def run(self, program: str, *arguments, seconds: float = 120, **how) -> Ended:
        """Starts a program and waits for its end; after `seconds` it is killed, unless it is at work: see `_wait`."""
        return self.start(program, *arguments, **how).wait(seconds)

    def _ask(self, request: dict):
        requests, answers = server()
        print(json.dumps(request), file=requests, flush=True)
        return json.loads(answers.readline())


@dataclass
class Child:
    forks: Forks
    pid: int
    stdout: Path
    stderr: Path

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return is_running(self.pid)

    def send(self, number: int) -> None:
        """Sends a signal to the program alone, not to its loader workers."""
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120) -> Ended:
        """Waits for its end; after `seconds` it is killed, unless it is at work: see `_wait`."""
        status, peak_mib, took = self.forks._ask({"wait": self.pid, "seconds": seconds})
        texts = [path.read_text(errors="replace") if path.is_file() else "" for path in (self.stdout, self.stderr)]
        return Ended(status, *texts, peak_mib, took)


def is_running(pid: int) -> bool:
    """Whether a process has not ended; one that has, and whose parent has not looked at it yet, is a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _forget_the_tests(files: Iterable[int]) -> None:
    """Makes this fork of pytest what a new Python would be; it keeps its standard streams and `files`."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    known = {0, 1, 2, nowhere, *files}
    for file in {*map(int, os.listdir("/proc/self/fd"))} - known:  # above all pytest-xdist's, which waits for their end
        os.dup2(nowhere, file, inheritable=False)
    faulthandler.disable()
    logging.root.handlers.clear()
    sys.unraisablehook, threading.excepthook = sys.__unraisablehook__, threading.__excepthook__
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    warnings.resetwarnings()
    warnings.simplefilter("error")


@functools.cache
def _prepare() -> None:
    """All that takes long, once for all children."""
    for name in _PRELOADED:
        importlib.import_module(name)
    templates = sys.modules["cut.report.page"].templates()
    for name in ("page.html", "chart.html"):
        templates.get_template(name)


def _serve(requests: TextIO, answers: TextIO) -> None:
    started: dict[int, float] = {}
    for line in requests:
        _prepare()
        sys.modules["cut.train.plots"]._figure = sys.modules["conftest"].blank_figure
        request = json.loads(line)
        if "wait" in request:
            answer = _wait(request["wait"], request["seconds"], started.pop(request["wait"]))
        else:
            answer = os.fork()
            if answer == 0:
                _become(request)
            started[answer] = time.monotonic()
        print(json.dumps(answer), file=answers, flush=True)


def _wait(pid: int, seconds: float, started: float) -> tuple[int | None, float, float]:
    """Waits for a program; it hangs where it is idle after `seconds`, or has used as much of a processor."""
    look_at, hung, before = time.monotonic() + seconds, False, 0.0
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            status = None if hung else os.waitstatus_to_exitcode(status)
            return status, usage.ru_maxrss / 1024, time.monotonic() - started
        if time.monotonic() > look_at and not hung:
            # On a busy machine a program that is at work may take many times as long as on an idle one.
            used = _processor_seconds(pid)
            hung = used > seconds or used - before < _LEAST_SHARE * _LOOK_SECONDS
            look_at, before = time.monotonic() + _LOOK_SECONDS, used
            if hung:
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _processor_seconds(pid: int) -> float:
    """What a process and those that it started have used; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # user and system, and of ended children
    return own + sum(map(_processor_seconds, children))


def _become(request: dict) -> None:
    """Never returns."""
    with as_whole_program():
        _open_streams(request)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell ignores in what it starts with &
        for number in request.get("ignored", ()):
            signal.signal(number, signal.SIG_IGN)
        os.chdir(request["current"])
        os.environ.clear()
        os.environ.update(request["environment"])
        if _STARTS_PROGRAMS & {request["program"], *request["arguments"]}:
            import forked_children

            forked_children.instead_of_new_processes()
        _limit(request)
        if request["fault"]:
            import inner_faults

            inner_faults.prepare(**request["fault"])
        sys.argv = [f"cut-{request['program']}", *request["arguments"]]
        sys.orig_argv = [sys.executable, "-m", f"cut.cli.{request['program']}", *request["arguments"]]
        sys.path[:0] = request.get("path", [])
        folders = (Path(__file__).parent, REPOSITORY / "scripts")
        is_ours = any((folder / f"{request['program']}.py").is_file() for folder in folders)
        module = importlib.import_module(request["program"] if is_ours else f"cut.cli.{request['program']}")
        module.main(*filter(None, [request["arguments"]]))


def _open_streams(request: dict) -> None:
    if request.get("closed"):  # which makes Python's None
        for name, file in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
            os.close(file)
            setattr(sys, name, None)
            setattr(sys, f"__{name}__", None)
        return
    if "terminal" in request:
        os.setsid()  # which the first terminal that is opened belongs to
        for target in (0, 1, 2):
            os.dup2(os.open(request["terminal"], os.O_RDWR), target)
        return
    for name, target in (("stdout", 1), ("stderr", 2)):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), target)
    os.dup2(os.open(request.get("stdin", os.devnull), os.O_RDONLY), 0)


def _limit(request: dict) -> None:
    if mib := request.get("memory_mib"):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + mib * 2**20,) * 2)
    if mib := request.get("file_mib"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(mib * 2**20),) * 2)
