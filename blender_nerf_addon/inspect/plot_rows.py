"""Draws the rows of one sampler's plot: density, weight and transmittance, PDF and CDF, with their axes. No bpy."""

import numpy as np

from ..vendor.nerf_core.contract.ray_axes import Axis
from ..vendor.nerf_core.contract.ray_plot import Plot, Sampled, color_so_far, step_segments
from . import plot_colors as ink
from .plot_shapes import Color, Measure, Rect, Shapes, fit_text

FRAME, FILL, SHADE, CURVE, STEMS, DOTS, MARK = range(1, 8)  # layers
SMALL = 10.0
CHECKER = (0.32, 0.46)  # what shines through a transparent colour


def swatch(shapes: Shapes, rect: Rect, rgba: np.ndarray, scale: float, straight: bool = False) -> None:
    """A colour over a checkerboard, as much of it as its alpha says."""
    color, alpha = np.asarray(rgba[:3], dtype=np.float64), float(rgba[3])
    color = color * alpha if straight else color
    half_width, half_height = rect.width / 2, rect.height / 2
    for column in (0, 1):
        for row in (0, 1):
            behind = CHECKER[(column + row) % 2]
            mixed = np.clip(color + (1.0 - alpha) * behind, 0.0, 1.0)
            box = Rect(rect.left + column * half_width, rect.low + row * half_height, half_width, half_height)
            shapes.rect(FILL, box, (*mixed, 1.0))
    shapes.outline(CURVE, rect, ink.BORDER, scale)


class Rows:
    """Draws into one drawing.

    Parameters
    ----------
    shapes : Shapes
    plot : Plot
        For the axes.
    part : Sampled
        Whose curves.
    scale : float
        Of the interface.
    unit : str
        Of length.
    measure : callable
        How wide texts are.
    narrow : bool
        There is no room beside the curves for a second axis.
    """

    def __init__(
        self, shapes: Shapes, plot: Plot, part: Sampled, scale: float, unit: str, measure: Measure, narrow: bool
    ) -> None:
        self.shapes, self.plot, self.curves, self.part = shapes, plot, part.curves, part
        self.scale, self.unit, self.measure, self.narrow = scale, unit, measure, narrow

    def row(self, kind: str, rect: Rect, legend: float) -> None:
        """Draw a row of curves; `legend` pixels above `rect` are for what they are."""
        shapes = self.shapes
        shapes.rect(FRAME, rect, ink.FIELD)
        items = {"density": self._density, "weight": self._weight, "sampling": self._sampling}[kind](rect)
        self._shades(rect)
        if legend:
            self._legend(items, rect, legend)

    def strip(self, rect: Rect, rows: Rect | None) -> None:
        """All of the ray: the colour that has come together up to each t, as a picture would show it over the ground.

        Where the rows show a part of it, that is framed, and lines lead from there to the upper corners of `rows`.
        """
        curves, shapes, scale = self.curves, self.shapes, self.scale
        axis = self.plot.whole
        shapes.rect(FRAME, rect, ink.FIELD)
        edges, colors = color_so_far(curves, axis, np.array(ink.FIELD[:3]))
        colors = np.concatenate([colors, np.ones((len(colors), 1))], axis=-1)
        places = rect.left + axis.place(edges) * rect.width
        low, top = np.full(len(colors), rect.low), np.full(len(colors), rect.top)
        boxes = np.stack([places[:-1], low, places[1:], top], axis=-1)
        filled = boxes[:, 2] > boxes[:, 0]
        shapes.quads(FILL, boxes[filled], colors[filled])
        for begin, end in curves.skips:
            left, right = rect.left + np.clip(axis.place([begin, end]), 0.0, 1.0) * rect.width
            if right > left:
                self._hatch(Rect(left, rect.low, right - left, rect.height), 4.0, SHADE)
        if not self.narrow:
            y, small = rect.low + 0.5 * rect.height - 0.35 * SMALL * scale, SMALL * scale
            shapes.text(rect.left - 4 * scale, y, axis.text(axis.low), small, ink.TEXT_DIM, "right")
            shapes.text(rect.right + 4 * scale, y, axis.text(axis.high), small, ink.TEXT_DIM)
        if not self.plot.zoomed or rows is None:
            return
        left, right = rect.left + axis.place([self.plot.t.low, self.plot.t.high]) * rect.width
        window = Rect(left, rect.low - scale, max(right - left, 2 * scale), rect.height + 2 * scale)
        shapes.outline(MARK, window, ink.TEXT, scale)
        for begin, end in ((left, rows.left), (window.right, rows.right)):
            shapes.path(FRAME, np.array([(begin, window.low), (end, rows.top)]), ink.BORDER, scale)

    def marks(self, rects: list[Rect], above: float, levels: int) -> None:
        """Lines through all rows at near, far, end and the depths; names on `levels` lines `above`."""
        curves, scale, told = self.curves, self.scale, self.plot.t.text
        wanted: list[tuple[str, float, Color, float]] = []
        if curves.true_depth > 0:
            wanted.append((f"true {told(curves.true_depth)}", curves.true_depth, ink.TRUE, 0.0))
        if curves.median_depth > 0:
            wanted.append((f"median {told(curves.median_depth)}", curves.median_depth, ink.MEDIAN, 2.0))
        if curves.expected_depth > 0:
            wanted.append((f"expected {told(curves.expected_depth)}", curves.expected_depth, ink.EXPECTED, 5.0))
        if curves.end_reason == "opaque" and curves.end < curves.far:
            wanted.append((f"ended: {curves.end_reason}", curves.end, ink.END, 1.5))
        if not curves.missed:
            wanted += [("", curves.near, ink.EDGE, 3.0), ("", curves.far, ink.EDGE, 3.0)]
        taken: list[list[tuple[float, float]]] = [[] for _ in range(levels)]
        for text, t, color, dash in wanted:
            if not self.plot.t.low - 1e-9 <= t <= self.plot.t.high + 1e-9:
                continue
            x = float(self._x(np.array([t]), rects[0])[0])
            for rect in rects:
                if dash:
                    self.shapes.dashes(
                        MARK, (x, rect.low), (x, rect.top), ink.faded(color, 0.9), 1.3 * scale, dash * scale
                    )
                else:
                    self.shapes.path(MARK, np.array([(x, rect.low), (x, rect.top)]), ink.faded(color, 0.9), 1.6 * scale)
            if text:
                self._name_mark(text, x, color, rects[0], above, taken)

    def t_axis(self, rect: Rect, low: float, labelled: bool) -> None:
        """Ticks of t below the lowest row."""
        shapes, scale, small = self.shapes, self.scale, SMALL * self.scale
        y = rect.low - small - 3 * scale
        ticks = self.plot.t.ticks(int(rect.width / (55 * scale)))
        for value, text in ticks:
            x = float(self._x(np.array([value]), rect)[0])
            shapes.segments(FRAME, np.array([(x, rect.low), (x, rect.low - 3 * scale)]), ink.EDGE, scale)
            shapes.text(x, y, text, small, ink.TEXT_DIM, "center")
        if labelled and not self.narrow:
            name = f"t: distance from the camera ({self.unit})"
            text = fit_text(name, small, rect.width, self.measure)
            shapes.text(rect.left + rect.width / 2, low, text, small, ink.TEXT_DIM, "center")

    def _name_mark(
        self, text: str, x: float, color: Color, rect: Rect, above: float, taken: list[list[tuple[float, float]]]
    ) -> None:
        """Write a mark's name on the first line where it fits, centred on the mark or to one side of it."""
        small, scale = SMALL * self.scale, self.scale
        width = self.measure(text, small)
        for level, spans in enumerate(taken):
            for left in (x - width / 2, x + 3 * scale, x - width - 3 * scale):
                left = min(max(left, rect.left - 20 * scale), rect.right + 20 * scale - width)
                if all(left + width < begin - 5 * scale or left > end + 5 * scale for begin, end in spans):
                    spans.append((left, left + width))
                    self.shapes.text(left, above + level * 12 * scale, text, small, color)
                    return

    def _density(self, rect: Rect) -> list[tuple[str, Color, str]]:
        curves, axis = self.curves, self.plot.density
        self._y_axis(axis, rect, "left")
        items = [("fill", ink.DENSITY, "density" if self.narrow else f"density per {self.unit}")]
        if len(curves.first_t0):
            self._steps(curves.first_t0, curves.first_t1, curves.first_density, axis, rect, ink.FIRST, 0.0)
            items.append(("line", ink.FIRST, "first look"))
        if len(curves.skips):
            items.append(("hatch", ink.HATCH, "skipped: empty"))
        self._steps(curves.t0, curves.t1, curves.density, axis, rect, ink.DENSITY, 0.35)
        self._needles(curves.t, curves.density, axis, rect)
        return items

    def _weight(self, rect: Rect) -> list[tuple[str, Color, str]]:
        curves, axis = self.curves, self.part.weight_axis
        self._y_axis(axis, rect, "left")
        if not self.narrow:
            self._y_axis(Axis(0.0, 1.0), rect, "right")
        inside = (curves.t >= self.plot.t.low) & (curves.t <= self.plot.t.high)
        t, weight = curves.t[inside], curves.weight[inside]
        color = np.concatenate([np.clip(curves.color[inside], 0.0, 1.0), np.ones((len(t), 1))], axis=-1)
        if len(t) > rect.width / (3 * self.scale):
            self._bars(curves.t0[inside], curves.t1[inside], weight, color, rect)
        else:
            self._stems(t, weight, color, rect)
        self._line(*curves.transmittance_line(), Axis(0.0, 1.0), rect, ink.TRANSMITTANCE)
        named = "weight" if self.narrow else "weight, in its sample's colour"
        return [("dot", ink.STEM, named), ("line", ink.TRANSMITTANCE, "transmittance")]

    def _sampling(self, rect: Rect) -> list[tuple[str, Color, str]]:
        curves, axis, whole = self.curves, self.plot.pdf, Axis(0.0, 1.0)
        if not self.narrow:
            self._y_axis(whole, rect, "right")
        items = []
        if len(curves.bin_mass):
            self._y_axis(axis, rect, "left")
            self._steps(curves.bin_t0, curves.bin_t1, curves.pdf, axis, rect, ink.PDF, 0.4)
            self._line(*curves.cdf_line(), whole, rect, ink.CDF)
            items = [("fill", ink.PDF, "PDF" if self.narrow else f"PDF per {self.unit}"), ("line", ink.CDF, "CDF")]
        self._line(*curves.accumulated_line(), whole, rect, ink.ACCUMULATED)
        items.append(("line", ink.ACCUMULATED, "weight so far"))
        if not len(curves.bin_mass):
            items.append(("", ink.TEXT_DIM, "no PDF: evenly placed"))
        return items

    def _steps(
        self, t0: np.ndarray, t1: np.ndarray, values: np.ndarray, axis: Axis, rect: Rect, color: Color, fill: float
    ) -> None:
        low, high = self.plot.t.low, self.plot.t.high
        shown = (t1 >= low) & (t0 <= high)
        left, right = (self._x(np.clip(t[shown], low, high), rect) for t in (t0, t1))
        y = self._y(values[shown], axis, rect)
        if fill:
            filled = np.stack([left, np.full_like(left, rect.low), right, y], axis=-1)
            self.shapes.quads(FILL, filled, ink.faded(color, fill))
        self.shapes.segments(CURVE, step_segments(left, right, y, rect.low), color, 1.5 * self.scale)

    def _needles(self, t: np.ndarray, values: np.ndarray, axis: Axis, rect: Rect) -> None:
        """Where the field was asked: a dot on the step, where the dots do not run together."""
        shown = (t >= self.plot.t.low) & (t <= self.plot.t.high)
        if not 0 < shown.sum() <= rect.width / (7 * self.scale):
            return
        places = np.stack([self._x(t[shown], rect), self._y(values[shown], axis, rect)], axis=-1)
        self.shapes.discs(DOTS, places, 1.7 * self.scale, ink.DENSITY)

    def _bars(self, t0: np.ndarray, t1: np.ndarray, weight: np.ndarray, color: np.ndarray, rect: Rect) -> None:
        low, high = self.plot.t.low, self.plot.t.high
        left, right = self._x(np.clip(t0, low, high), rect), self._x(np.clip(t1, low, high), rect)
        right = np.maximum(right, left + 1.0)
        y = self._y(weight, self.part.weight_axis, rect)
        self.shapes.quads(FILL, np.stack([left, np.full_like(left, rect.low), right, y], axis=-1), color)
        tops = np.stack([np.stack([left, y], axis=-1), np.stack([right, y], axis=-1)], axis=1).reshape(-1, 2)
        self.shapes.segments(STEMS, tops, ink.STEM, self.scale)

    def _stems(self, t: np.ndarray, weight: np.ndarray, color: np.ndarray, rect: Rect) -> None:
        x, y = self._x(t, rect), self._y(weight, self.part.weight_axis, rect)
        foot = np.stack([x, np.full_like(x, rect.low)], axis=-1)
        head = np.stack([x, y], axis=-1)
        counts = weight > 0.002 * self.part.weight_axis.high
        self.shapes.segments(STEMS, np.stack([foot, head], axis=1)[counts].reshape(-1, 2), ink.STEM, 1.3 * self.scale)
        idle = foot[~counts] + (0.0, 1.5 * self.scale)
        self.shapes.discs(STEMS, idle, 1.4 * self.scale, ink.IDLE)
        size = np.clip(0.3 * rect.width / max(len(t), 1), 2.2 * self.scale, 5.0 * self.scale)
        self.shapes.discs(DOTS, head[counts], size + 1.0 * self.scale, ink.STEM)
        self.shapes.discs(DOTS + 10, head[counts], size, color[counts])

    def _line(self, t: np.ndarray, values: np.ndarray, axis: Axis, rect: Rect, color: Color) -> None:
        """A polyline over the whole axis: on both sides it goes on as it begins and ends."""
        if not len(t):
            return
        low, high = self.plot.t.low, self.plot.t.high
        inside = (t > low) & (t < high)
        ends = np.interp([low, high], t, values)
        places = self._x(np.concatenate([[low], t[inside], [high]]), rect)
        y = self._y(np.concatenate([ends[:1], values[inside], ends[1:]]), axis, rect)
        self.shapes.path(CURVE, np.stack([places, y], axis=-1), color, 1.8 * self.scale)

    def _shades(self, rect: Rect) -> None:
        """Hatch what was skipped; darken what lies outside the box or was not looked at."""
        curves, shapes = self.curves, self.shapes
        low, high = self.plot.t.low, self.plot.t.high
        if curves.missed:
            shapes.rect(SHADE, rect, ink.BESIDE)
            return
        ended = curves.end if curves.near < curves.end < curves.far else curves.far
        for begin, end in ((low, curves.near), (ended, high)):
            if end > begin:
                left, right = self._x(np.clip([begin, end], low, high), rect)
                shapes.rect(FRAME, Rect(left, rect.low, right - left, rect.height), ink.BESIDE)
        skips = np.clip(curves.skips, low, high)
        for begin, end in skips[skips[:, 1] > skips[:, 0]]:
            self._hatch(Rect(*self._span(begin, end, rect)))

    def _span(self, begin: float, end: float, rect: Rect) -> tuple[float, float, float, float]:
        left, right = self._x(np.array([begin, end]), rect)
        return left, rect.low, right - left, rect.height

    def _hatch(self, rect: Rect, apart: float = 7.0, layer: int = FRAME) -> None:
        """Lines at 45 degrees, cut at the rectangle's edges."""
        step = apart * self.scale
        first = rect.left - rect.height
        starts = np.arange(np.ceil(first / step) * step, rect.right, step)  # where a line meets the foot
        low = np.maximum(starts, rect.left)
        high = np.minimum(starts + rect.height, rect.right)
        keep = high > low
        ends = np.stack(
            [
                np.stack([low, rect.low + low - starts], axis=-1),
                np.stack([high, rect.low + high - starts], axis=-1),
            ],
            axis=1,
        )[keep]
        self.shapes.segments(layer, ends.reshape(-1, 2), ink.HATCH, self.scale)

    def _y_axis(self, axis: Axis, rect: Rect, side: str) -> None:
        shapes, scale, small = self.shapes, self.scale, SMALL * self.scale
        ticks = axis.ticks(max(2, int(rect.height / (24 * scale))))
        for value, text in ticks:
            y = float(self._y(np.array([value]), axis, rect)[0])
            if side == "left":
                shapes.segments(FRAME, np.array([(rect.left, y), (rect.right, y)]), ink.GRID, scale)
                shapes.text(rect.left - 4 * scale, y - 0.35 * small, text, small, ink.TEXT_DIM, "right")
            else:
                shapes.text(rect.right + 4 * scale, y - 0.35 * small, text, small, ink.TEXT_DIM)

    def _legend(self, items: list[tuple[str, Color, str]], rect: Rect, height: float) -> None:
        shapes, scale, small = self.shapes, self.scale, SMALL * self.scale
        x, y = rect.left, rect.top + 4 * scale
        for kind, color, text in items:
            key = 12 * scale if kind else 0.0
            text = fit_text(text, small, rect.right - x - key - 4 * scale, self.measure)
            if not text:
                return
            middle = y + 0.35 * small
            if kind == "fill":
                shapes.rect(FILL, Rect(x, middle - 4 * scale, 9 * scale, 8 * scale), ink.faded(color, 0.55))
                shapes.path(CURVE, np.array([(x, middle + 4 * scale), (x + 9 * scale, middle + 4 * scale)]), color, 1.5)
            elif kind == "line":
                shapes.path(CURVE, np.array([(x, middle), (x + 9 * scale, middle)]), color, 2.0 * scale)
            elif kind == "hatch":
                self._hatch(Rect(x, middle - 4 * scale, 9 * scale, 8 * scale), 3.5)
            elif kind == "dot":
                shapes.discs(DOTS, np.array([(x + 4.5 * scale, middle)]), 3.5 * scale, color)
            shapes.text(x + key, y, text, small, ink.TEXT)
            x += key + self.measure(text, small) + 14 * scale

    def _x(self, t: np.ndarray, rect: Rect) -> np.ndarray:
        return rect.left + self.plot.t.place(t) * rect.width

    def _y(self, values: np.ndarray, axis: Axis, rect: Rect) -> np.ndarray:
        return rect.low + np.clip(axis.place(values), 0.0, 1.0) * rect.height
