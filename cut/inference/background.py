"""Reading and writing while the next pictures are computed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_background(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int, num_threads: int = 2
) -> Iterator[Future[Result]]:
    """Calls `function` with each item in threads; gives the calls' futures in the items' order.

    Args:
        function: what may take its time; what it raises is raised by its future's `result()`.
        items: taken one by one, in the caller's thread; the next when fewer than `depth` are under way.
        depth: calls that go on, or have ended, while the caller works on what it was given last; at least 1.
        num_threads: of them at a time.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_threads) as pool:  # whose end waits for what was begun: no picture is lost
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
