"""What steps are told and what they report, passed to and fro without waiting for the step that was just begun."""

import math
from collections import deque
from typing import Any

import torch
from torch import Tensor

from ..backend import BatchStats

DEPTH = 8
"""Steps that the host may be ahead of the device: enough that the device never waits, few enough that the seconds that
the host counts are the device's."""
PATIENCE = 64
"""Steps in a row that may be skipped for gradients that are not finite, before the loss is said to be NaN."""
_TOLD = slice(16, 20)  # state_f[0:4]


class Reports:
    """A ring of copies of the state, one a step.

    Parameters
    ----------
    state : (32,) int32 tensor
        As :mod:`.advance` has it.

    Attributes
    ----------
    rays : int
        Rays of the step after the last one that was heard of; 0 before.
    """

    def __init__(self, state: Tensor) -> None:
        self._state = state
        self._asynchronous = state.is_cuda
        self._copies = torch.zeros(DEPTH, len(state), dtype=torch.int32, pin_memory=self._asynchronous)
        self._told = torch.zeros(DEPTH, 4, dtype=torch.float32, pin_memory=self._asynchronous)
        self._events: list[Any] = [torch.cuda.Event() for _ in range(DEPTH)] if self._asynchronous else []
        self._waiting: deque[int] = deque()
        self._arrived: list[BatchStats] = []
        self._last: BatchStats | None = None
        self._next = 0
        self.rays = 0

    def begin(self, rate: float, spacing: float, growth: float) -> None:
        """Before a step's kernels: tell the device its numbers; waits when the host is too far ahead.

        Parameters
        ----------
        rate : float
            Adam's.
        spacing, growth : float
            Of the samples along rays.
        """
        if len(self._waiting) == DEPTH:
            self._take()
        # Each step has its own row, because the copy is made when the device gets there.
        row = self._told[self._next]
        row[0], row[1], row[2], row[3] = rate, 0.0, spacing, growth
        self._state[_TOLD].view(torch.float32).copy_(row, non_blocking=self._asynchronous)

    def end(self) -> BatchStats:
        """After a step's kernels: have its report copied, and give what has arrived since the last call.

        Reports of several steps come as one, counts added and errors averaged; where none has arrived, the error is
        the last one's and the counts are zero. The first step is waited for.
        """
        self._copies[self._next].copy_(self._state, non_blocking=self._asynchronous)
        if self._asynchronous:
            self._events[self._next].record()
        self._waiting.append(self._next)
        self._next = (self._next + 1) % DEPTH
        while self._waiting and (self._last is None or self._first_is_there()):
            self._take()
        arrived, self._arrived = self._arrived, []
        if not arrived:
            assert self._last is not None
            return BatchStats(self._last.loss, self._last.mse, 0, 0, 0, 0)
        error = sum(stats.mse for stats in arrived) / len(arrived)
        rays, samples, trained, overflow = (
            sum(getattr(stats, name) for stats in arrived) for name in ("rays", "samples", "trained", "overflow")
        )
        return BatchStats(error, error, rays, samples, trained, overflow)

    def _first_is_there(self) -> bool:
        return not self._asynchronous or self._events[self._waiting[0]].query()

    def _take(self) -> None:
        """Read the oldest report, waiting for it."""
        slot = self._waiting.popleft()
        if self._asynchronous:
            self._events[slot].synchronize()
        words = self._copies[slot]
        counts = words[:16].tolist()
        error = float(words[16:].view(torch.float32)[8])
        in_a_row = counts[14]
        if in_a_row or not math.isfinite(error):
            # A step that was skipped has no say, unless there seems to be no end of them.
            error = self._last.mse if self._last is not None and in_a_row < PATIENCE else math.nan
            if self._last is None and in_a_row < PATIENCE:
                error = 0.0
        self.rays = counts[1]
        self._last = BatchStats(error, error, counts[9], counts[10], counts[12], counts[11])
        self._arrived.append(self._last)
