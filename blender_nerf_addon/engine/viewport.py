"""The live viewport: asks the core for the view, coarse first, and draws the newest picture that has arrived.

Everything of Blender's happens on the main thread: Blender calls `scene_changed` and `draw`, a timer calls `step`
while something is awaited. Answers arrive on the thread that reads from the core, which prepares their pixels.
"""

import itertools
import os
import threading
import time
import traceback
import weakref
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np

from ..jobs import core, direct, training
from ..jobs.calls import CoreError
from ..objects.layers import scene_layers
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from . import drawing, heat_view, legend, meshes, refining
from .background import world_color
from .refining import Speed
from .settings import render_sampler
from .view_camera import Part, border_part, part_of, view_camera

WAITING_INTERVAL = 0.008  # between two looks at whether a picture has arrived
TRAINING_INTERVAL = 0.3  # between two looks at whether a training has ended
REFRESH_SECONDS = 2.0  # between two pictures of a training, at least

NO_NERF = "No NeRF is shown in this view: press Add NeRF to Scene in the sidebar's tab NeRF, or unhide one."

_numbers = itertools.count(1)
_views: "weakref.WeakSet[View]" = weakref.WeakSet()
_handler: Any = None
_speed = Speed()  # of the session's core, the same for all views


@dataclass(frozen=True)
class Wanted:
    """What a view shows."""

    camera: Camera
    layers: list[dict[str, Any]]
    part: Part | None = None  # of the region; all of it
    show: str = "COLOUR"
    sampler: dict[str, Any] | None = None  # as trained


@dataclass(frozen=True)
class Flight:
    """A picture that was asked for."""

    wanted: Wanted
    divisor: int
    camera: Camera
    sent: float


@dataclass(frozen=True)
class Picture:
    """A picture that has arrived, ready for the graphics card."""

    wanted: Wanted
    divisor: int
    pixels: drawing.Pixels | None
    legend: heat_view.Legend | None = None  # of a heat map


class View:
    """One viewport in Rendered mode.

    Attributes
    ----------
    shown : Picture or None
        What is drawn; for tests and measurements.
    wanted : Wanted or None
        What should be.
    settled : bool
        Whether what is drawn is the view as it stands, as fine as it gets.
    """

    def __init__(self, engine: bpy.types.RenderEngine) -> None:
        self._engine = weakref.ref(engine)
        self._tag = f"view-{next(_numbers)}"
        self._lock = threading.Lock()
        self._layers: list[dict[str, Any]] | None = None
        self._local = (False, False)
        self._region = 0  # that it was drawn in last
        self._trouble = ""  # of the scene
        self._failure = ""  # of the last picture that was asked for
        self.wanted: Wanted | None = None
        self._flight: Flight | None = None
        self._arrived: Picture | None = None
        self._done: tuple[Wanted, int] | None = None  # the newest picture that has arrived
        self._textures: drawing.Textures | None = None
        self._meshes = meshes.Meshes()
        self._stale = False  # trained on since
        self._refreshed = 0.0
        self._training = False  # what is shown is being trained
        self.shown: Picture | None = None
        _views.add(self)

    def __del__(self) -> None:
        process = core.running()
        if self._flight is not None and process is not None:
            try:
                process.request_direct("render.cancel", {"tag": self._tag}, lambda _answer: None)
            except CoreError:
                pass

    # What Blender calls.

    def scene_changed(self, depsgraph: bpy.types.Depsgraph, space: bpy.types.SpaceView3D | None) -> None:
        """Read the NeRFs anew that a viewport shows of the scene, and its meshes when next they are drawn."""
        self._meshes.changed(depsgraph)
        self._local = _local(space)
        try:
            self._layers = scene_layers(depsgraph, viewport=True, space=space)
            self._trouble = "" if self._layers else NO_NERF
        except NerfError as error:
            self._layers, self._trouble = [], str(error)

    def draw(self, engine: bpy.types.RenderEngine, context: bpy.types.Context, depsgraph: bpy.types.Depsgraph) -> None:
        """Draw what there is, and see to it that what is missing will come."""
        self._region = context.region.as_pointer()
        if self._layers is None or self._local != _local(context.space_data):
            self.scene_changed(depsgraph, context.space_data)
        region, view = context.region, context.region_data
        part = border_part(context, depsgraph)
        if self._layers:
            camera = view_camera(region.width, region.height, view.window_matrix, view.view_matrix)
            self._want(camera if part is None else part_of(camera, part), part, depsgraph.scene)
        else:
            self._forget()
        self._upload()
        solid = None
        if depsgraph.scene.nerf_engine.show_meshes:
            solid = self._meshes.picture((region.width, region.height), context.space_data, view, depsgraph)
            if not self._meshes.complete:
                engine.tag_redraw()
        begins = 0.0
        if self._textures is not None:
            # An orthographic camera stands in front of its view's own place, or behind.
            begins = float(-np.array(view.view_matrix)[2] @ np.append(self.shown.wanted.camera.position, 1.0))
        if self._textures is not None or solid is not None:
            with drawing.into(part if self.shown is None else self.shown.wanted.part):
                drawing.draw(self._textures, solid, world_color(depsgraph.scene), view.window_matrix, begins)
        if self.shown is not None and self.shown.legend is not None:
            legend.draw_bar(self.shown.legend, (region.width, region.height), context.preferences.system.ui_scale)
        engine.update_stats("", self._trouble or self._failure)

    # What the timer calls.

    def step(self) -> bool:
        """Ask for what comes next; whether a picture is awaited."""
        with self._lock:
            arrived, flying = self._arrived is not None, self._flight is not None
        engine = self._engine()
        if engine is None:
            return False
        if arrived:
            engine.tag_redraw()
        if self._training and not training.under_way():
            self._training, self._stale = False, True
        if not flying:
            self._ask_next()
        return self._flight is not None or arrived

    def draw_words(self, context: bpy.types.Context) -> None:
        """Draw the words of a heat map's legend, if this is its region."""
        region = context.region
        shown = self.shown
        if region.as_pointer() == self._region and shown is not None and shown.legend is not None:
            legend.draw_words(shown.legend, (region.width, region.height), context.preferences.system.ui_scale)

    @property
    def follows_training(self) -> bool:
        """Whether what is shown is being trained."""
        return self._training

    def trained(self, run: str) -> None:
        """A run has been trained on: show it when it is one of ours."""
        wanted = self.wanted
        if wanted is None or all(_place(layer["run"]) != run for layer in wanted.layers):
            return
        self._training = True
        now = time.monotonic()
        if bpy.context.scene.nerf_engine.viewport_training and now - self._refreshed >= REFRESH_SECONDS:
            self._refreshed, self._stale = now, True
        _wake()

    @property
    def settled(self) -> bool:
        """Whether what is drawn is the view as it stands, as fine as it gets."""
        with self._lock:
            quiet = self._flight is None and self._arrived is None and not self._stale
        return quiet and (self.wanted is None or self._next() is None)

    # Inside.

    def _want(self, camera: Camera, part: Part | None, scene: bpy.types.Scene) -> None:
        old = self.wanted
        new = Wanted(camera, list(self._layers or ()), part, scene.nerf_engine.viewport_show, render_sampler(scene))
        if old is not None and _same_view(old.camera, camera) and replace(old, camera=camera) == new:
            return
        self.wanted = new
        flight = self._flight
        # A coarse picture of a moment ago will be here sooner than any other: what moves must not wait for its rest.
        if flight is not None and flight.divisor >= refining.first_divisor(camera, _speed):
            _wake()
            return
        self._ask_next()
        _wake()

    def _forget(self) -> None:
        self.wanted, self._textures, self.shown, self._failure = None, None, None, ""
        with self._lock:
            self._arrived = self._done = None

    def _next(self) -> int | None:
        """The divisor of the picture to ask for; None when nothing is missing."""
        wanted = self.wanted
        if wanted is None:
            return None
        with self._lock:
            done = self._done
        if done is None or done[0] is not wanted:
            return refining.first_divisor(wanted.camera, _speed)
        if self._stale:
            return refining.refreshed_divisor(wanted.camera, _speed, done[1], self._training)
        return refining.next_divisor(wanted.camera, _speed, done[1], self._training)

    def _ask_next(self) -> None:
        divisor = self._next()
        if divisor is None:
            return
        self._stale = False
        wanted = self.wanted
        camera = refining.smaller(wanted.camera, divisor)
        flight = Flight(wanted, divisor, camera, time.monotonic())
        params = {
            "layers": wanted.layers,
            "camera": camera.to_dict(),
            "color": "linear",
            "depth": "z",
            "clip": True,
            "passes": heat_view.request_passes(wanted.show),
            "sampler": wanted.sampler,
            "tag": self._tag,
        }
        myself = weakref.ref(self)

        def deliver(answer: direct.Answer) -> None:
            view = myself()
            if view is not None:
                view._deliver(flight, answer)

        with self._lock:
            self._flight = flight
        try:
            core.start().request_direct("render", params, deliver)
        except NerfError as error:
            with self._lock:
                self._flight = None
                self._done = (wanted, 1)  # not again until something changes
            self._failure = str(error)

    def _deliver(self, flight: Flight, answer: direct.Answer) -> None:
        """On the reading thread."""
        global _speed
        picture = None
        if answer.error is None:
            rgba, depth, scale = heat_view.paint(flight.wanted.show, answer.arrays)
            pixels = drawing.Pixels.of(rgba, depth)
            picture = Picture(flight.wanted, flight.divisor, pixels, scale)
            _speed = _speed.after(pixels.width * pixels.height, float(answer.result.get("seconds") or 0.0))
        with self._lock:
            if self._flight is flight:
                self._flight = None
            if picture is not None:
                self._arrived, self._done = picture, (flight.wanted, flight.divisor)
                self._failure = ""
            elif not answer.error.cancelled:
                self._done = (flight.wanted, 1)
                self._failure = str(answer.error)

    def _upload(self) -> None:
        with self._lock:
            picture, self._arrived = self._arrived, None
        if picture is not None:
            self._textures = drawing.Textures.of(picture.pixels)
            self.shown = replace(picture, pixels=None)


def views() -> list[View]:
    """All viewports in Rendered mode."""
    return list(_views)


def _local(space: bpy.types.SpaceView3D | None) -> tuple[bool, bool]:
    """Whether a viewport shows a choice of objects of its own: such a change is none of the scene."""
    return (False, False) if space is None else (space.local_view is not None, space.use_local_collections)


def _same_view(one: Camera, other: Camera) -> bool:
    if (one.width, one.height, one.kind) != (other.width, other.height, other.kind):
        return False
    plain = replace(one, c2w=other.c2w)
    return bool((one.c2w == other.c2w).all()) and plain.to_dict() == other.to_dict()


def _place(run: str) -> str:
    return os.path.normcase(os.path.abspath(run))


def _tick() -> float | None:
    waiting = False
    for view in views():
        try:
            waiting |= view.step()
        except ReferenceError:  # Blender has let go of the viewport's engine
            _views.discard(view)
        except Exception:
            traceback.print_exc()
            _views.discard(view)
    if waiting:
        return WAITING_INTERVAL
    return TRAINING_INTERVAL if any(view.follows_training for view in views()) else None


def _wake() -> None:
    if not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=WAITING_INTERVAL, persistent=True)


def _listen(message: Message) -> None:
    """The core said something: while it trains what a viewport shows, that changes."""
    run = message.params.get("run")
    if message.method == "progress" and message.params.get("task") == "train" and isinstance(run, str):
        for view in views():
            view.trained(_place(run))


def _draw_words() -> None:
    """After Blender has drawn a viewport with all that lies over it."""
    context = bpy.context
    shading = getattr(context.space_data, "shading", None)
    if shading is None or shading.type != "RENDERED":
        return
    for view in views():
        try:
            view.draw_words(context)
        except ReferenceError:  # Blender has let go of the viewport's engine
            _views.discard(view)


def register() -> None:
    """Hear of training, and of viewports that are drawn."""
    global _handler
    core.listen(_listen)
    if not bpy.app.background:
        _handler = bpy.types.SpaceView3D.draw_handler_add(_draw_words, (), "WINDOW", "POST_PIXEL")


def unregister() -> None:
    """Let go of everything."""
    global _handler
    if _handler is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_handler, "WINDOW")
        _handler = None
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    _views.clear()
    drawing.forget()
    legend.forget()
    meshes.forget()
