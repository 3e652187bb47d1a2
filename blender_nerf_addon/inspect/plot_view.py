"""The plots on the screen: in Image Editors that show the image "NeRF Ray", and as a card in 3D viewports.

Everything is computed once a trace, laid out once a size, and only drawn on a redraw.
"""

import traceback
from dataclasses import dataclass, replace
from typing import Any

import bpy
from bpy_extras.view3d_utils import location_3d_to_region_2d
from mathutils import Vector

from ..vendor.nerf_core.contract.ray_axes import Axis
from ..vendor.nerf_core.contract.ray_plot import Plot
from . import plot_hover, plot_settings, state
from .plot_data import build
from .plot_draw import Drawing, measure
from .plot_layout import Layout, compose
from .plot_readout import marker, readout
from .plot_shapes import Rect

IMAGE_NAME = "NeRF Ray"
IMAGE_KEY = "nerf_ray_plot"  # a custom property: the image may have been renamed
MOST_KEPT = 12  # drawings, of regions
LEAST_CARD = (300, 200)  # pixels at interface scale 1


@dataclass
class _Kept:
    key: tuple
    layout: Layout
    drawing: Drawing
    hover: Any = None
    over: Drawing | None = None


_kept: dict[int, _Kept] = {}
_plot: tuple[tuple, Plot | None] | None = None
_zoom: Axis | None = None
_handlers: list[tuple[Any, Any]] = []
_unsubscribe: list[Any] = []
_failed = False


def find_image() -> bpy.types.Image | None:
    """The image whose editors show the plots."""
    return next((image for image in bpy.data.images if image.get(IMAGE_KEY)), None)


def plot_image() -> bpy.types.Image:
    """The image whose editors show the plots; made where there is none."""
    image = find_image()
    if image is None:
        image = bpy.data.images.new(IMAGE_NAME, 64, 64, alpha=False)
        image[IMAGE_KEY] = True
        image.generated_color = (0.012, 0.012, 0.012, 1.0)  # painted pixels would make Blender ask when it quits
    return image


def shows_plot(area: bpy.types.Area | None) -> bool:
    """Whether an area is an Image Editor with the plots."""
    if area is None or area.ui_type != "IMAGE_EDITOR":
        return False
    image = area.spaces.active.image
    return image is not None and bool(image.get(IMAGE_KEY))


def ray_plot(scene: bpy.types.Scene) -> Plot | None:
    """The plot of what the inspector shows, as a person chose to see it; computed when something changed."""
    global _plot
    shown, settings = state.current(), scene.nerf.ray_plot
    key = (shown.revision, settings.focus, settings.mean, settings.log_density, scene.session_uid)
    if _plot is None or _plot[0] != key:
        ray = None if settings.mean else shown.chosen_ray
        _plot = key, build(shown.slots, ray, settings.focus, settings.log_density, heading(shown, settings.mean))
    plot = _plot[1]
    return replace(plot, t=_zoom) if plot is not None and _zoom is not None else plot


def heading(shown: Any, mean: bool) -> str:
    """Which ray is shown, for a person."""
    count = len(shown.pixels)
    if mean and count > 1:
        return f"Mean of {count} rays"
    pixel = shown.pixel
    if pixel is None:
        return ""
    words = f"Pixel ({int(pixel[0])}, {int(pixel[1])})" + (f" of {shown.view}" if shown.view else "")
    words += f"  ·  ray {shown.chosen_ray + 1} of {count}" if count > 1 else ""
    return words + (f"  ·  after {shown.snapshot} steps" if shown.snapshot is not None else "")


def unit_of(scene: bpy.types.Scene) -> str:
    """What a world unit is called."""
    units = scene.unit_settings
    return "m" if units.system == "METRIC" and abs(units.scale_length - 1.0) < 1e-6 else "unit"


def editor_rect(area: bpy.types.Area, region: bpy.types.Region) -> Rect:
    """The part of an editor's main region, in its pixels, that no other region lies over."""
    left, right, low, top = 0, region.width, 0, region.height
    for other in area.regions:
        if other == region or other.width <= 1 or other.height <= 1:
            continue
        x, y = other.x - region.x, other.y - region.y
        if other.type in ("TOOLS", "UI"):
            if other.alignment == "LEFT" and x <= 0 < x + other.width:
                left = max(left, x + other.width)
            elif other.alignment == "RIGHT" and x < region.width <= x + other.width:
                right = min(right, x)
        elif other.type in ("HEADER", "TOOL_HEADER"):
            if 0 < y < region.height and y > region.height / 2:
                top = min(top, y)
            elif y <= 0 < y + other.height < region.height / 2:
                low = max(low, y + other.height)
    return Rect(left, low, max(right - left, 1), max(top - low, 1))


def card_rect(scene: bpy.types.Scene, area: bpy.types.Area, region: bpy.types.Region, scale: float) -> Rect | None:
    """Where the card stands in a 3D viewport; None where there is no room for one."""
    settings, free, gap = scene.nerf.ray_plot, editor_rect(area, region), 8 * scale
    least = [side * scale for side in LEAST_CARD]
    width = min(max(settings.size * free.width, least[0]), free.width - 2 * gap)
    height = min(max(settings.size * free.height, least[1]), free.height - 2 * gap)
    if width < 0.9 * least[0] or height < 0.9 * least[1]:
        return None
    left = free.left + gap if settings.corner.endswith("LEFT") else free.right - gap - width
    low = free.low + gap if settings.corner.startswith("BOTTOM") else free.top - gap - height
    return Rect(round(left), round(low), round(width), round(height))


def place_of(context: bpy.types.Context) -> Rect | None:
    """Where a plot stands in the context's region; None where there is none."""
    area, region = context.area, context.region
    if area is None or region is None or region.type != "WINDOW" or context.scene is None:
        return None
    return _place(context, area, region)


def holds(context: bpy.types.Context, area: bpy.types.Area, region: bpy.types.Region, x: float, y: float) -> bool:
    """Whether a plot stands at a place of an editor's main region, in its pixels."""
    rect = _place(context, area, region)
    return rect is not None and rect.holds(x, y)


def _place(context: bpy.types.Context, area: bpy.types.Area, region: bpy.types.Region) -> Rect | None:
    scene = context.scene
    if area.type == "IMAGE_EDITOR":
        return editor_rect(area, region) if shows_plot(area) else None
    if area.type != "VIEW_3D" or not scene.nerf.ray_plot.card or not state.current().slots:
        return None
    if not area.spaces.active.overlay.show_overlays:
        return None
    return card_rect(scene, area, region, context.preferences.system.ui_scale)


def layout_at(context: bpy.types.Context, x: float, y: float) -> Layout | None:
    """The plot that was drawn last in the context's region, where it holds a place in the region's pixels."""
    kept = _kept.get(context.region.as_pointer()) if context.region is not None else None
    if kept is None or place_of(context) is None or not kept.layout.rect.holds(x, y):
        return None
    return kept.layout


def zoom(around: float | None, factor: float, scene: bpy.types.Scene) -> None:
    """Show a longer or shorter part of the ray about a distance; all of it again where `around` is None."""
    global _zoom
    if around is None:
        _zoom = None
    else:
        plot = ray_plot(scene)
        if plot is None:
            return
        low, high = around + (plot.t.low - around) * factor, around + (plot.t.high - around) * factor
        whole = plot.whole
        if high - low < 1e-5 * (whole.high - whole.low):
            return
        _zoom = Axis(max(low, whole.low), min(high, whole.high))
    redraw()


def zoomed() -> Axis | None:
    """The part of the ray that was zoomed to."""
    return _zoom


def redraw(*_ignored: Any) -> None:
    """Have all plots drawn anew, and the viewports, which mark the pointer's place on the ray."""
    manager = getattr(bpy.context, "window_manager", None)
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D" or shows_plot(area):
                area.tag_redraw()


def forget() -> None:
    """Let go of what was computed and of what lies on the graphics card."""
    global _plot, _zoom, _failed
    _kept.clear()
    _plot, _zoom, _failed = None, None, False
    plot_hover.place(None)


def _draw() -> None:
    """Draw the plot that belongs into the region being drawn, if any."""
    global _failed
    context = bpy.context
    try:
        if context.area.type == "VIEW_3D":
            _draw_marker(context)
        rect = place_of(context)
        if rect is not None:
            _draw_into(context, rect)
    except Exception:  # Blender would print it at every redraw
        if not _failed:
            traceback.print_exc()
        _failed = True


def _draw_into(context: bpy.types.Context, rect: Rect) -> None:
    region, scene = context.region, context.scene
    settings, scale = scene.nerf.ray_plot, context.preferences.system.ui_scale
    pointer, unit = region.as_pointer(), unit_of(scene)
    plot = ray_plot(scene)
    key = (_plot[0], _zoom, rect, scale, settings.rows, unit, region.width, region.height)
    kept = _kept.get(pointer)
    if kept is None or kept.key != key:
        card = context.area.type == "VIEW_3D"
        ground = None if card else Rect(0, 0, region.width, region.height)
        layout = compose(plot, rect, scale, settings.rows, unit, measure, card, ground)
        kept = _Kept(key, layout, Drawing(layout.shapes))
        while len(_kept) >= MOST_KEPT:
            _kept.pop(next(iter(_kept)))
        _kept[pointer] = kept
    kept.drawing.draw(region.width, region.height)
    hover = plot_hover.current()
    if hover is None:
        return
    if kept.over is None or kept.hover != hover:
        at = (hover.x, hover.y) if hover.region == pointer else None
        over = readout(kept.layout, hover.t, at, unit, measure)
        kept.hover, kept.over = hover, Drawing(over) if over is not None else None
    if kept.over is not None:
        kept.over.draw(region.width, region.height)


def _draw_marker(context: bpy.types.Context) -> None:
    """Where the ray in the viewport is at the distance that a plot is read at."""
    hover, shown = plot_hover.current(), state.current()
    if hover is None or hover.part >= len(shown.slots) or context.scene.nerf.ray_plot.mean:
        return
    arrays, ray = shown.slots[hover.part].arrays, shown.chosen_ray
    if not context.area.spaces.active.overlay.show_overlays or "origin" not in arrays or ray >= len(arrays["origin"]):
        return
    place = arrays["origin"][ray] + hover.t * arrays["direction"][ray]
    spot = location_3d_to_region_2d(context.region, context.region_data, Vector(place.tolist()))
    if spot is not None:
        scale, words = context.preferences.system.ui_scale, f"t {hover.t:.4g} {unit_of(context.scene)}"
        Drawing(marker(spot.x, spot.y, words, scale)).draw(context.region.width, context.region.height)


def register() -> None:
    """Begin to draw; without a window there is nothing to draw on."""
    for kind in () if bpy.app.background else (bpy.types.SpaceImageEditor, bpy.types.SpaceView3D):
        _handlers.append((kind, kind.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")))
    _unsubscribe.extend((state.subscribe(redraw), plot_hover.subscribe(redraw)))
    plot_settings.on_change.append(redraw)


def unregister() -> None:
    """Stop drawing."""
    for kind, handler in _handlers:
        kind.draw_handler_remove(handler, "WINDOW")
    _handlers.clear()
    while _unsubscribe:
        _unsubscribe.pop()()
    plot_settings.on_change.clear()
    forget()
