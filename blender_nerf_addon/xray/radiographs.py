"""Taking radiographs, once at a time: meshes are read little by little, checked in a thread, then the core computes."""

import queue
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from ..capture import folders
from ..jobs import core, pump, runs
from ..jobs.calls import CoreError
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..vendor.nerf_core.contract.run_folder import RunFolder, claim_run_folder
from . import materials, subject
from . import rig as rigs
from .gather import Part, attenuating, ct_source, gather, is_ct
from .solids import find_faults

METHOD = "drr"
TAG = "xray"  # of its request, for cancelling it


@dataclass
class Radiographs:
    """Radiographs under way, or the last ones.

    Attributes
    ----------
    phase : str
        'reading' (meshes), 'checking' (whether they are closed), 'computing', then 'done', 'failed' (its error is in
        `text`) or 'cancelled'.
    fraction : float
        0 to 1, of the phase.
    seconds_left : float or None
    warnings : list of str
        What is wrong with meshes, one sentence a mesh.
    run : Path or None
        The run folder, from the phase 'computing' on; its data set is whole when the phase is 'done'.
    checks_only : bool
        Whether it ends when the meshes are looked at.
    """

    scene_uid: int
    metres: float
    checks_only: bool
    wanted: Path | None = None
    phase: str = "reading"
    text: str = "Reading meshes"
    fraction: float = 0.0
    seconds_left: float | None = None
    warnings: list[str] = field(default_factory=list)
    run: Path | None = None
    views: int = 0
    began: float = field(default_factory=time.monotonic)
    on_end: Callable[["Radiographs"], None] | None = field(default=None, repr=False)
    then_train: bool = False

    @property
    def under_way(self) -> bool:
        """Whether it has not ended."""
        return self.phase in ("reading", "checking", "computing")


@dataclass
class _Looked:
    """What the thread found: what is not closed, and the meshes as the request has them."""

    made: Radiographs
    warnings: list[str] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    error: Exception | None = None


# Told of every change, with the radiographs; the command line prints from here.
on_progress: list[Callable[[Radiographs], None]] = []

_current: Radiographs | None = None
_work: Generator[float, None, list[Part]] | None = None
_params: dict[str, Any] = {}  # of the request, as the scene was at the start
_looked: "queue.SimpleQueue[_Looked]" = queue.SimpleQueue()
_show: Callable[[Message], None] | None = None


def current() -> Radiographs | None:
    """Those under way, or the session's last ones."""
    return _current


def running() -> bool:
    """Whether some are under way."""
    return _current is not None and _current.under_way


def show_with(show: Callable[[Message], None]) -> None:
    """Have `show` called with each picture that arrives while they are made."""
    global _show
    _show = show


def start(
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    checks_only: bool = False,
    then_train: bool = False,
    on_end: Callable[[Radiographs], None] | None = None,
) -> Radiographs:
    """Begin; returns at once.

    Raises
    ------
    NerfError
        When some are under way, nothing attenuates, the rig cannot be, or there is no core.
    """
    global _current, _work, _params
    if running():
        raise NerfError("Radiographs are under way already; cancel them first.")
    wanted = None
    if not checks_only:
        wanted = planned_run(scene)
        found = subject.find(scene, layer)
        rig = rigs.make_rig(scene, found)
        rigs.check(rig, found)
        core.start()
        _params = {**_parameters(scene, rig, found), "sources": _cts(layer)}
    made = Radiographs(
        scene.session_uid,
        materials.metres_per_unit(scene),
        checks_only,
        wanted,
        then_train=then_train,
        on_end=on_end,
    )
    if not checks_only:
        made.views = len(rig.angles)
    _current, _work = made, gather(scene.session_uid, layer.name)
    pump.before_leaving(_leave)
    pump.add_source(_advance)
    core.listen(_listen)
    pump.redraw()
    return made


def cancel() -> None:
    """End them; nothing half made is left."""
    if not running():
        return
    was, process = _current.phase, core.running()
    _finish(_current, "cancelled", "Cancelled")
    if was == "computing" and process is not None:
        process.request("render.cancel", {"tag": TAG})


def planned_run(scene: bpy.types.Scene) -> Path:
    """The folder that radiographs would go to when it is free; see :func:`capture.folders.free_run`."""
    settings = scene.nerf.capture
    return folders.runs_folder(settings.folder) / folders.run_name(settings.name, scene)


def _parameters(scene: bpy.types.Scene, rig: rigs.Rig, found: subject.Subject) -> dict[str, Any]:
    settings = scene.nerf_xray
    noise = None
    if settings.noise == "POISSON":
        noise = {"kind": "poisson", "photons": settings.photons, "readout": settings.readout, "seed": settings.seed}
    return {
        "cameras": [{"split": view.split, "camera": view.camera.to_dict()} for view in rig.views()],
        "rig": {
            "source_axis": rig.beam.source_axis,
            "source_detector": rig.beam.source_detector,
            "detector": list(rig.beam.detector),
        },
        "bounds": found.bounds.tolist(),
        "meters_per_unit": materials.metres_per_unit(scene),
        "window": None,
        "noise": noise,
        "tag": TAG,
    }


def _cts(layer: bpy.types.ViewLayer) -> list[dict[str, Any]]:
    """Sources of the request for imported CTs, where they stand."""
    found = []
    for item in attenuating(layer):
        if is_ct(item):
            matrix = [list(row) for row in item.matrix_world]
            found.append({"ct": ct_source(item), "matrix": matrix, "priority": item.nerf_xray.priority})
    return found


def _advance(seconds: float) -> int:
    """Go on with reading for a while, and take up what was checked; the timer calls this."""
    made = _current
    if made is None:
        return 0
    if made.phase == "reading":
        _read(made, seconds)
        return 1
    if made.phase != "checking":
        return 0
    try:
        found = _looked.get_nowait()
    except queue.Empty:
        pump.redraw()  # keeps the timer's short interval
        return 0
    if found.made is made:
        _have_looked(made, found)
    return 1


def _read(made: Radiographs, seconds: float) -> None:
    until = time.monotonic() + seconds
    try:
        while True:
            made.fraction = next(_work)
            if time.monotonic() >= until:
                break
    except StopIteration as end:
        made.phase, made.text, made.fraction = "checking", "Checking meshes", 0.0
        threading.Thread(target=_look, args=(made, end.value), name="NeRF Toolkit meshes", daemon=True).start()
    except Exception as error:
        _fail(made, error)
        return
    _tell(made)


def _look(made: Radiographs, parts: list[Part]) -> None:
    """In a thread: which meshes do not enclose a solid, and all of them as the request has them."""
    found = _Looked(made)
    try:
        for number, part in enumerate(parts):
            words = find_faults(part.vertices, part.faces).words
            if words:
                found.warnings.append(f"'{part.name}' is not closed: {words}.")
            mu = materials.per_unit(part.made_of.mu, made.metres)
            found.sources.append({"mesh": part.name, "mu": mu, "priority": part.made_of.priority})
            found.arrays[f"vertices_{number}"] = part.vertices.astype(np.float32)
            found.arrays[f"faces_{number}"] = part.faces.astype(np.int32)
    except Exception as error:
        found.error = error
    _looked.put(found)


def _have_looked(made: Radiographs, found: _Looked) -> None:
    if found.error is not None:
        _fail(made, found.error)
        return
    made.warnings = list(dict.fromkeys(found.warnings))
    if made.checks_only:
        count = len(found.sources)
        words = f"{count} closed mesh{'es' if count != 1 else ''}"
        _finish(made, "done", words if not made.warnings else "")
        return
    try:
        _ask(made, found)
    except Exception as error:
        _fail(made, error)


def _ask(made: Radiographs, found: _Looked) -> None:
    params = dict(_params)
    params["sources"] = [*params["sources"], *found.sources]
    made.run = claim_run_folder(folders.free_run(made.wanted)).root
    made.phase, made.text, made.fraction = "computing", "Computing radiographs", 0.0
    core.request(
        METHOD,
        {**params, "out": str(RunFolder(made.run).dataset)},
        on_result=lambda result, _arrays: _finished(made, result),
        on_error=lambda error: _failed(made, error),
        on_progress=lambda told: _progress(made, told),
        arrays=found.arrays,
    )
    _tell(made)


def _listen(message: Message) -> None:
    if running() and message.method == "drr.view" and message.params.get("tag") == TAG and _show is not None:
        _show(message)


def _progress(made: Radiographs, told: Mapping[str, Any]) -> None:
    if not made.under_way:
        return
    made.fraction = min(1.0, max(0.0, (told.get("done") or 0.0) / (told.get("total") or 1.0)))
    made.seconds_left = told.get("seconds_left")
    made.text = str(told.get("text") or made.text)
    _tell(made)


def _finished(made: Radiographs, result: Mapping[str, Any]) -> None:
    if not made.under_way:
        return
    # What is wrong with meshes is told in our own words already.
    made.warnings += [str(text) for text in result.get("warnings") or () if " is not closed" not in str(text)]
    if result.get("truncated"):
        made.warnings.append("The subject reaches over the detector's left or right edge: it is cut off.")
    try:
        scene = runs.scene_again(made.scene_uid)
        runs.set_run_folder(scene, made.run)
        scene.nerf.capture.last_run = runs.stored_path(made.run)
    except NerfError:
        pass  # the scene is gone; the data set is there
    _finish(made, "done", f"{made.views} radiographs in '{made.run}'")


def _failed(made: Radiographs, error: CoreError) -> None:
    if made.under_way:
        _finish(made, *(("cancelled", "Cancelled") if error.cancelled else ("failed", str(error))))
    elif made.phase == "cancelled":
        _clear(made)  # now that the core has let go of it


def _fail(made: Radiographs, error: Exception) -> None:
    if not isinstance(error, NerfError):
        traceback.print_exception(error)
    text = str(error) if isinstance(error, NerfError) else f"Radiographs failed: {type(error).__name__}: {error}"
    _finish(made, "failed", text)


def _finish(made: Radiographs, phase: str, text: str) -> None:
    global _work, _params
    if _work is not None:
        _work.close()
    _work, _params = None, {}
    made.phase, made.text, made.seconds_left = phase, text, None
    if phase == "done":
        made.fraction = 1.0
    elif made.run is not None:
        _clear(made)
    _tell(made)
    if made.on_end is not None:
        made.on_end(made)


def _clear(made: Radiographs) -> None:
    """Take the run folder away that was claimed for them, where nothing of theirs lies in it."""
    folder = RunFolder(made.run)
    try:
        if folder.dataset.is_dir():
            folder.dataset.rmdir()
        if {path.name for path in folder.root.iterdir()} == {folder.settings.name}:
            folder.settings.unlink()
            folder.root.rmdir()
    except OSError:
        pass  # something is in it, or it is gone


def _tell(made: Radiographs) -> None:
    pump.redraw()
    for callback in list(on_progress):
        callback(made)


def _leave() -> None:
    """Another file is loaded: nobody waits for them any more."""
    global _current
    if running():
        _current.on_end = None
        cancel()
    _current = None


def unregister() -> None:
    """Forget everything."""
    _leave()
    on_progress.clear()
