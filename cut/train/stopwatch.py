"""The time that training takes, without what is drawn, scored and saved on the way, and how much of it it waits."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures seconds, pauses not counted."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._waited = 0.0

    def lap(self) -> tuple[float, float]:
        """Seconds since the last call, and how many of them were waited."""
        now = time.perf_counter()
        seconds, waited = now - self._start, self._waited
        self._start, self._waited = now, 0.0
        return seconds, waited

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, time counts as waited."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._waited += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no time is counted."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._start += time.perf_counter() - start
