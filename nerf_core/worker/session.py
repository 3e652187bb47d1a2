"""One session of the worker: takes requests, trains, and looks at runs between the training's steps.

Everything happens on the main thread. A message is taken up when nothing else is to be done, between two steps, and
between two chunks of a picture; what is quick is answered there and then, the rest waits for its turn.
"""

import platform
import queue
import threading
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..contract.errors import Cancelled, NerfError, ProtocolError, error_sentence
from ..contract.messages import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PROTOCOL_VERSION,
    USER_ERROR,
    Message,
    failure,
    notification,
    response,
)
from ..contract.run_folder import RunFolder
from ..data.placement import Placement
from ..methods.registry import METHODS, available_devices
from ..training.load import LoadedRun
from ..training.setup import TrainRequest
from ..training.trainer import Trainer, TrainResult
from ..training.versions import versions
from .channel import Channel
from .looking import Looking, Reply
from .params import ParamError, Params
from .runs import RunCache, same_run
from .training_events import WorkerEvents

# A signal that arrives just before a sleep without end would not be handled until the next message.
NAP_SECONDS = 0.5
DROPPABLE = ("progress", "preview", "video.frame", "drr.view")  # notifications that a slow reader may miss
OUT_OF_MEMORY = "The core ran out of memory; close other programs, or use smaller images, pictures or settings."
LACKING = "The core's Python lacks the package '{}'; set the core up again in the add-on's preferences."


class Session:
    """Answers what arrives on a channel until told to leave.

    Parameters
    ----------
    channel : Channel
        Started by :meth:`run`.
    leaving : threading.Event
        Set from any thread to end the session; what is in training is saved first.
    """

    def __init__(self, channel: Channel, leaving: threading.Event) -> None:
        self.channel = channel
        self.leaving = leaving
        self.runs = RunCache(lambda run: self.tell("load", run, 0, 1, "Loading the run"))
        self.looking = Looking(self)
        self.trainer: Trainer | None = None
        self.training_run: str | None = None
        self.stop_training = False
        self._greeted = False
        self._to_train: Message | None = None
        self._quick: dict[str, Callable[[Params], Reply]] = {
            "status": self._status,
            "train.stop": self._train_stop,
            "render.cancel": self.looking.cancel,
            "shutdown": self._shutdown,
        }

    def run(self) -> None:
        """Serve until `leaving` is set."""
        self.channel.start()
        while not self.leaving.is_set():
            self.receive(wait=not self.looking.waiting and self._to_train is None)
            if self.leaving.is_set():
                break
            if self.looking.waiting:
                self.looking.work()
            elif self._to_train is not None:
                message, self._to_train = self._to_train, None
                self.answer(message, partial(self._train, message))
        self.looking.give_up()
        if self._to_train is not None:
            self._refuse(self._to_train, CANCELLED, "the core is leaving")

    def receive(self, wait: bool = False) -> None:
        """Take up every message that has arrived; with `wait`, sleep until there is one."""
        while not self.leaving.is_set() if wait else not self.channel.inbox.empty():
            try:
                message = self.channel.inbox.get(timeout=NAP_SECONDS)
            except queue.Empty:
                continue
            wait = False
            if message is not None and message.method is not None:
                self._take(message)

    def tell(self, task: str, run: str, done: float, total: float, text: str, **more: Any) -> None:
        """Send a `progress` notification."""
        params = {"task": task, "run": run, "done": done, "total": total, "seconds_left": None, "text": text, **more}
        self.notify("progress", **params)

    def notify(self, method: str, arrays: Mapping[str, np.ndarray] | None = None, **params: Any) -> None:
        """Send a notification; it is dropped when the reader is far behind."""
        self.channel.send(notification(method, arrays, **params), droppable=method in DROPPABLE)

    def answer(self, message: Message, work: Callable[[], Reply | None]) -> bool:
        """Do a request's work and send its result, or the error that it ended in.

        Returns whether that was all: work that gives None goes on another time.
        """
        try:
            done = work()
            if done is None:
                return False
            result, arrays = done
            reply = response(message.id, result, arrays)
        except Cancelled as error:
            reply = failure(message.id, CANCELLED, str(error) or "cancelled")
        except ParamError as error:
            reply = failure(message.id, INVALID_PARAMS, str(error))
        except NerfError as error:
            reply = failure(message.id, USER_ERROR, str(error))
        except OSError as error:  # such as a path that is too long
            trace = traceback.format_exc()
            reply = failure(message.id, USER_ERROR, error_sentence(error), trace)
            print(trace, flush=True)
        except ModuleNotFoundError as error:  # a Python that was set up before this version needed the package
            trace = traceback.format_exc()
            reply = failure(message.id, USER_ERROR, LACKING.format(error.name), trace)
            print(trace, flush=True)
        except Exception as error:  # a bug of ours must not end the session
            trace = traceback.format_exc()
            if _is_out_of_memory(error):
                reply = failure(message.id, USER_ERROR, OUT_OF_MEMORY, trace)
            else:
                reply = failure(message.id, INTERNAL_ERROR, f"{type(error).__name__}: {error}", trace)
            print(trace, flush=True)
        if message.id is not None:
            try:
                self.channel.send(reply)
            except ProtocolError as error:  # more than a message holds
                self.channel.send(failure(message.id, USER_ERROR, str(error)))
        return True

    def find(self, run: str, snapshot: int | None = None) -> LoadedRun:
        """A run to look at: the one in training as it is now, another from its checkpoint; or a snapshot of either."""
        if snapshot is not None:
            return self.runs.get(run, snapshot)
        if self.trainer is not None and self.training_run is not None and same_run(run, self.training_run):
            live = self.trainer.loaded()
            if live is not None:
                return live
        return self.runs.get(run)

    def _take(self, message: Message) -> None:
        method = message.method or ""
        params = Params(method, message.params)
        if method == "hello":
            self.answer(message, lambda: self._hello(params))
        elif not self._greeted:
            self._refuse(message, INVALID_REQUEST, "say 'hello' first")
        elif method in self._quick:
            self.answer(message, lambda: self._quick[method](params))
        elif method in self.looking.kinds:
            self.looking.add(message, params)
        elif method == "train":
            self._take_train(message)
        else:
            self._refuse(message, METHOD_NOT_FOUND, f"there is no method '{method}'")

    def _refuse(self, message: Message, code: int, text: str) -> None:
        if message.id is not None:
            self.channel.send(failure(message.id, code, text))

    def _take_train(self, message: Message) -> None:
        if self._to_train is not None or self.training_run is not None:
            busy = self.training_run or (self._to_train.params.get("run") if self._to_train else "")
            self._refuse(message, USER_ERROR, f"The core is already training '{busy}'; stop that first.")
            return
        self.stop_training = False
        self._to_train = message

    def _hello(self, params: Params) -> Reply:
        protocol = params.optional_integer("protocol")
        if protocol != PROTOCOL_VERSION:
            raise NerfError(
                f"The add-on speaks protocol {protocol} and the core {PROTOCOL_VERSION} (core {__version__}); "
                "set the core up again from the add-on's preferences, or update the add-on, so that both are of one "
                "version."
            )
        self._greeted = True
        devices = available_devices()
        return {
            "protocol": PROTOCOL_VERSION,
            "core_version": __version__,
            "python": platform.python_version(),
            "versions": versions(),
            "devices": devices,
            "device": devices[0]["kind"],
            "methods": list(METHODS),
        }, {}

    def _status(self, params: Params) -> Reply:
        run = params.text("run")
        known = RunFolder(Path(run)).read()
        live = self.trainer if self.training_run is not None and same_run(run, self.training_run) else None
        training = live is not None
        spent = known.get("spent")
        step = spent.get("steps", 0) if isinstance(spent, dict) else 0
        if live is not None and live.prepared is not None:
            step = live.spent.steps
        return {**known, "training": training, "step": step}, {}

    def _train_stop(self, params: Params) -> Reply:
        self.stop_training = True
        return {}, {}

    def _shutdown(self, params: Params) -> Reply:
        self.leaving.set()
        return {}, {}

    def _train(self, message: Message) -> Reply:
        params = Params("train", message.params)
        request = _train_request(params)
        run = str(request.run)
        self.runs.drop(run)
        self.training_run = run
        self.trainer = Trainer(request, WorkerEvents(self, run))
        try:
            result = self.trainer.run()
            loaded = self.trainer.loaded()
            if loaded is not None:
                self.runs.put(run, loaded)
        finally:
            self.trainer = self.training_run = None
        return _train_reply(result), {}


def _is_out_of_memory(error: Exception) -> bool:
    # torch raises its own kinds: a class on GPUs, a plain RuntimeError with these words on the CPU.
    return (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    )


def _train_request(params: Params) -> TrainRequest:
    preview = params.mapping("preview")
    inner = Params("train", preview)
    return TrainRequest(
        run=params.text("run"),
        data=params.optional_text("data"),
        method=params.optional_text("method"),
        seconds=params.optional_number("seconds"),
        steps=params.optional_integer("steps"),
        more=params.flag("more"),
        device=params.optional_text("device") or "auto",
        seed=params.optional_integer("seed"),
        settings=params.mapping("settings"),
        placement=_placement(params.mapping("placement")),
        preview=inner.camera() if preview else None,
        preview_seconds=max(inner.optional_number("every_seconds") or 2.0, 0.05),
        snapshots=params.optional_integer("snapshots"),
    )


def _placement(values: Mapping[str, Any]) -> Placement | None:
    """What was asked for; None, which leaves it to the run, where nothing was."""
    return Placement.from_dict(values) if values else None


def _train_reply(result: TrainResult) -> dict[str, Any]:
    return {
        "step": result.step,
        "seconds": result.seconds,
        "loss": result.loss,
        "psnr": result.psnr,
        "val_psnr": result.val_psnr,
        "stopped": result.stopped,
    }
