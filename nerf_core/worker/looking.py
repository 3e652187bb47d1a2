"""Requests that look at a run: pictures, points, traces, geometry. The newest picture first; a tag cancels."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..contract.messages import CANCELLED, Message, failure
from ..rendering.frame import Frame
from ..rendering.layers import Layer
from ..rendering.picture import render_picture
from ..rendering.radiographs import line_integral_picture, windowed
from . import geometry, ray_plots
from .geometry import Reply, Watch
from .heat import HeatRenderer
from .params import MAX_POINTS, Params
from .radiographs import DrrJob
from .render_params import WantedLayer, WantedPicture, wanted_picture
from .stories import BindJob, view_picture
from .tracing import Traces
from .videos import VideoJob

if TYPE_CHECKING:
    from ..training.load import LoadedRun
    from .session import Session

PROGRESS_SECONDS = 0.25
#: What is served first: a trace is quick, points take seconds, a video lets all others go between its frames.
ORDER = ("trace", "plot", "view", "render", "points", "mesh", "volume", "dataset", "ct", "video", "bind", "drr")


@dataclass
class Waiting:
    """A request that waits for its turn or is being worked on."""

    message: Message
    params: Params
    tag: object = None
    cancelled: bool = False
    video: VideoJob | BindJob | DrrJob | None = None  # that has begun

    @property
    def kind(self) -> str:
        """The request's method."""
        return self.message.method or ""

    def discard(self) -> None:
        """Leave nothing half made behind."""
        if self.video is not None:
            self.video.discard()


class Looking:
    """The queue of such requests, and the work itself.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    waiting : list of Waiting
        Oldest first.
    """

    def __init__(self, session: "Session") -> None:
        self.session = session
        self.waiting: list[Waiting] = []
        self._running: Waiting | None = None
        self.traces = Traces()
        self._heat = HeatRenderer()
        self.kinds: dict[str, Callable[[Waiting], Reply | None]] = {
            "render": self._render,
            "points": self._points,
            "trace": self._trace,
            "plot": self._plot,
            "video": self._video,
            "mesh": self._mesh,
            "volume": self._volume,
            "dataset": self._dataset,
            "ct": self._ct,
            "view": self._view,
            "bind": self._bind,
            "drr": self._drr,
        }

    def add(self, message: Message, params: Params) -> None:
        """Put a request in line; a picture replaces the pictures of the same tag."""
        tag = params.values.get("tag")
        if tag is not None and message.method == "render":
            self._drop(tag, "a newer picture was asked for", kind="render")
        self.waiting.append(Waiting(message, params, tag))

    def cancel(self, params: Params) -> Reply:
        """The `render.cancel` request."""
        tag = params.values.get("tag")
        if tag is not None:
            self._drop(tag, "the request was cancelled")
        return {}, {}

    def work(self) -> None:
        """Do the request whose turn it is: by `ORDER`, the newest picture, the oldest of anything else."""
        for kind in ORDER:
            found = [entry for entry in self.waiting if entry.kind == kind]
            if not found:
                continue
            entry = found[-1] if kind == "render" else found[0]
            self.waiting.remove(entry)
            # Work is never nested: whatever arrives meanwhile only joins the line.
            self._running = entry
            try:
                if not self.session.answer(entry.message, partial(self.kinds[kind], entry)):
                    self.waiting.insert(0, entry)  # it goes on when its turn comes again
            finally:
                self._running = None
            return

    def give_up(self) -> None:
        """Answer everything that still waits: the core is leaving."""
        for entry in self.waiting:
            entry.discard()
            if entry.message.id is not None:
                self.session.channel.send(failure(entry.message.id, CANCELLED, "the core is leaving"))
        self.waiting = []

    def _drop(self, tag: object, why: str, kind: str | None = None) -> None:
        """Cancel what has the tag, waiting or being worked on; with `kind`, only requests of that method."""

        def meant(entry: Waiting) -> bool:
            return entry.tag == tag and kind in (None, entry.kind)

        stale = [entry for entry in self.waiting if meant(entry)]
        self.waiting = [entry for entry in self.waiting if not meant(entry)]
        for entry in stale:
            entry.discard()
            if entry.message.id is not None:
                self.session.channel.send(failure(entry.message.id, CANCELLED, why))
        if self._running is not None and meant(self._running):
            self._running.cancelled = True

    def _watch(self, entry: Waiting, run: str, doing: str, **more: object) -> Watch:
        """What long work asks (whether to stop) and tells (its progress, now and then)."""

        def tell(done: float) -> None:
            self.session.tell(entry.kind, run, done, 1.0, f"{doing}, {done:.0%}", **more)

        return self._watched(entry, tell)

    def _watched(self, entry: Waiting | None, tell: Callable[[float], None]) -> Watch:
        """The same, with another way to tell."""
        told = time.perf_counter()

        def should_stop() -> bool:
            self.session.receive()
            return (entry is not None and entry.cancelled) or self.session.leaving.is_set()

        def on_progress(done: float) -> None:
            nonlocal told
            if time.perf_counter() - told >= PROGRESS_SECONDS:
                told = time.perf_counter()
                tell(done)

        return should_stop, on_progress

    def _render(self, entry: Waiting) -> Reply:
        wanted = wanted_picture(entry.params)
        loaded = self._find(wanted)
        watch = self._watch(entry, wanted.runs[0], "Rendering", tag=entry.tag)
        if wanted.heat:
            first = loaded[wanted.layers[0].run]
            frame, more, maps = self._heat.render(wanted, first, *_placed(wanted, loaded), watch)
        else:
            frame, more, maps = _frame(wanted, loaded, *watch), {}, {}
        height, width = frame.depth.shape
        arrays = {"rgba": frame.rgba, "depth": frame.depth}
        if frame.normal is not None:
            arrays["normal"] = frame.normal
        if wanted.line_integral:
            layers, over_time = _placed(wanted, loaded)
            arrays["line_integral"] = line_integral_picture(layers, wanted.view, *watch, over_time)
        result = {"width": width, "height": height, "seconds": frame.seconds, "samples": frame.samples}
        return {**result, "cost": frame.cost.to_dict() if frame.cost else None, **more}, {**arrays, **maps}

    def _find(self, wanted: WantedPicture) -> "dict[str, LoadedRun]":
        """Every run of a picture: none of them pushes another out."""
        self.session.runs.make_room(len(wanted.runs))
        return {run: self.session.find(run, wanted.snapshot) for run in wanted.runs}

    def load(self, params: Params) -> None:
        """Have the runs of a video's frame at hand, so that rendering it takes no longer than that."""
        self._find(wanted_picture(params))

    def picture(self, params: Params, on_progress: Callable[[float], None]) -> Frame:
        """A frame of the video whose turn it is, sRGB-encoded whatever the runs' own colour spaces are."""
        wanted = wanted_picture(params)
        return _frame(wanted, self._find(wanted), *self._watched(self._running, on_progress), encoded=True)

    def _video(self, entry: Waiting) -> Reply | None:
        if not isinstance(entry.video, VideoJob):
            entry.video = VideoJob(self.session, entry.params)
        result = entry.video.step()
        return None if result is None else (result, {})

    def _points(self, entry: Waiting) -> Reply:
        from ..export.points import extract_points

        run = entry.params.text("run")
        count = entry.params.count("count", MAX_POINTS)
        threshold = entry.params.optional_number("threshold")
        loaded = self.session.find(run)
        self.session.tell("points", run, 0.0, 1.0, "Finding density points")
        seed = int(loaded.settings.get("seed") or 0)
        should_stop, on_progress = self._watch(entry, run, "Finding density points")
        cloud = extract_points(
            loaded.method, loaded.cameras, count, threshold, seed, on_progress, should_stop, loaded.bounds
        )
        arrays = {"position": cloud.position, "density": cloud.density, "color": cloud.color}
        result = {"count": len(cloud.position), "threshold": cloud.threshold}
        return result, {name: np.asarray(array, dtype=np.float32) for name, array in arrays.items()}

    def _mesh(self, entry: Waiting) -> Reply:
        run = entry.params.text("run")
        return geometry.mesh(self.session.find(run), entry.params, self._watch(entry, run, "Extracting the mesh"))

    def _volume(self, entry: Waiting) -> Reply:
        run = entry.params.text("run")
        return geometry.volume(self.session.find(run), entry.params, self._watch(entry, run, "Sampling the density"))

    def _dataset(self, entry: Waiting) -> Reply:
        from .datasets import describe

        return describe(entry.params, *self._watch(entry, entry.params.text("data"), "Reading the data set"))

    def _ct(self, entry: Waiting) -> Reply:
        from .ct import answer

        return answer(entry.params, self._watch(entry, entry.params.text("source"), "Reading the CT"))

    def _view(self, entry: Waiting) -> Reply:
        loaded = self.session.find(entry.params.text("run"))
        return view_picture(loaded, self.traces.view(loaded, *entry.params.view()), entry.params)

    def _bind(self, entry: Waiting) -> Reply | None:
        if not isinstance(entry.video, BindJob):
            entry.video = BindJob(self.session, entry.params)
        result = entry.video.step()
        return None if result is None else (result, {})

    def _drr(self, entry: Waiting) -> Reply | None:
        if not isinstance(entry.video, DrrJob):
            entry.video = DrrJob(self.session, entry.message)
        should_stop, _ = self._watched(entry, lambda done: None)
        result = entry.video.step(should_stop)
        return None if result is None else (result, {})

    def _trace(self, entry: Waiting) -> Reply:
        run = entry.params.text("run")
        loaded = self.session.find(run, entry.params.snapshot())
        return self.traces.answer(loaded, entry.params, *self._watch(entry, run, "Tracing rays"))

    def _plot(self, entry: Waiting) -> Reply:
        run = entry.params.text("run")
        loaded = self.session.find(run, entry.params.snapshot())
        return ray_plots.answer(loaded, self.traces, entry.params, self._watch(entry, run, "Plotting a ray"))


def _frame(
    wanted: WantedPicture,
    loaded: Mapping[str, "LoadedRun"],
    should_stop: Callable[[], bool],
    on_progress: Callable[[float], None],
    encoded: bool = False,
) -> Frame:
    """Render what is wanted of runs; sRGB-encoded, whatever is wanted and the runs are, if `encoded`."""
    view = replace(wanted.view, color="run") if encoded else wanted.view
    layers, shutter_layers = _placed(wanted, loaded, encoded)
    return render_picture(layers, view, should_stop, on_progress, shutter_layers)


def _placed(
    wanted: WantedPicture, loaded: Mapping[str, "LoadedRun"], encoded: bool = False
) -> tuple[list[Layer], list[list[Layer]]]:
    """The layers, and those over the shutter's time, of loaded runs."""
    several = len(wanted.runs) > 1

    def placed(layers: list[WantedLayer]) -> list[Layer]:
        return [
            Layer(
                windowed(run.method, layer.window),
                "srgb" if encoded else run.color_space,
                layer.matrix,
                layer.crops,
                name=str(run.folder.root) if several else "",
            )
            for layer in layers
            for run in [loaded[layer.run]]
        ]

    return placed(wanted.layers), [placed(layers) for layers in wanted.shutter_layers]
