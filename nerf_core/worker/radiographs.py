"""The `drr` request: radiographs of CTs and closed meshes as a data set, one a turn, so that others go between two."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError
from ..contract.messages import Message
from ..contract.xray import SCALINGS, ConeBeam
from .params import MAX_PIXELS, ParamError, Params
from .render_params import affine
from .time_left import TimeLeft

if TYPE_CHECKING:
    from ..xray.drr import RadiographJob, RadiographPlan
    from ..xray.mesh_integrals import Solid
    from ..xray.sources import PhantomSource, RadiographSource, VolumeSource
    from .session import Session

MOST_VIEWS = 100_000
SHOWN_SECONDS = 0.25  # between two radiographs that are sent to be looked at
SHOWN_SIDE = 640  # pixels of their longer side, at most


class DrrJob:
    """Radiographs that are being made.

    Parameters
    ----------
    session : Session
    message : Message
        ``sources``: list of ``{"ct": path or phantom, "matrix": 4x4 from RAS metres, "priority"}`` and ``{"mesh": name,
        "mu": per world unit, "priority"}``, whose arrays are ``vertices_N`` (V, 3) of the world and ``faces_N`` (F, 3),
        N counting the meshes from 0; of what overlaps the highest priority counts (`xray.overlap`). ``cameras``: list
        of ``{"split", "camera"}``, or of cameras. ``out``: a new folder. Optional are ``rig`` (`source_axis`,
        `source_detector`, `detector`; world units), ``bounds``, ``window``, ``noise``, ``scaling``,
        ``meters_per_unit``, ``grid`` (of CTs), ``tag``.

    Raises
    ------
    NerfError
        When something is missing or not usable.
    """

    def __init__(self, session: "Session", message: Message) -> None:
        self.session, self._arrays = session, message.arrays
        self._params = Params("drr", message.params)
        self.tag = message.params.get("tag")
        self.out = Path(self._params.text("out"))
        self._sources = _list(self._params, "sources", 1 << 20)
        self._cameras = _cameras(self._params)
        self._job: RadiographJob | None = None
        self._warnings: list[str] = []
        self._left = TimeLeft(0, len(self._cameras))
        self._began = time.perf_counter()
        self._shown, self._top = 0.0, 1e-9

    def step(self, should_stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Read what is taken, or take one radiograph; the request's result after the last one.

        Raises
        ------
        Cancelled
            When `should_stop` said so; nothing half made is left.
        """
        try:
            if self._job is None:
                self._open()
                return None
            whole = self._job.step(should_stop)
            self._tell()
            if not whole:
                self._show()
                return None
        except BaseException:
            self.discard()
            raise
        return {
            "out": str(self.out),
            "views": self._job.total,
            "warnings": self._warnings,
            "truncated": self._job.truncated,
            "seconds": time.perf_counter() - self._began,
        }

    def discard(self) -> None:
        """Leave nothing half made behind."""
        if self._job is not None and not self._job.is_whole:
            self._job.discard()

    def _open(self) -> None:
        from ..xray.drr import RadiographJob

        self.session.tell("drr", "", 0, len(self._cameras), "Reading what is X-rayed", tag=self.tag)
        self._job = RadiographJob(self._plan(), self.out)
        if not self._job.is_whole:
            text = "Preparing (the first time compiles, which can take some seconds)"
            self.session.tell("drr", "", self._job.done, self._job.total, text, tag=self.tag)
            self._job.plan.source.line_integrals(self._job.plan.views[0].camera.resized(1, 1))
        self._arrays = {}
        self._left = TimeLeft(self._job.done, self._job.total)
        self._began = time.perf_counter()

    def _plan(self) -> "RadiographPlan":
        from ..xray.drr import RadiographPlan
        from ..xray.noise import Noise
        from ..xray.turntable import named

        params = self._params
        meters = params.optional_number("meters_per_unit")
        meters = 1.0 if meters is None else params.number_above("meters_per_unit", 0.0)
        source = self._source(meters)
        views = named(self._cameras)
        noise = params.mapping("noise")
        return RadiographPlan(
            source,
            views,
            _rig(params.mapping("rig"), views[0].camera),
            _window(params),
            Noise.from_dict(noise) if noise else None,
            params.choice("scaling", SCALINGS),
            meters,
            _bounds(params),
        )

    def _source(self, meters: float) -> "RadiographSource":
        from ..xray.mesh_integrals import MeshSource
        from ..xray.overlap import OverlapSource
        from ..xray.sources import SumSource, open_radiograph_source

        cts: list[tuple[VolumeSource | PhantomSource, int]] = []
        solids: list[Solid] = []
        grid = self._params.optional_integer("grid")
        for source in self._sources:
            if not isinstance(source, Mapping) or not ("ct" in source) ^ ("mesh" in source):
                raise ParamError("'drr' wants each of 'sources' to have a 'ct' or a 'mesh'.")
            own = Params("drr", source)
            if "ct" in source:
                place = source.get("matrix")
                matrix = None if place is None else affine(place, "matrix", "drr")
                found = open_radiograph_source(own.text("ct"), grid, matrix, meters)
                self._warnings += [f"{found.name}: {text}" for text in _warnings_of(found)]
                cts.append((found, own.optional_integer("priority") or 0))
            else:
                solids.append(self._solid(own, len(solids)))
        if not cts:
            meshes = MeshSource(solids)
            self._warnings += meshes.warnings
            return meshes
        if solids or len({priority for _, priority in cts}) > 1:
            together = OverlapSource(cts, solids)
            self._warnings += together.warnings
            return together
        return cts[0][0] if len(cts) == 1 else SumSource([ct for ct, _ in cts])

    def _solid(self, source: Params, number: int) -> "Solid":
        from ..xray.mesh_integrals import Solid

        vertices, faces = (self._arrays.get(f"{kind}_{number}") for kind in ("vertices", "faces"))
        if vertices is None or faces is None or faces.dtype.kind not in "iu":
            raise ParamError(f"'drr' wants the arrays 'vertices_{number}' and 'faces_{number}' of whole numbers.")
        mu = source.number_above("mu", 0.0, or_equal=True)
        return Solid(source.text("mesh"), vertices, faces, mu, source.optional_integer("priority") or 0)

    def _tell(self) -> None:
        assert self._job is not None
        done, total = self._job.done, self._job.total
        left = self._left.after(done, time.perf_counter())
        text = f"Radiograph {done} of {total}"
        self.session.tell("drr", "", done, total, text, tag=self.tag, seconds_left=left)

    def _show(self) -> None:
        """Send the newest radiograph, small, when the last one was sent a while ago or this is the end."""
        assert self._job is not None
        if self._job.latest is None:
            return
        index, p = self._job.latest
        self._top = max(self._top, float(p.max()))
        now = time.perf_counter()
        if now - self._shown < SHOWN_SECONDS and index + 1 < self._job.total:
            return
        self._shown = now
        low, high = self._job.plan.window or (0.0, self._top)
        step = -(-max(p.shape) // SHOWN_SIDE)
        v = np.clip((p[step // 2 :: step, step // 2 :: step] - low) / (high - low), 0.0, 1.0).astype(np.float32)
        rgba = np.stack([v, v, v, np.ones_like(v)], axis=-1)
        view = self._job.plan.views[index]
        shown = view.camera.resized(v.shape[1], v.shape[0])
        size = {"width": v.shape[1], "height": v.shape[0]}
        self.session.notify(
            "drr.view", {"rgba": rgba}, tag=self.tag, index=index, name=view.name, camera=shown.to_dict(), **size
        )


def _list(params: Params, key: str, most: int) -> Sequence[Any]:
    value = params.values.get(key)
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= most:
        raise ParamError(f"'drr' wants '{key}' as a list of 1 to {most}.")
    return value


def _cameras(params: Params) -> list[tuple[str, Camera]]:
    found = []
    for entry in _list(params, "cameras", MOST_VIEWS):
        if not isinstance(entry, Mapping):
            raise ParamError("'drr' wants each of 'cameras' as a camera, or as {'split', 'camera'}.")
        camera = Params("drr", entry if "camera" in entry else {"camera": entry}).camera()
        if camera.width * camera.height > MAX_PIXELS:
            raise ParamError(f"A radiograph of {camera.width}x{camera.height} is too large.")
        found.append((str(entry.get("split", "train")), camera))
    return found


def _rig(values: Mapping[str, Any], camera: Camera) -> ConeBeam | None:
    if not values:
        return None
    rig = Params("drr", values)
    detector = values.get("detector")
    if not isinstance(detector, Sequence) or len(detector) != 2:
        raise ParamError("'drr' wants the rig's 'detector' as [width, height].")
    lengths = rig.number_above("source_axis", 0.0), rig.number_above("source_detector", 0.0)
    try:
        return ConeBeam(*lengths, (float(detector[0]), float(detector[1])), (camera.width, camera.height))
    except (TypeError, ValueError) as error:
        raise ParamError("'drr' wants the rig's 'detector' as [width, height].") from error


def _window(params: Params) -> tuple[float, float] | None:
    value = params.values.get("window")
    if value is None:
        return None
    try:
        low, high = (float(number) for number in value)
    except (TypeError, ValueError, OverflowError):
        low = high = np.nan
    if not -1e9 < low < high < 1e9:
        raise ParamError(f"'drr' wants 'window' as [low, high] or null, and got {value!r:.80}.")
    return low, high


def _bounds(params: Params) -> np.ndarray | None:
    from ..contract.transforms import is_box

    value = params.values.get("bounds")
    if value is None:
        return None
    try:
        box = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        box = np.empty(0)
    if box.shape != (2, 3) or not is_box(box):
        raise DataError("'drr' wants 'bounds' as the two corners of a box.")
    return box


def _warnings_of(source: "RadiographSource") -> Sequence[str]:
    return getattr(getattr(source, "volume", None), "warnings", ())
