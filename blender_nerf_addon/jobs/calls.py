"""A request to the core while it is under way, and how it can fail."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..vendor.nerf_core.contract import messages
from ..vendor.nerf_core.contract.errors import NerfError

ENDED = -32010  # error code of requests that died with the process; ours, never on the wire

ResultCallback = Callable[[dict[str, Any], dict[str, Any]], None]
ProgressCallback = Callable[[dict[str, Any]], None]


class CoreError(NerfError):
    """A request failed; the message is a sentence for the person, `code` is JSON-RPC's, `data` may hold a traceback."""

    def __init__(self, message: str, code: int = messages.INTERNAL_ERROR, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for this: nothing to tell."""
        return self.code == messages.CANCELLED

    @property
    def died(self) -> bool:
        """Whether the process ended before it answered."""
        return self.code == ENDED


@dataclass
class Call:
    """One request under way, and later its outcome.

    Attributes
    ----------
    done : bool
        Set on the main thread, before the callbacks run.
    result : dict or None
    arrays : dict of str to numpy array
        What came with the result.
    error : CoreError or None
    """

    method: str
    params: dict[str, Any]
    on_result: ResultCallback | None = None
    on_error: Callable[[CoreError], None] | None = None
    on_progress: ProgressCallback | None = None
    done: bool = False
    result: dict[str, Any] | None = None
    arrays: dict[str, Any] = field(default_factory=dict)
    error: CoreError | None = None
