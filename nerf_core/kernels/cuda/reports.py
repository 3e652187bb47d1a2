"""What steps are told and what they report, passed to and fro without waiting for the step that was just begun."""

import math
from collections import deque
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..backend import BatchStats

DEPTH = 8
"""Steps that the host may be ahead of the device: enough that the device never waits, few enough that the seconds that
the host counts are the device's."""
PATIENCE = 64
"""Steps in a row that may be skipped for gradients that are not finite, before the loss is said to be NaN."""
_TOLD = slice(16, 22)  # state_f[0:6]


class Reports:
    """A ring of copies of the state, one a step.

    Parameters
    ----------
    state : (32,) int32 tensor
        As :mod:`.advance` has it.
    with_depth : bool
        Whether there is a depth loss.

    Attributes
    ----------
    rays : int
        Rays of the step after the last one that was heard of; 0 before.
    """

    def __init__(self, state: Tensor, with_depth: bool = False) -> None:
        self._state = state
        self._asynchronous = state.is_cuda
        self._copies = torch.zeros(DEPTH, len(state), dtype=torch.int32, pin_memory=self._asynchronous)
        self._told = torch.zeros(DEPTH, 6, dtype=torch.float32, pin_memory=self._asynchronous)
        self._events: list[Any] = [torch.cuda.Event() for _ in range(DEPTH)] if self._asynchronous else []
        self._waiting: deque[int] = deque()
        self._arrived: list[BatchStats] = []
        self._last: BatchStats | None = None
        self._next = 0
        self._with_depth = with_depth
        self._depth_weight = 0.0
        self.rays = 0

    def begin(self, rate: float, spacing: float, growth: float, depth_weight: float = 0.0) -> None:
        """Before a step's kernels: tell the device its numbers; waits when the host is too far ahead.

        Parameters
        ----------
        rate : float
            Adam's.
        spacing, growth : float
            Of the samples along rays.
        depth_weight : float
            Of the depth loss.
        """
        if len(self._waiting) == DEPTH:
            self._take()
        # Each step has its own row, because the copy is made when the device gets there.
        row = self._told[self._next]
        row[0], row[1], row[2], row[3] = rate, 0.0, spacing, growth
        row[4], row[5] = depth_weight, 0.0
        self._depth_weight = depth_weight  # it changes so slowly that the last one will do for reports of earlier steps
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
            return replace(self._last, rays=0, samples=0, trained=0, overflow=0)
        error, loss = (sum(getattr(stats, name) for stats in arrived) / len(arrived) for name in ("mse", "loss"))
        rays, samples, trained, overflow = (
            sum(getattr(stats, name) for stats in arrived) for name in ("rays", "samples", "trained", "overflow")
        )
        return BatchStats(loss, error, rays, samples, trained, overflow, arrived[-1].depth_loss)

    def _first_is_there(self) -> bool:
        return not self._asynchronous or self._events[self._waiting[0]].query()

    def _take(self) -> None:
        """Read the oldest report, waiting for it."""
        slot = self._waiting.popleft()
        if self._asynchronous:
            self._events[slot].synchronize()
        words = self._copies[slot]
        counts = words[:16].tolist()
        error, missed = words[16:].view(torch.float32)[8:10].tolist()
        in_a_row = counts[14]
        if in_a_row or not math.isfinite(error):
            # A step that was skipped has no say, unless there seems to be no end of them.
            error = self._last.mse if self._last is not None and in_a_row < PATIENCE else math.nan
            if self._last is None and in_a_row < PATIENCE:
                error = 0.0
            missed = (self._last.depth_loss or 0.0) if self._last is not None else 0.0
        self.rays = counts[1]
        depth_loss = missed if self._with_depth else None
        loss = error + self._depth_weight * missed if self._with_depth else error
        self._last = BatchStats(loss, error, counts[9], counts[10], counts[12], counts[11], depth_loss)
        self._arrived.append(self._last)
