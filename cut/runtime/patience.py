"""Calls of other people's code that may take for ever, such as those of a server, with a bound in time."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

Result = TypeVar("Result")


class OutOfTimeError(Exception):
    """A call has not ended in time; it may go on, and what it gives is lost."""


class PatientThread:
    """One thread of its own for calls, one after the other. It ends with the process, whatever it waits for."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def call(self, act: Callable[[], Result], seconds: float) -> Result:
        """What `act` returns.

        Raises:
            OutOfTimeError: It has not ended after so many seconds.
            Exception: Whatever it raises.
        """
        future: Future[Result] = Future()
        self._calls.put((act, future))
        if not wait([future], max(seconds, 0.0)).done:
            raise OutOfTimeError
        return future.result()

    def _work(self) -> None:
        while True:
            act, future = self._calls.get()
            try:
                future.set_result(act())
            except BaseException as error:  # noqa: BLE001  raised again where it was called
                future.set_exception(error)
