"""The core's process as Blender sees it: started, asked, listened to and ended without ever waiting. No bpy here.

One thread reads its answers into an inbox, one writes requests (a full pipe must not hold Blender up), and the main
thread calls :meth:`CoreProcess.drain`, where all callbacks run. Only what is asked directly is answered on the reading
thread (`direct`): a render has a thread of its own, or holds the main thread up.
"""

import itertools
import queue
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..vendor.nerf_core.contract import messages
from ..vendor.nerf_core.contract.errors import ProtocolError
from ..vendor.nerf_core.contract.messages import Message
from .calls import ENDED, Call, CoreError, ProgressCallback, ResultCallback, error_of
from .child import obituary
from .direct import HELLO_SECONDS, Deliver, DirectCalls, silence
from .inbox import Inbox
from .lifetime import SHUTDOWN_SECONDS, TERMINATE_SECONDS, Lifetime, start_thread


@dataclass(frozen=True)
class _Ended:
    """The reader's last item: why nothing more comes."""

    exit_code: int | None
    protocol_error: str | None


class CoreProcess:
    """One process of the core.

    Parameters
    ----------
    command : sequence of str
        Such as ``[python, "-m", "nerf_core", "serve"]``.
    environment : mapping
        Its variables, see `child.core_environment`.
    log : Path
        Where its stderr goes; its folder exists.
    on_notification : callable, optional
        Called on the main thread with each `Message` that is a notification.
    on_ready : callable, optional
        Called with `hello`'s result.
    on_end : callable, optional
        Called once with one sentence when it ended without having been asked to.

    Raises
    ------
    CoreError
        When the process cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        on_notification: Callable[[Message], None] | None = None,
        on_ready: Callable[[dict[str, Any]], None] | None = None,
        on_end: Callable[[str], None] | None = None,
    ) -> None:
        self.command = list(command)
        self.log = Path(log)
        self.hello: dict[str, Any] | None = None
        self.end_sentence: str | None = None
        self._on_notification, self._on_ready, self._on_end = on_notification, on_ready, on_end
        self._calls: dict[int, Call] = {}
        self._ids = itertools.count(1)  # taken from any thread
        self._inbox = Inbox()
        self._direct = DirectCalls(self.log)
        self._outbox: queue.SimpleQueue[bytes | Callable[[], bytes] | None] = queue.SimpleQueue()
        self._stopping = False
        self._started = time.monotonic()
        self._lifetime = Lifetime(self.command, environment, self.log, self.stop)
        self._reader = start_thread(self._read, self._lifetime.popen.stdout)
        start_thread(self._write, self._lifetime.popen.stdin)
        hello = {"protocol": messages.PROTOCOL_VERSION, "client": "blender"}
        self.request("hello", hello, on_result=self._greeted, on_error=self._refused)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._lifetime.popen.pid

    @property
    def exit_code(self) -> int | None:
        """As `Popen.poll` gives it: None while it runs."""
        return self._lifetime.exit_code

    @property
    def alive(self) -> bool:
        """Whether requests may be made: it runs, as far as is known, and was not asked to stop."""
        return self.end_sentence is None and not self._stopping

    @property
    def ready(self) -> bool:
        """Whether it has said hello and is alive."""
        return self.alive and self.hello is not None

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited or waits to be handled."""
        return bool(self._calls) or len(self._inbox) > 0

    def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        on_result: ResultCallback | None = None,
        on_error: Callable[[CoreError], None] | None = None,
        on_progress: ProgressCallback | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> Call:
        """Ask the core; returns at once, callbacks come from :meth:`drain`.

        Parameters
        ----------
        method, params
            As in `docs/architecture.md`.
        on_result : callable, optional
            Called with the result and its arrays.
        on_error : callable, optional
            Called with a :class:`CoreError`; also when the process ends before it answers.
        on_progress : callable, optional
            Called with the parameters of `progress` notifications that belong to this request.
        arrays : mapping of str to array, optional
            What goes along as bytes; nobody may change them any more.

        Raises
        ------
        CoreError
            When the process has ended or is being stopped.
        ProtocolError
            When that is more than a message holds.
        """
        call = Call(method, dict(params or {}), on_result, on_error, on_progress)
        ident, data = self._encoded(method, call.params, arrays)
        self._calls[ident] = call
        self._outbox.put(data)
        return call

    @property
    def heard(self) -> bool:
        """Whether the process has ever said anything."""
        return self._direct.heard

    def request_direct(self, method: str, params: Mapping[str, Any], deliver: Deliver) -> None:
        """As :meth:`request`, from any thread; `deliver` is called once with a `direct.Answer`, on the reading thread.

        It must be quick and touch nothing of Blender.
        """
        ident, data = self._encoded(method, params)
        self._direct.add(ident, method, deliver)
        self._outbox.put(data)

    def _encoded(
        self, method: str, params: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None
    ) -> "tuple[int, bytes | Callable[[], bytes]]":
        """A request's number and bytes; a NerfError where nobody would answer it, or it is more than a message."""
        if not self.alive:
            raise CoreError(self.end_sentence or "The NeRF core is being stopped.", ENDED)
        ident = next(self._ids)
        message = messages.request(ident, method, **params)
        if not arrays:
            return ident, messages.encode(message)
        message.arrays = dict(arrays)
        messages.check_arrays(message.arrays)
        return ident, partial(messages.encode, message)  # copying the arrays is the writing thread's work

    def drain(self, seconds: float = 0.02, limit: int = 64) -> int:
        """Handle what has arrived, on the main thread; at most `limit` messages and about `seconds`.

        Returns
        -------
        int
            How many messages were handled.
        """
        until = time.monotonic() + seconds
        handled = 0
        while handled < limit and (handled == 0 or time.monotonic() < until):
            item = self._inbox.take()
            if item is None:
                break
            handled += 1
            if isinstance(item, _Ended):
                self._ended(item)
            else:
                self._dispatch(item)
        if self.hello is None and self.alive and time.monotonic() - self._started > HELLO_SECONDS:
            self._die(silence(self.log))
            self._lifetime.end_after(0.0)
        return handled

    def stop(self) -> None:
        """Ask it to save and leave; a thread sees to it that it does. Returns at once."""
        if self._stopping or self.end_sentence is not None:
            return
        self._stopping = True
        self._outbox.put(messages.encode(messages.request(next(self._ids), "shutdown")))
        self._outbox.put(None)
        self._lifetime.end_after(SHUTDOWN_SECONDS)

    @property
    def exited(self) -> bool:
        """Whether the process is gone, though nobody may have been told yet."""
        return self.exit_code is not None

    def hear_out(self, seconds: float = 1.0) -> None:
        """Handle all that a process that has exited still said, and its end, which fails what it was asked for."""
        self._reader.join(seconds)
        while self.drain(seconds):
            pass
        if self.alive:  # a process of its own may hold its pipe open
            self._ended(_Ended(self.exit_code, None))

    def wait(self, seconds: float) -> bool:
        """Wait until the process is gone; for tests and for the end of Blender. Returns whether it is."""
        return self._lifetime.exits_within(seconds)

    # What runs on threads of its own.

    def _read(self, stream: BinaryIO) -> None:
        fault = None
        try:
            while (message := messages.read_message(stream)) is not None:
                if not self._direct.take(message):
                    self._inbox.put(message)
        except (ProtocolError, OSError, ValueError) as error:
            fault = str(error)
        ended_by_us = fault is not None and not self._lifetime.exits_within(1.0)
        if ended_by_us:
            self._lifetime.end_now()  # nothing that it says can be understood any more
        if not self._lifetime.exits_within(SHUTDOWN_SECONDS):
            self._lifetime.end_now()
            self._lifetime.exits_within(TERMINATE_SECONDS)
        ended = _Ended(None if ended_by_us else self.exit_code, fault)
        stopped = CoreError("The NeRF core was stopped.", messages.CANCELLED)
        self._direct.end(stopped if self._stopping else self._obituary(ended))
        self._inbox.put(ended)
        self._outbox.put(None)
        stream.close()

    def _write(self, stream: BinaryIO) -> None:
        try:
            while (data := self._outbox.get()) is not None:
                stream.write(data() if callable(data) else data)
                stream.flush()
        except (OSError, ValueError):
            pass  # the reader sees the end of the process and tells it
        finally:
            try:
                stream.close()
            except OSError:
                pass

    # What runs on the main thread.

    def _dispatch(self, message: Message) -> None:
        if message.is_notification:
            if message.method == "progress":
                self._progress(message.params)
            if self._on_notification is not None:
                _guarded(self._on_notification, message)
            return
        call = self._calls.pop(message.id, None) if message.id is not None else None
        if call is None or message.method is not None:
            return
        if message.error is None:
            call.result = message.result if isinstance(message.result, dict) else {}
            call.arrays = message.arrays
            call.done = True
            if call.on_result is not None:
                _guarded(call.on_result, call.result, call.arrays)
        else:
            self._fail(call, error_of(message.error, call.method, self.log))

    def _progress(self, params: dict[str, Any]) -> None:
        for call in list(self._calls.values()):
            belongs = params.get("task") in (call.method, "load", "warm_up")
            if params.get("tag") is not None:
                belongs = belongs and params["tag"] == call.params.get("tag")
            elif call.params.get("run") is not None:  # one that asks for several runs names none
                belongs = belongs and params.get("run") in (None, call.params["run"])
            if call.on_progress is not None and belongs:
                _guarded(call.on_progress, params)

    def _fail(self, call: Call, error: CoreError) -> None:
        call.error = error
        call.done = True
        if call.on_error is not None:
            _guarded(call.on_error, error)

    def _greeted(self, result: dict[str, Any], _arrays: dict[str, Any]) -> None:
        if result.get("protocol") != messages.PROTOCOL_VERSION:
            self._die(
                f"The NeRF core speaks protocol {result.get('protocol')!r}, this add-on speaks "
                f"{messages.PROTOCOL_VERSION}; set the core up again in the add-on's preferences."
            )
            self._lifetime.end_after(0.0)
            return
        self.hello = result
        if self._on_ready is not None:
            _guarded(self._on_ready, result)

    def _refused(self, error: CoreError) -> None:
        if self.end_sentence is None:
            self._die(str(error))
            self._lifetime.end_after(0.0)

    def _ended(self, item: _Ended) -> None:
        if self._stopping:
            self._fail_all(CoreError("The NeRF core was stopped.", messages.CANCELLED))
            self.end_sentence = self.end_sentence or "The NeRF core was stopped."
        elif self.end_sentence is None:
            self._die(str(self._obituary(item)))

    def _obituary(self, item: _Ended) -> CoreError:
        silent = self.hello is None and not self._direct.answered
        return CoreError(obituary(self.command[0], self.log, item.exit_code, silent, item.protocol_error), ENDED)

    def _die(self, sentence: str) -> None:
        self.end_sentence = sentence
        self._outbox.put(None)
        self._fail_all(CoreError(sentence, ENDED))
        if self._on_end is not None:
            _guarded(self._on_end, sentence)

    def _fail_all(self, error: CoreError) -> None:
        calls, self._calls = list(self._calls.values()), {}
        for call in calls:
            self._fail(call, error)


def _guarded(callback: Callable[..., None], *arguments: Any) -> None:
    # A fault in one callback must neither stop the pump nor swallow the messages behind it.
    try:
        callback(*arguments)
    except Exception:
        traceback.print_exc()
