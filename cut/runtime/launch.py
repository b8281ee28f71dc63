"""Starts the processes of a run on this machine, and ends them all where one fails. torchrun may do so instead."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from cut.errors import LostProcessError, UserError
from cut.runtime.children import end_group, hand_on, start_child
from cut.runtime.signals import stop_signals
from cut.terminal import say

DEFAULT_PORT = 29500  # torchrun's
_GRACE_SECONDS = 5.0  # for the others to notice that one has ended, and to say so
_POLL_SECONDS = 0.05


def is_worker() -> bool:
    """Whether this process is one of several that were started for a run already, here or by torchrun."""
    return "WORLD_SIZE" in os.environ and "LOCAL_RANK" in os.environ


def is_first_of_machine() -> bool:
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def check_machines(devices: int | None, num_nodes: int | None, node_rank: int, main_address: str) -> None:
    """Checks what the command line says of processes and machines.

    Raises:
        UserError: a number makes no sense, contradicts torchrun's, or the machines could not find each other.
    """
    for option, given in (("--devices", devices), ("--num-nodes", num_nodes)):
        if given is not None and given < 1:
            raise UserError(f"{option}: must be 1 or more, got {given}")
    if not 0 <= node_rank < (num_nodes or 1):
        raise UserError(f"--node-rank: must be 0 to {(num_nodes or 1) - 1}, less than --num-nodes, got {node_rank}")
    if (num_nodes or 1) > 1 and main_address == "127.0.0.1":
        raise UserError("--num-nodes: needs --main-address, the name or number of machine 0 as the others reach it")
    asked, running = (devices or 1) * (num_nodes or 1), int(os.environ.get("WORLD_SIZE", 1))
    if is_worker() and (devices or num_nodes) and asked != running:
        raise UserError(f"--devices: asks for {asked} processes, torchrun started {running}; leave it to torchrun")


def launch(num_processes: int, num_nodes: int, node_rank: int, main_address: str, main_port: int | None) -> int:
    """Runs this very command in `num_processes` processes, and waits for them.

    Signals that ask to end are handed on to them, so that they save and end. Where one fails, the others get
    `_GRACE_SECONDS`, then are killed.

    Args:
        num_processes: on this machine, one per device.
        num_nodes: machines that run this command.
        node_rank: which of them this is, from 0.
        main_address: of machine 0, as all machines reach it.
        main_port: a free one of machine 0; None: any, where there is but one machine.

    Returns:
        The exit status of the first process that failed for a reason of its own, else 0.
    """
    if num_nodes > 1:
        main_port = main_port or DEFAULT_PORT
    elif main_port is None:
        main_port = _free_port()
    shared = {
        "WORLD_SIZE": num_processes * num_nodes,
        "LOCAL_WORLD_SIZE": num_processes,
        "NODE_RANK": node_rank,
        "MASTER_ADDR": main_address,
        "MASTER_PORT": main_port,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", max(1, _cores() // num_processes)),
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),  # else lost peers fill the screen
    }
    processes = []
    for local_rank in range(num_processes):
        own = {"LOCAL_RANK": local_rank, "RANK": node_rank * num_processes + local_rank}
        environment = {name: str(value) for name, value in (shared | own).items()}
        processes.append(start_child(sys.orig_argv[1:], environment))
    return _wait(processes, node_rank * num_processes)


def _wait(processes: Sequence[subprocess.Popen], first_rank: int) -> int:
    """Until all have ended; see `launch`."""
    asked: list[int] = []

    def ask_all(signum: int, frame: object) -> None:
        asked.append(signum)
        for process in processes:
            hand_on(process, signum)

    previous = {number: signal.signal(number, ask_all) for number in stop_signals()}
    try:
        failed_at = None
        while any(process.poll() is None for process in processes):
            if failed_at is None and any(process.poll() for process in processes):
                failed_at = time.monotonic()
            if failed_at is not None and time.monotonic() - failed_at > _GRACE_SECONDS:
                break
            time.sleep(_POLL_SECONDS)
    finally:
        by_themselves = [process.poll() for process in processes]
        for process in processes:
            end_group(process)
        for number, handler in previous.items():
            signal.signal(number, handler)
    return _status(dict(enumerate(by_themselves, first_rank)), asked)


def _status(statuses: Mapping[int, int | None], asked: Sequence[int]) -> int:
    """The exit status for all; says which process was ended by a signal, without a word of its own.

    Args:
        statuses: process -> its exit status, negative for a signal; None: it was ended here.
        asked: signals that were handed on.
    """
    failed = {rank: code for rank, code in statuses.items() if code}
    causes = {rank: code for rank, code in failed.items() if code != LostProcessError.status}
    for rank, code in causes.items():
        if -code in asked:  # before it was ready to save
            return 128 - code
        if code < 0:
            say(
                f"cut-train: error: process {rank} was ended by {signal.Signals(-code).name}"
                f"{' (for want of memory?)' if -code == signal.SIGKILL else ''}, and the others with it; "
                "the same command goes on from the last checkpoint"
            )
            return 128 - code
    return next(iter((causes or failed).values()), 0)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
