"""What is drawn over a plot where the pointer is: a line through all rows, and a box with the values there. No bpy."""

import numpy as np

from ..vendor.nerf_core.contract.ray_axes import number
from ..vendor.nerf_core.contract.ray_plot import Plot
from . import plot_colors as ink
from .plot_data import Reading, read
from .plot_layout import SMALL, Layout
from .plot_shapes import Measure, Rect, Shapes, rough_measure

LINE, BOX, ROW, BORDER = range(4)


def readout(
    layout: Layout, t: float, at: tuple[float, float] | None, unit: str = "m", measure: Measure = rough_measure
) -> Shapes | None:
    """The line at `t` in all of a plot's rows, and a box with the values there beside the place `at`, if it is given.

    Returns
    -------
    Shapes or None
        None where `t` is not on the axis.
    """
    plot, scale = layout.plot, layout.scale
    if plot is None or not plot.whole.low <= t <= plot.whole.high:
        return None
    shapes = Shapes()
    for frame in layout.frames:
        share = float(layout.axis(frame).place(t))
        if not 0.0 <= share <= 1.0:
            continue
        place = frame.rect.left + share * frame.rect.width
        shapes.path(LINE, np.array([(place, frame.rect.low), (place, frame.rect.top)]), ink.TEXT, scale)
    if at is not None:
        _box(shapes, plot, layout, t, at, unit, measure)
    return shapes


def marker(x: float, y: float, words: str, scale: float) -> Shapes:
    """A ring about a place in a viewport, with words beside it: where on the ray a plot is read."""
    shapes = Shapes()
    center, size = np.array([[x, y]]), SMALL * scale
    angle = np.linspace(0.0, 2.0 * np.pi, 33)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    shapes.path(LINE, center + 7.0 * scale * ring, (0.0, 0.0, 0.0, 0.8), 4.0 * scale)
    shapes.path(BOX, center + 7.0 * scale * ring, (1.0, 1.0, 1.0, 1.0), 2.0 * scale)
    shapes.text(x + 13 * scale, y - 0.35 * size, words, size, (1.0, 1.0, 1.0, 1.0))
    return shapes


def _box(
    shapes: Shapes, plot: Plot, layout: Layout, t: float, at: tuple[float, float], unit: str, measure: Measure
) -> None:
    scale = layout.scale
    small, line = SMALL * scale, 14 * scale
    readings = [read(part.curves, t) for part in plot.parts]
    names = [("t", ink.TEXT), *((name, color) for name, color, _ in _values(readings[0]))]
    columns = [[f"{plot.t.text(t)} {unit}" if i == 0 else "" for i, _ in enumerate(readings)]]
    columns += [[_values(each)[row][2] for each in readings] for row in range(len(names) - 1)]
    first = max(measure(name, small) for name, _ in names) + 12 * scale
    widths = [max(measure(row[i], small) for row in columns) + 12 * scale for i in range(len(readings))]
    colors = any(each.color is not None for each in readings)
    width, height = first + sum(widths) + 8 * scale, line * (len(names) + colors) + 10 * scale
    rect = _beside(at, width, height, layout.rect, 12 * scale)
    shapes.rect(BOX, rect, (0.06, 0.06, 0.06, 0.97))
    shapes.outline(BORDER, rect, ink.BORDER, scale)
    for number_, (name, color) in enumerate(names):
        low = rect.top - 5 * scale - line * (number_ + 1) + 4 * scale
        shapes.text(rect.left + 6 * scale, low, name, small, color)
        left = rect.left + first
        for column, column_width in enumerate(widths):
            shapes.text(left + column_width, low, columns[number_][column], small, ink.TEXT, "right")
            left += column_width
    if not colors:
        return
    low = rect.top - 5 * scale - line * (len(names) + 1) + 3 * scale
    shapes.text(rect.left + 6 * scale, low + scale, "colour", small, ink.TEXT)
    left = rect.left + first
    for each, column_width in zip(readings, widths, strict=True):
        left += column_width
        if each.color is not None:
            patch = Rect(left - 26 * scale, low, 26 * scale, 10 * scale)
            shapes.rect(ROW, patch, (*(float(value) for value in np.clip(each.color, 0.0, 1.0)), 1.0))


def _values(reading: Reading) -> list[tuple[str, ink.Color, str]]:
    return [
        ("density", ink.DENSITY, number(reading.density)),
        ("weight", ink.STEM, number(reading.weight)),
        ("transmittance", ink.TRANSMITTANCE, number(reading.transmittance)),
        ("PDF", ink.PDF, number(reading.pdf)),
        ("CDF", ink.CDF, number(reading.cdf)),
    ]


def _beside(at: tuple[float, float], width: float, height: float, within: Rect, gap: float) -> Rect:
    """A box right of and above a place, or on the other side where it would leave the plot."""
    x, y = at
    left = x + gap if x + gap + width <= within.right else x - gap - width
    low = y + gap if y + gap + height <= within.top else y - gap - height
    left = min(max(left, within.left + 2), max(within.right - width - 2, within.left + 2))
    low = min(max(low, within.low + 2), max(within.top - height - 2, within.low + 2))
    return Rect(left, low, width, height)
