"""The legend in a corner, and what else is drawn flat on the screen: text, lines, a ring about a pixel."""

from typing import Any

import blf
import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix, Vector

from . import colors, drawing, request, state
from .settings import SAMPLERS
from .shapes import Label
from .side_view import BACKGROUND, Panel, panel_of

MARGIN = 14.0
NAMES = {identifier.lower(): name for identifier, name, _description in SAMPLERS}
RING = 22.0
CROSS = ((-8, 0), (-2, 0), (2, 0), (8, 0), (0, -8), (0, -2), (0, 2), (0, 8))

_panel: tuple[tuple[Any, ...], Panel, Any, Any] | None = None


def draw(context: bpy.types.Context, current: state.State, left: float, low: float, scale: float) -> None:
    """The legend, in the lower left corner at (left, low) in pixels."""
    global _panel
    note = "Asking the NeRF core ..." if request.waiting() and not current.slots else ""
    key = (current.revision, note)
    if _panel is None or _panel[0] != key:
        panel = panel_of(current, note, NAMES)
        _panel = (key, panel, drawing.band_batch(panel.vertices()), drawing.disc_batch(panel.all_discs()))
    _key, panel, boxes, discs = _panel
    x, y = left + MARGIN * scale, low + MARGIN * scale
    matrix = _flat_matrix() @ Matrix.Translation((x, y, 0.0)) @ Matrix.Diagonal((scale, scale, 1.0, 1.0))
    size = (context.region.width, context.region.height)
    gpu.state.blend_set("ALPHA")
    drawing.draw(boxes, matrix, size, scale)
    drawing.draw(discs, matrix, size, scale)
    gpu.state.blend_set("NONE")
    for text in panel.texts:
        pixels = text.size * scale
        at = x + text.x * scale
        if text.right:
            blf.size(0, pixels)
            at -= blf.dimensions(0, text.text)[0]
        draw_text(at, y + text.y * scale, text.text, text.color, pixels, shadow=False)


def draw_text(
    x: float, y: float, text: str, color: tuple[float, float, float], size: float, shadow: bool = True
) -> None:
    """A line of text from its lower left corner on, with a dark shadow where nothing lies behind it."""
    blf.size(0, size)
    blf.color(0, *color, 1.0)
    if shadow:
        blf.enable(0, blf.SHADOW)
        blf.shadow(0, 5, 0.0, 0.0, 0.0, 1.0)
        blf.shadow_offset(0, 0, 0)
    blf.position(0, round(x), round(y), 0.0)
    blf.draw(0, text)
    if shadow:
        blf.disable(0, blf.SHADOW)


def draw_words(
    words: list[tuple[float, float, float, Label]],
    lines: list[tuple[Vector, Vector, tuple[float, float, float]]],
    text: float,
    size: tuple[int, int],
    scale: float,
) -> None:
    """Words (left end, middle, width, label) on dark plates, and the lines that lead to them."""
    plates = Panel()
    for x, y, width, _label in words:
        low, high = y - 0.8 * text * scale, y + 0.8 * text * scale
        plates.box(x - 5.0 * scale, low, x + width + 5.0 * scale, high, BACKGROUND)
    gpu.state.blend_set("ALPHA")
    drawing.draw(drawing.band_batch(plates.vertices()), _flat_matrix(), size, scale)
    gpu.state.blend_set("NONE")
    for start, end, color in lines:
        _lines([start, end], (0.0, 0.0, 0.0, 0.6), 2.6 * scale)
        _lines([start, end], (*color, 0.9), 1.0 * scale)
    for x, y, _width, label in words:
        draw_text(x, y - 0.36 * text * scale, label.text, label.color, text * scale)


def draw_patch(low: tuple[float, float], high: tuple[float, float], scale: float) -> None:
    """A frame about a patch of pixels."""
    (x0, y0), (x1, y1) = low, high
    corners = [Vector(corner) for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    pairs = [place for index in range(4) for place in (corners[index], corners[(index + 1) % 4])]
    _lines(pairs, (0.0, 0.0, 0.0, 0.7), 3.0 * scale)
    _lines(pairs, (1.0, 1.0, 1.0, 0.9), 1.2 * scale)


def draw_ring(current: state.State, at: Vector, scale: float) -> None:
    """A cross at the pixel, and beside it a disc of the colour that each sampler gives it."""
    flat = Panel()
    for index, slot in enumerate(current.slots):
        rgba = np.clip(slot.arrays["rgba"][current.chosen_ray], 0.0, 1.0)
        x = RING * (0.8 + 1.2 * index)
        for diameter, color in ((RING + 5.0, colors.SLOTS[index]), (RING, rgba[:3])):
            place = np.array([[x, RING * 0.8, 0.0]])
            flat.discs.append((place, np.array([[*color, 1.0]]), np.float32([diameter]), np.ones(1, dtype=bool)))
    region = bpy.context.region
    cross = [at + Vector(end) * scale for end in CROSS]
    _lines(cross, (0.0, 0.0, 0.0, 0.9), 3.0 * scale)
    _lines(cross, (1.0, 1.0, 1.0, 1.0), 1.4 * scale)
    matrix = _flat_matrix() @ Matrix.Translation((*at, 0.0)) @ Matrix.Diagonal((scale, scale, 1.0, 1.0))
    gpu.state.blend_set("ALPHA")
    drawing.draw(drawing.disc_batch(flat.all_discs()), matrix, (region.width, region.height), scale)
    gpu.state.blend_set("NONE")


def forget() -> None:
    """Let go of what lies on the graphics card."""
    global _panel
    _panel = None


def _lines(places: list[Vector], color: tuple[float, float, float, float], width: float) -> None:
    shader = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    region = bpy.context.region
    shader.bind()
    shader.uniform_float("viewportSize", (region.width, region.height))
    shader.uniform_float("lineWidth", width)
    shader.uniform_float("color", color)
    gpu.state.blend_set("ALPHA")
    batch_for_shader(shader, "LINES", {"pos": [(place.x, place.y, 0.0) for place in places]}).draw(shader)
    gpu.state.blend_set("NONE")


def _flat_matrix() -> Matrix:
    return gpu.matrix.get_projection_matrix() @ gpu.matrix.get_model_view_matrix()
