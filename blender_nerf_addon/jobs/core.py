"""The session's one core: started when first asked for something, restarted after a death, ended with Blender."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.files import write_json
from ..vendor.nerf_core.contract.messages import Message
from . import logs, pump
from .calls import Call, CoreError, ProgressCallback, ResultCallback
from .child import core_environment
from .environment import VENDOR, find_interpreter, user_folder
from .process import CoreProcess

# A render has a thread of its own, and may be the first to need the core.
_starting = threading.RLock()
_process: CoreProcess | None = None
_leaving: list[CoreProcess] = []
_trouble = ""
_known: dict[str, Any] = {}
_known_python = ""
_listeners: list[Callable[[Message], None]] = []


@dataclass(frozen=True)
class Status:
    """What the panels say about the core.

    Attributes
    ----------
    kind : str
        'missing' (set it up), 'idle' (found, not running), 'starting', 'ready' or 'failed'.
    text : str
        One sentence.
    """

    kind: str
    text: str


def status() -> Status:
    """The core's state; cheap enough for drawing."""
    if _process is not None and _process.alive:
        if not _process.ready:
            return Status("starting", "The NeRF core is starting ...")
        return Status("ready", describe(_process.hello or {}))
    if _trouble:
        return Status("failed", _trouble)
    try:
        interpreter = find_interpreter()
    except CoreError as error:
        return Status("missing", str(error))
    known = (_known if _known_python == str(interpreter.path) else {}) or _remembered(interpreter.path)
    if known:
        return Status("idle", f"Found: {describe(known)}")
    return Status("idle", f"Found: {interpreter.path}")


def describe(hello: Mapping[str, Any]) -> str:
    """`hello`'s result in a line: device and versions."""
    chosen = hello.get("device") or {}
    kind = chosen.get("kind") if isinstance(chosen, Mapping) else str(chosen)
    names = [d.get("name") for d in hello.get("devices") or () if isinstance(d, Mapping) and d.get("kind") == kind]
    versions = hello.get("versions") or {}
    shown = [f"{name} {versions[name]}" for name in ("torch", "numba") if versions.get(name)]
    # A processor's own name ("x86_64") tells a person less than this.
    device = "CPU" if kind in (None, "", "cpu") else str(names[0] if names and names[0] else kind)
    return ", ".join([device, *shown])


def request(
    method: str,
    params: Mapping[str, Any] | None = None,
    on_result: ResultCallback | None = None,
    on_error: Callable[[CoreError], None] | None = None,
    on_progress: ProgressCallback | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
) -> Call:
    """Ask the core, starting it first where it does not run; see :meth:`CoreProcess.request`.

    Raises
    ------
    CoreError
        When there is no core or it cannot be started.
    """
    return start().request(method, params, on_result, on_error, on_progress, arrays)


def start() -> CoreProcess:
    """The running core, or a new one; from any thread.

    Raises
    ------
    CoreError
        When there is no core or it cannot be started.
    """
    with _starting:
        return _start()


def _start() -> CoreProcess:
    global _process, _trouble, _known_python
    if _process is not None and _process.alive and _process.exited:
        # It died while nobody listened, such as during a long render.
        if threading.current_thread() is threading.main_thread():
            _process.hear_out()
        else:  # what its callbacks do is for the main thread, which will hear it out
            _leaving.append(_process)
            _process = None
    if _process is not None and _process.alive:
        return _process
    interpreter = find_interpreter()
    _trouble = ""
    log = logs.new_log("core")
    try:
        _process = CoreProcess(
            [str(interpreter.path), "-m", "nerf_core", "serve"],
            core_environment(VENDOR),
            log,
            on_notification=_notify,
            on_ready=_greeted,
            on_end=_ended,
        )
    except CoreError as error:
        _trouble = str(error)
        raise
    _known_python = str(interpreter.path)
    pump.add_source(_drain)
    pump.before_leaving(stop)
    pump.redraw()
    return _process


def running() -> CoreProcess | None:
    """The core when it runs, without starting it."""
    return _process if _process is not None and _process.alive else None


def stop() -> None:
    """Let the core save and leave; returns at once."""
    global _process
    if _process is not None:
        _process.stop()
        # Its last answers (such as the end of a stopped training) are still listened to.
        _leaving.append(_process)
        _process = None
    pump.redraw()


def leave(seconds: float) -> bool:
    """Stop, and wait for the core to be gone; for the end of a command. Returns whether it is."""
    stop()
    return all([process.wait(seconds) for process in _leaving])


def forget_trouble() -> None:
    """No longer show why the last core ended."""
    global _trouble
    _trouble = ""


def interpreter_changed() -> None:
    """Another Python was named: the next request starts it."""
    forget_trouble()
    _known.clear()
    stop()


def listen(listener: Callable[[Message], None]) -> None:
    """Have `listener` called with every notification of the core."""
    if listener not in _listeners:
        _listeners.append(listener)


def current_log() -> Path | None:
    """The newest log of this session's cores, or the newest of all."""
    if _process is not None:
        return _process.log
    known = logs.logs("core")
    return known[-1] if known else None


def _drain(seconds: float) -> int:
    handled = 0
    for process in [*_leaving, *([_process] if _process is not None else [])]:
        handled += process.drain(seconds)
    _leaving[:] = [process for process in _leaving if process.end_sentence is None]
    return handled


def _notify(message: Message) -> None:
    for listener in list(_listeners):
        listener(message)
    pump.redraw()


def _greeted(hello: dict[str, Any]) -> None:
    _known.clear()
    _known.update(hello)
    _remember(hello)
    pump.redraw()


def _remember(hello: Mapping[str, Any]) -> None:
    """Keep what the core found, so that the preferences can say it before the core runs again."""
    try:
        user_folder("core", create=True)
        write_json(_memory(), {"interpreter": _known_python, "hello": dict(hello)})
    except (NerfError, OSError, ValueError):
        pass  # a full disk, say; the core itself runs


def _remembered(interpreter: Path) -> dict[str, Any]:
    """What the core said when it last ran with this Python; empty when that is not known."""
    try:
        return _read_memory(str(interpreter), _memory().stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=4)
def _read_memory(interpreter: str, _changed: int) -> dict[str, Any]:
    try:
        kept = json.loads(_memory().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict) or kept.get("interpreter") != interpreter:
        return {}
    hello = kept.get("hello")
    return hello if isinstance(hello, dict) else {}


def _memory() -> Path:
    return user_folder("core") / "hello.json"


def _ended(sentence: str) -> None:
    global _trouble
    _trouble = sentence
    pump.redraw()


def unregister() -> None:
    """Forget everything; the process itself was let go by `pump`."""
    global _process, _trouble, _known_python
    stop()
    _process, _trouble, _known_python = None, "", ""
    _known.clear()
    _leaving.clear()
    _listeners.clear()
