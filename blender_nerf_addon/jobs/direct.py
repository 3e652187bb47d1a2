"""Requests that are answered on the thread that reads from the core, for who cannot wait for the main thread. No bpy.

Blender's renders run on a thread of their own, or hold the main thread up until they are done; and a viewport's
picture should not wait for a timer while its pixels can be converted.
"""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..vendor.nerf_core.contract import messages
from ..vendor.nerf_core.contract.errors import Cancelled
from .calls import CoreError, error_of

if TYPE_CHECKING:
    from .process import CoreProcess

POLL_SECONDS = 0.05  # between two looks at whether to stop
HELLO_SECONDS = 180.0  # torch's first import from a cold disk under a virus scanner takes a minute and more


@dataclass(frozen=True)
class Answer:
    """How a request ended: with a result and its arrays, or with an error."""

    result: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, Any] = field(default_factory=dict)
    error: CoreError | None = None


Deliver = Callable[[Answer], None]


class DirectCalls:
    """The direct requests of one process that are under way; used from all threads.

    Parameters
    ----------
    log : Path
        Where the process's own output goes, for messages.

    Attributes
    ----------
    answered : bool
        Whether anything was ever answered.
    heard : bool
        Whether the process has ever said anything.
    """

    def __init__(self, log: Path) -> None:
        self.answered = self.heard = False
        self._log = log
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[str, Deliver]] = {}
        self._end: CoreError | None = None

    def add(self, ident: int, method: str, deliver: Deliver) -> None:
        """Wait for the answer to request `ident`.

        Raises
        ------
        CoreError
            When the process has ended already.
        """
        with self._lock:
            if self._end is not None:
                raise self._end
            self._waiting[ident] = (method, deliver)

    def take(self, message: messages.Message) -> bool:
        """Deliver a message that answers one of these requests; whether it does."""
        self.heard = True
        if message.is_notification or message.method is not None or message.id is None:
            return False
        with self._lock:
            found = self._waiting.pop(message.id, None)
        if found is None:
            return False
        self.answered = True
        method, deliver = found
        if message.error is not None:
            _hand_over(deliver, Answer(error=error_of(message.error, method, self._log)))
        else:
            result = message.result if isinstance(message.result, dict) else {}
            _hand_over(deliver, Answer(result, message.arrays))
        return True

    def end(self, error: CoreError) -> None:
        """The process is gone: every request under way, and every later one, fails with `error`."""
        with self._lock:
            self._end = error
            waiting, self._waiting = list(self._waiting.values()), {}
        for _method, deliver in waiting:
            _hand_over(deliver, Answer(error=error))


def ask(
    process: "CoreProcess",
    method: str,
    params: Mapping[str, Any],
    tag: str,
    should_stop: Callable[[], bool],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ask, and wait for the answer without the main thread's help.

    Parameters
    ----------
    process : CoreProcess
    method, params
        As in `CoreProcess.request`.
    tag : str
        What the core knows the request by.
    should_stop : callable
        Looked at twenty times a second; then the core is told to drop the request.

    Returns
    -------
    result, arrays : dict

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    CoreError
        When it failed, or a core that has just been started says nothing for `HELLO_SECONDS`.
    """
    began = time.monotonic()
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    process.request_direct(method, {**params, "tag": tag}, answers.put)
    while True:
        try:
            answer = answers.get(timeout=POLL_SECONDS)
        except queue.Empty:
            if should_stop():
                process.request_direct("render.cancel", {"tag": tag}, lambda _answer: None)
                raise Cancelled(f"the {method} was stopped") from None
            if not process.heard and time.monotonic() - began > HELLO_SECONDS:
                raise CoreError(silence(process.log)) from None
            continue
        if answer.error is not None:
            raise answer.error
        return answer.result, answer.arrays


def silence(log: Path) -> str:
    """What is said of a core that does not even greet."""
    return f"The NeRF core did not answer within {HELLO_SECONDS:.0f} seconds; its log is '{log}'."


def _hand_over(deliver: Deliver, answer: Answer) -> None:
    try:
        deliver(answer)
    except Exception:  # the thread must go on reading
        traceback.print_exc()
