"""Where a plot's parts go in a rectangle: headings, rows of curves, axes; for any size and interface scale. No bpy."""

from dataclasses import dataclass

from ..vendor.nerf_core.contract.ray_axes import Axis, color_difference
from ..vendor.nerf_core.contract.ray_curves import RayCurves
from ..vendor.nerf_core.contract.ray_plot import Plot, Sampled
from . import plot_rows
from .plot_colors import BORDER, GROUND, SAMPLERS, TEXT_DIM, TRANSPARENT_GROUND
from .plot_shapes import Color, Measure, Rect, Shapes, fit_text, rough_measure

ROWS = ("weight", "density", "sampling")
"""By importance: the last ones go first where there is no room."""
ORDER = ("density", "weight", "sampling")  # from above
SIZE, SMALL = 11.0, 10.0  # of texts, in points of Blender's interface
LEAST_ROW = 44.0  # pixels high, at interface scale 1
NO_RAY = "Click a pixel of a NeRF to see its ray here"


@dataclass(frozen=True)
class Frame:
    """One row of curves on the screen, or the strip of the whole ray.

    Attributes
    ----------
    rect : Rect
        Of the curves themselves.
    part : int
        Which sampler.
    kind : str
        One of `ROWS`, or "strip".
    """

    rect: Rect
    part: int
    kind: str


@dataclass(frozen=True)
class Layout:
    """A drawing with the places of its curves."""

    shapes: Shapes
    frames: tuple[Frame, ...]
    rect: Rect
    plot: Plot | None
    scale: float

    def t_at(self, x: float, y: float) -> float | None:
        """The distance that is shown at a place; None beside the curves."""
        frame = self.frame_at(x, y)
        return None if frame is None else self.axis(frame).value((x - frame.rect.left) / frame.rect.width)

    def axis(self, frame: Frame) -> Axis:
        """Of distance, along a frame."""
        return self.plot.whole if frame.kind == "strip" else self.plot.t

    def frame_at(self, x: float, y: float) -> Frame | None:
        """The row at a place, or just above or below one."""
        for frame in self.frames:
            grown = Rect(frame.rect.left, frame.rect.low - 14 * self.scale, frame.rect.width, frame.rect.height)
            if frame.rect.holds(x, y) or grown.holds(x, y):
                return frame
        return None


def compose(
    plot: Plot | None,
    rect: Rect,
    scale: float = 1.0,
    rows: tuple[str, ...] = ROWS,
    unit: str = "m",
    measure: Measure = rough_measure,
    see_through: bool = False,
    ground: Rect | None = None,
) -> Layout:
    """Lay a plot out.

    Parameters
    ----------
    plot : Plot or None
        None: a sentence says how to come to one.
    rect : Rect
        Where.
    scale : float
        Of the interface.
    rows : tuple of str
        Which of `ROWS` are wanted; where they do not fit, the less important ones are left out.
    unit : str
        Of length.
    measure : callable
        How wide texts are.
    see_through : bool
        Let a little of what is behind shine through, with a border, as a card in a viewport.
    ground : Rect, optional
        What is filled with the plot's ground; by default `rect`.
    """
    shapes = Shapes()
    shapes.rect(0, ground or rect, TRANSPARENT_GROUND if see_through else GROUND)
    if see_through:
        shapes.outline(0, rect, BORDER, scale)
    if plot is None:
        size = SIZE * scale
        text = fit_text(NO_RAY, size, rect.width - 20 * scale, measure)
        shapes.text(rect.left + rect.width / 2, rect.low + rect.height / 2, text, size, TEXT_DIM, "center")
        return Layout(shapes, (), rect, None, scale)
    margin = (6 if rect.width < 420 * scale else 10) * scale
    inner = Rect(rect.left + margin, rect.low + margin, rect.width - 2 * margin, rect.height - 2 * margin)
    if plot.heading and rect.height > 250 * scale:
        inner = _heading(shapes, plot, inner, scale, measure)
    frames: list[Frame] = []
    for index, area in enumerate(_areas(inner, len(plot.parts), margin)):
        last = index == len(plot.parts) - 1 or area.low == inner.low
        frames += _part(shapes, plot, index, area, scale, rows, unit, measure, last)
    return Layout(shapes, tuple(frames), rect, plot, scale)


def _areas(inner: Rect, count: int, gap: float) -> list[Rect]:
    """One area, or two: side by side where it is wide, else one above the other."""
    if count == 1:
        return [inner]
    if inner.width > 1.25 * inner.height:
        width = (inner.width - 2 * gap) / 2
        return [Rect(inner.left + i * (width + 2 * gap), inner.low, width, inner.height) for i in (0, 1)]
    height = (inner.height - gap) / 2
    return [Rect(inner.left, inner.low + i * (height + gap), inner.width, height) for i in (1, 0)]


def _heading(shapes: Shapes, plot: Plot, inner: Rect, scale: float, measure: Measure) -> Rect:
    """Which ray, and how far the two samplers' colours are from each other; returns what is left below."""
    size = SIZE * scale
    y = inner.top - size
    text = plot.heading
    if len(plot.parts) == 2:
        first, second = (part.curves.rgba for part in plot.parts)
        apart = f"colours differ by {color_difference(first, second):.0f}/255"
        width = measure(apart, size)
        if width + measure(text, size) + 20 * scale < inner.width:
            shapes.text(inner.right, y, apart, size, TEXT_DIM, "right")
    shapes.text(inner.left, y, fit_text(text, size, inner.width, measure), size, TEXT_DIM)
    return Rect(inner.left, inner.low, inner.width, inner.height - size - 7 * scale)


def _part(
    shapes: Shapes,
    plot: Plot,
    index: int,
    area: Rect,
    scale: float,
    rows: tuple[str, ...],
    unit: str,
    measure: Measure,
    labelled: bool,
) -> list[Frame]:
    """One sampler's headings and rows; returns their frames."""
    part = plot.parts[index]
    top = _titles(shapes, part, area, scale, measure, SAMPLERS[index])
    narrow = area.width < 340 * scale
    left = area.left + (30 if narrow else 46) * scale
    right = area.right - (4 if narrow else 26) * scale
    foot = area.low + (15 if narrow else 28) * scale
    strip = Rect(left, top - 9 * scale, right - left, 8 * scale)
    top = strip.low - 5 * scale
    # Names of the marks stand above the rows where there is room for them.
    room = top - foot
    levels = 2 if room > 230 * scale else 1 if room > 100 * scale else 0
    top -= levels * 12 * scale
    kinds = _fitting(rows, top - foot, scale)
    legend = 15 * scale if (top - foot) / max(len(kinds), 1) > 58 * scale else 0.0
    gap = 5 * scale
    height = (top - foot - gap * (len(kinds) - 1)) / max(len(kinds), 1) - legend
    frames = []
    for number, kind in enumerate(kinds):
        low = top - (number + 1) * (height + legend) - number * gap
        frames.append(Frame(Rect(left, low, right - left, height), index, kind))
    draw = plot_rows.Rows(shapes, plot, part, scale, unit, measure, narrow)
    upper = Rect(left, top - 1, right - left, 0.0)
    draw.strip(strip, upper)
    for frame in frames:
        draw.row(frame.kind, frame.rect, legend)
    if frames:
        draw.marks([frame.rect for frame in frames], top + 3 * scale, levels)
        draw.t_axis(frames[-1].rect, area.low, labelled)
    return [Frame(strip, index, "strip"), *frames]


def _fitting(rows: tuple[str, ...], height: float, scale: float) -> list[str]:
    """Which rows there is room for, from above."""
    most = max(1, int(height / (LEAST_ROW * scale)))
    kept = [kind for kind in ROWS if kind in rows][:most]
    return [kind for kind in ORDER if kind in kept]


def _titles(shapes: Shapes, part: Sampled, area: Rect, scale: float, measure: Measure, color: Color) -> float:
    """The sampler, its colour beside the true one, and its cost; returns the height below them."""
    size, small = 13 * scale, SMALL * scale
    curves = part.curves
    two_lines = area.height > 150 * scale
    side = (26 if two_lines else 14) * scale
    right = area.right
    top = area.top
    if curves.truth is not None:
        swatch = Rect(right - side, top - side, side, side)
        plot_rows.swatch(shapes, swatch, curves.truth, scale, straight=True)
        right = swatch.left - 1 * scale
    swatch = Rect(right - side, top - side, side, side)
    plot_rows.swatch(shapes, swatch, curves.rgba, scale)
    right = swatch.left - 6 * scale
    if area.width > 360 * scale:
        right = _colour_words(shapes, curves, right, top, scale, measure, two_lines)
    width = right - area.left
    if not two_lines:
        text = fit_text(f"{part.title}   {part.cost}", small, width, measure)
        shapes.text(area.left, top - small, text, small, color)
        return top - side - 3 * scale
    shapes.text(area.left, top - 11 * scale, fit_text(part.title, size, width, measure), size, color)
    shapes.text(area.left, top - 25 * scale, fit_text(part.cost, small, width, measure), small, TEXT_DIM)
    return top - side - 6 * scale


def _colour_words(
    shapes: Shapes, curves: RayCurves, right: float, top: float, scale: float, measure: Measure, two: bool
) -> float:
    """What the swatches are, left of them; returns where that begins."""
    small = SMALL * scale
    lines = [f"alpha {curves.rgba[3]:.2f}"]
    if curves.truth is not None:
        straight_alpha = curves.truth[3]
        apart = color_difference(curves.rgba, curves.truth[:3] * straight_alpha)
        lines = ["predicted | true", f"off by {apart:.0f}/255"]
    elif two:
        lines = ["predicted", *lines]
    for number, text in enumerate(lines[: 2 if two else 1]):
        shapes.text(right, top - (11 + 14 * number) * scale, text, small, TEXT_DIM, "right")
    return right - max(measure(text, small) for text in lines) - 10 * scale
