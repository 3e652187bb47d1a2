"""CUDA graphs of training steps: recorded once, then one launch a step."""

import warnings
from collections.abc import Callable, Hashable

import torch


class Graphs:
    """Runs queued work the first time as it is, and from then on as a CUDA graph.

    The first time compiles and loads kernels, which must not happen while a graph is recorded. Where recording fails,
    the work goes on being queued launch by launch, which costs the host more and changes nothing else.

    Parameters
    ----------
    device : torch.device
        On anything but CUDA the work is always run as it is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._enabled = device.type == "cuda"
        self._known: set[Hashable] = set()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}

    def run(self, key: Hashable, work: Callable[[], None]) -> None:
        """Queue `work`, which for one `key` always is the same launches with the same arguments."""
        graph = self._graphs.get(key)
        if graph is not None:
            graph.replay()
        elif self._enabled and key in self._known:
            self._record(key, work)
        else:
            work()
            self._known.add(key)

    def _record(self, key: Hashable, work: Callable[[], None]) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            # Only this thread's mistakes count: other threads may go on using the device.
            with torch.cuda.device(self._device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
                work()
        except RuntimeError as error:
            self._enabled = False
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"CUDA could not record a training step as a graph ({reason}); it goes on without.", stacklevel=2
            )
            work()
            return
        self._graphs[key] = graph
        graph.replay()
