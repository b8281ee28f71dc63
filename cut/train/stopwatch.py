"""The time that training takes, without what is drawn, scored and saved on the way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Measures seconds, pauses not counted."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        start, self._start = self._start, time.perf_counter()
        return self._start - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, no time is counted."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._start += time.perf_counter() - start
