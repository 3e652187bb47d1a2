"""When the overlay is drawn, and where: in 3D viewports the rays and the legend, in Image Editors pixels and legend."""

import time
from dataclasses import dataclass
from typing import Any

import blf
import bpy
import gpu
import numpy as np
from mathutils import Matrix, Vector

from ..engine import legend
from ..engine.engine import ID
from . import drawing, hud, request, side_view, state
from . import settings as inspector_settings
from .shapes import Label, Shapes, Shown, build

END_ON = 14.0  # pixels from near to far on the screen: a ray that is seen shorter is looked along
TEXT = 11.0
TEXT_GAP = 18.0


@dataclass(frozen=True)
class Made:
    """Batches of a state as it was, and what is written beside them."""

    key: tuple[Any, ...]
    shapes: Shapes
    bands: drawing.Batch | None
    lines: drawing.Batch | None
    discs: drawing.Batch | None


@dataclass
class Times:
    """Seconds that the newest piece of work kept the main thread at work; for measurements."""

    build: float = 0.0
    scene: float = 0.0
    words: float = 0.0


times = Times()
_made: Made | None = None
_handles: list[tuple[Any, Any]] = []
_unsubscribe: Any = None


def shown_parts(scene: bpy.types.Scene) -> Shown:
    """What the scene's settings say is drawn."""
    chosen = scene.nerf.inspector
    names = ("bins", "samples", "strip", "skipped", "depths", "box")
    return Shown(**{name: getattr(chosen, f"show_{name}") for name in names}, size=chosen.size)


def made(scene: bpy.types.Scene) -> Made | None:
    """The batches of what is shown now; made anew when that changed. Needs a graphics context."""
    global _made
    current = state.current()
    if not current.slots:
        _made = None
        return None
    shown = shown_parts(scene)
    key = (current.revision, shown)
    if _made is None or _made.key != key:
        began = time.thread_time()
        shapes = build(current, shown)
        _made = Made(
            key,
            shapes,
            drawing.band_batch(shapes.bands),
            drawing.line_batch(shapes.lines),
            drawing.disc_batch(shapes.discs),
        )
        times.build = time.thread_time() - began
    return _made


def pixel_scale() -> float:
    """Pixels of the screen per pixel of the design."""
    system = bpy.context.preferences.system
    return float(system.ui_scale)


def seen_length(current: state.State, matrix: Matrix, size: tuple[int, int]) -> float:
    """How many pixels of the screen lie between where the chosen ray enters the box and where it leaves."""
    arrays, ray = current.slots[0].arrays, current.chosen_ray
    near, far = float(arrays["near"][ray]), float(arrays["far"][ray])
    if far <= near:
        near, far = 0.1, 10.0
    ends = []
    for t in (near, far):
        place = matrix @ Vector((*(arrays["origin"][ray] + t * arrays["direction"][ray]), 1.0))
        if place.w <= 0.0:
            return END_ON * 10.0
        ends.append(Vector((place.x / place.w * size[0] / 2, place.y / place.w * size[1] / 2)))
    return (ends[1] - ends[0]).length


def _visible(context: bpy.types.Context) -> bool:
    space = context.space_data
    return bool(space is not None and getattr(space.overlay, "show_overlays", True))


def _draw_scene() -> None:
    """The rays, among the scene's objects."""
    context = bpy.context
    current = state.current()
    if not current.slots or not _visible(context):
        return
    began = time.thread_time()
    found = made(context.scene)
    region = context.region
    size = (region.width, region.height)
    matrix = context.region_data.perspective_matrix
    scale = pixel_scale()
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_mask_set(False)
    gpu.state.depth_test_set("NONE" if context.scene.nerf.inspector.xray else "LESS_EQUAL")
    try:
        drawing.draw(found.lines, matrix, size, scale)
        if seen_length(current, matrix, size) >= END_ON:
            drawing.draw(found.bands, matrix, size, scale)
            drawing.draw(found.discs, matrix, size, scale)
    finally:
        gpu.state.depth_test_set("NONE")
        gpu.state.blend_set("NONE")
    times.scene = time.thread_time() - began


def _draw_words() -> None:
    """Labels beside the ray, and the legend."""
    context = bpy.context
    current = state.current()
    if not _visible(context) or not (current.slots or current.error or request.waiting()):
        return
    began = time.thread_time()
    region, scale = context.region, pixel_scale()
    size = (region.width, region.height)
    if current.slots:
        found = made(context.scene)
        matrix = context.region_data.perspective_matrix
        if seen_length(current, matrix, size) >= END_ON:
            _draw_labels(found.shapes.labels, matrix, size, scale)
        else:
            hud.draw_ring(current, _on_screen(current, matrix, size), scale)
    if context.scene.nerf.inspector.show_legend:
        hud.draw(context, current, *_corner(context), scale)
    times.words = time.thread_time() - began


def _draw_picture() -> None:
    """The chosen pixel in an Image Editor that shows the picture, and the legend."""
    context = bpy.context
    current = state.current()
    space = context.space_data
    image = space.image
    if not current.slots or image is None or image.name != current.view or space.mode != "VIEW":
        return
    scale, camera = pixel_scale(), current.camera
    if camera is not None and _visible(context):
        to_region = context.region.view2d.view_to_region
        places = [
            to_region(x / camera.width, 1.0 - y / camera.height, clip=False)
            for x, y in (current.pixels.min(axis=0) - 0.5, current.pixels.max(axis=0) + 0.5, current.pixel)
        ]
        hud.draw_patch(places[0], places[1], scale)
        hud.draw_ring(current, Vector(places[2]), scale)
    if context.scene.nerf.inspector.show_legend:
        hud.draw(context, current, *_corner(context), scale)


def _corner(context: bpy.types.Context) -> tuple[float, float]:
    """The lower left corner of what no other region covers."""
    left, low = 0.0, 0.0
    region = context.region
    for other in context.area.regions:
        if other.type == "TOOLS" and other.width > 1 and other.x <= region.x + 1:
            left = max(left, other.x + other.width - region.x)
        if other.type in {"HUD"} and other.width > 1 and other.height > 1:
            low = max(low, other.y + other.height - region.y)
        if other.type in {"ASSET_SHELF", "ASSET_SHELF_HEADER"} and other.height > 1 and other.y <= region.y + 1:
            low = max(low, other.y + other.height - region.y)
    if _shows_heat(context):
        edge, top = legend.covered((region.width, region.height), pixel_scale())
        if left + (hud.MARGIN + side_view.WIDTH) * pixel_scale() > edge:
            low = max(low, top)
    return left, low


def _shows_heat(context: bpy.types.Context) -> bool:
    """Whether the viewport is a heat map, which has a legend of its own."""
    space, scene = context.space_data, context.scene
    if space.type != "VIEW_3D" or space.shading.type != "RENDERED" or scene.render.engine != ID:
        return False
    return scene.nerf_engine.viewport_show != "COLOUR"


def _on_screen(current: state.State, matrix: Matrix, size: tuple[int, int]) -> Vector:
    arrays, ray = current.slots[0].arrays, current.chosen_ray
    t = max(float(arrays["near"][ray]), 0.1)
    return _projected(arrays["origin"][ray] + t * arrays["direction"][ray], matrix, size) or Vector((-100.0, -100.0))


def _projected(place: np.ndarray, matrix: Matrix, size: tuple[int, int]) -> Vector | None:
    """Pixels from the region's lower left corner; None behind the eye."""
    clip = matrix @ Vector((*place, 1.0))
    if clip.w <= 1e-9:
        return None
    return Vector(((0.5 + 0.5 * clip.x / clip.w) * size[0], (0.5 + 0.5 * clip.y / clip.w) * size[1]))


def _across(label: Label, matrix: Matrix, size: tuple[int, int]) -> Vector:
    """Which way on the screen is across a label's ray, as the shader has it."""
    place, slope = matrix @ Vector((*label.position, 1.0)), matrix @ Vector((*label.direction, 0.0))
    way = Vector(((slope.x * place.w - place.x * slope.w) * size[0], (slope.y * place.w - place.y * slope.w) * size[1]))
    way = way.normalized() if way.length > 1e-9 else Vector((1.0, 0.0))
    return Vector((-way.y, way.x))


def _draw_labels(labels: list[Label], matrix: Matrix, size: tuple[int, int], scale: float) -> None:
    """The words, moved apart where they would lie over each other, each with a line to its mark."""
    blf.size(0, TEXT * scale)
    spots = []
    for label in labels:
        at = _projected(label.position, matrix, size)
        if at is None:
            continue
        across = _across(label, matrix, size)
        edge = at + across * label.across * scale
        outward = across if label.across > 0 else -across
        spots.append((edge, outward, label))
    words, lines = [], []
    for right in (False, True):
        column = [spot for spot in spots if (spot[1].x >= 0.0) == right]
        column.sort(key=lambda spot: spot[0].y)
        for (edge, outward, label), height in zip(column, _apart([spot[0].y for spot in column], scale), strict=True):
            reach = (12.0 + 0.25 * abs(height - edge.y) / scale) * scale
            end = Vector((edge.x + (reach if right else -reach), height + outward.y * 2.0))
            width = blf.dimensions(0, label.text)[0]
            words.append((end.x + (6.0 * scale if right else -6.0 * scale - width), end.y, width, label))
            lines.append((edge, end, label.color))
    hud.draw_words(words, lines, TEXT, size, scale)


def _apart(heights: list[float], scale: float) -> list[float]:
    """Ascending heights moved so far that no two words touch, about where they were."""
    moved: list[float] = []
    for height in heights:
        moved.append(max(height, moved[-1] + TEXT_GAP * scale) if moved else height)
    drift = (sum(moved) - sum(heights)) / max(len(heights), 1)
    return [height - drift for height in moved]


def redraw(_what: object = None) -> None:
    """Have all viewports and Image Editors drawn again."""
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "IMAGE_EDITOR"}:
                area.tag_redraw()


def register() -> None:
    """Draw from now on, where there is something to draw."""
    global _unsubscribe
    _unsubscribe = state.subscribe(redraw)
    inspector_settings.on_change["draw"] = redraw
    if bpy.app.background:
        return
    for space, callback, kind in (
        (bpy.types.SpaceView3D, _draw_scene, "POST_VIEW"),
        (bpy.types.SpaceView3D, _draw_words, "POST_PIXEL"),
        (bpy.types.SpaceImageEditor, _draw_picture, "POST_PIXEL"),
    ):
        _handles.append((space, space.draw_handler_add(callback, (), "WINDOW", kind)))


def unregister() -> None:
    """Draw no longer."""
    global _made, _unsubscribe
    for space, handle in _handles:
        space.draw_handler_remove(handle, "WINDOW")
    _handles.clear()
    inspector_settings.on_change.pop("draw", None)
    if _unsubscribe is not None:
        _unsubscribe()
    _made, _unsubscribe = None, None
    drawing.forget()
    hud.forget()
