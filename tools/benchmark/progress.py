"""What a benchmark says while it runs: what is being measured, and about how long everything still takes."""

import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

GUESS = 25.0
"""Seconds that starting, saving and judging take beside the training, before anything has been measured."""


@dataclass(frozen=True)
class Job:
    """One thing to measure: `budget` seconds of training, and what comes with it."""

    method: str
    what: str
    budget: float


class Progress:
    """Counts jobs, learns what they take beyond their budgets, and keeps the terminal alive.

    Parameters
    ----------
    jobs : sequence of Job
        All of them, in order.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = list(jobs)
        self._done = 0
        self._extra: dict[tuple[str, bool], float] = {}

    def seconds_left(self) -> float:
        """About how long the jobs that have not ended take."""
        return sum(job.budget + self._extra_of(job) for job in self._jobs[self._done :])

    def _extra_of(self, job: Job) -> float:
        # Starts (no budget) and trainings differ in what comes on top.
        known = self._extra.get((job.method, job.budget > 0))
        if known is not None:
            return known
        like = [value for (_, trains), value in self._extra.items() if trains == (job.budget > 0)]
        return sum(like) / len(like) if like else GUESS

    @contextmanager
    def job(self) -> Iterator[None]:
        """The next job runs inside."""
        job = self._jobs[self._done]
        head = f"[{self._done + 1:{len(str(len(self._jobs)))}d}/{len(self._jobs)}] {job.method}: {job.what}"
        line = _Line(head, self.seconds_left())
        began = time.perf_counter()
        try:
            yield
        finally:
            line.close()
            self._done += 1
        self._extra[job.method, job.budget > 0] = max(0.0, time.perf_counter() - began - job.budget)


class _Line:
    """One line: rewritten each second in a terminal, printed once in a log."""

    def __init__(self, head: str, left: float) -> None:
        self._head, self._left = head, left
        self._began = time.perf_counter()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if sys.stdout.isatty():
            self._thread = threading.Thread(target=self._beat, daemon=True)
            self._thread.start()
        else:
            print(f"{head}; {duration(left)} left", flush=True)

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            print(f"\r\033[K{self._head}", flush=True)

    def _beat(self) -> None:
        while True:
            took = time.perf_counter() - self._began
            text = f"{self._head}; {took:.0f} s so far, {duration(max(self._left - took, 0.0))} left"
            print(f"\r\033[K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            if self._over.wait(1.0):
                return


def duration(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
