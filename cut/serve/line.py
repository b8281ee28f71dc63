"""One job at a time; the others wait in line."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from cut.errors import UserError

Result = TypeVar("Result")


class CancelledError(UserError):
    """Whoever asked for the translation has gone."""


class Job:
    """One translation from when it is asked for.

    Args:
        ticket: Name by which its progress is asked for; empty for none.
    """

    def __init__(self, ticket: str = ""):
        self.ticket, self.is_running, self.is_cancelled = ticket, False, False
        self.done = self.total = 0

    def progress(self, done: int, total: int) -> None:
        """Notes how many tiles are done; called by the thread that computes.

        Raises:
            CancelledError: The job has been cancelled.
        """
        self.done, self.total = done, total
        self.stop_if_cancelled()

    def stop_if_cancelled(self) -> None:
        """Raises a CancelledError where nobody waits for the job any longer."""
        if self.is_cancelled:
            raise CancelledError("cancelled")


class Line:
    """Runs jobs in the order in which they come, in one thread of its own."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []  # the running one first
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "translation")

    async def run(self, job: Job, work: Callable[[], Result]) -> Result:
        """What `work` returns, when it is its turn.

        Raises:
            CancelledError: The job was cancelled before.
        """
        self.jobs.append(job)
        try:
            async with self._turn:
                job.stop_if_cancelled()
                job.is_running = True
                return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self.jobs.remove(job)

    def state(self, ticket: str) -> dict[str, Any]:
        """How far the job of that ticket is."""
        place = next((n for n, job in enumerate(self.jobs) if ticket and job.ticket == ticket), None)
        if place is None:
            return {"state": "unknown", "ahead": 0, "tiles_done": 0, "tiles": 0}
        job = self.jobs[place]
        state = "running" if job.is_running else "waiting"
        return {"state": state, "ahead": place, "tiles_done": job.done, "tiles": job.total}
