"""A few threads that take tasks off a shared counter until none is left."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba.core import config


def thread_count() -> int:
    """Threads to compute with: NUMBA_NUM_THREADS if set, but never more than this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined] # set at run time


class Workers:
    """Runs one compiled function on several threads at once, each with working memory of its own.

    Tasks come off an atomic counter, so a thread that loses its core to another process holds nobody up. The compiled
    functions hold no lock of Python's; the calling thread works along.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, thread_name_prefix="nerf-cpu") if threads > 1 else None

    def run(self, function: Callable[..., Any], each: Sequence[Any] | None, *arguments: Any, place: int = 0) -> None:
        """Call ``function(counter, *arguments)`` on every thread, with thread i's ``each[i]`` put in at `place`."""
        counter = np.zeros(1, np.int64)

        def call(thread: int) -> None:
            values = list(arguments)
            if each is not None:
                values.insert(place, each[thread])
            function(counter, *values)

        futures = [self._pool.submit(call, thread) for thread in range(1, self.threads)] if self._pool else []
        call(0)
        for future in futures:
            future.result()
