"""A request to the core while it is under way, and how it can fail."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
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


def error_of(told: Mapping[str, Any], method: str, log: Path) -> CoreError:
    """The error that an answer's `error` is; a bug of the core leaves its traceback in the terminal.

    Parameters
    ----------
    told : mapping
        `code`, `message` and `data`, as JSON-RPC has them.
    method : str
        What was asked for.
    log : Path
        Where the core's own output goes.
    """
    code, data = told.get("code", messages.INTERNAL_ERROR), told.get("data")
    text = str(told.get("message") or "The NeRF core failed without saying why.")
    if code == messages.INTERNAL_ERROR:
        print(f"NeRF core: {text}\n{data or ''}", file=sys.stderr)
        text = f"The NeRF core failed in '{method}': {text} (details are in '{log}')."
    return CoreError(text, code, data)


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
