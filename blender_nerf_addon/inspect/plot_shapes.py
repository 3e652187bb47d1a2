"""What a drawing is made of: triangles, lines, texts in layers, in pixels from a region's lower left corner. No bpy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

Color = tuple[float, float, float, float]
Measure = Callable[[str, float], float]
"""How wide a text of a size is, in pixels."""
CORNERS = 20  # of a disc


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels, y up."""

    left: float
    low: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Its right edge."""
        return self.left + self.width

    @property
    def top(self) -> float:
        """Its upper edge."""
        return self.low + self.height

    def holds(self, x: float, y: float) -> bool:
        """Whether a place lies within it."""
        return self.left <= x <= self.right and self.low <= y <= self.top


@dataclass(frozen=True)
class Text:
    """A line of text; `x` is where `anchor` ("left", "center", "right") of its baseline lies."""

    x: float
    y: float
    text: str
    size: float
    color: Color
    anchor: str = "left"


@dataclass
class Layer:
    """What is drawn together: triangles first, then lines by their width in pixels."""

    corners: list[np.ndarray] = field(default_factory=list)
    corner_colors: list[np.ndarray] = field(default_factory=list)
    ends: dict[float, list[np.ndarray]] = field(default_factory=dict)
    end_colors: dict[float, list[np.ndarray]] = field(default_factory=dict)


@dataclass
class Shapes:
    """A drawing; later layers lie over earlier ones, texts over all.

    Attributes
    ----------
    layers : dict of int to Layer
    texts : list of Text
    """

    layers: dict[int, Layer] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)

    def triangles(self, layer: int, corners: np.ndarray, colors: np.ndarray) -> None:
        """Add (3 N, 2) corners with (3 N, 4) colours, or with one for all."""
        if len(corners):
            into = self._layer(layer)
            into.corners.append(np.asarray(corners, dtype=np.float32))
            into.corner_colors.append(_colors(colors, len(corners)))

    def segments(self, layer: int, ends: np.ndarray, colors: np.ndarray | Color, width: float) -> None:
        """Add lines between pairs of (2 N, 2) places, with (2 N, 4) colours or one for all."""
        if len(ends):
            into = self._layer(layer)
            into.ends.setdefault(width, []).append(np.asarray(ends, dtype=np.float32))
            into.end_colors.setdefault(width, []).append(_colors(colors, len(ends)))

    def quads(self, layer: int, boxes: np.ndarray, left: np.ndarray | Color, right: np.ndarray | None = None) -> None:
        """Add (N, 4) boxes (left, low, right, top), in (N, 4) colours at their left and at their right edges."""
        boxes = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        if not len(boxes):
            return
        low_left, low_right, top_right, top_left = (boxes[:, pair] for pair in ([0, 1], [2, 1], [2, 3], [0, 3]))
        corners = np.stack([low_left, low_right, top_right, low_left, top_right, top_left], axis=1)
        begin = _colors(left, len(boxes))
        end = begin if right is None else _colors(right, len(boxes))
        colors = np.stack([begin, end, end, begin, end, begin], axis=1)
        self.triangles(layer, corners.reshape(-1, 2), colors.reshape(-1, 4))

    def rect(self, layer: int, rect: Rect, color: Color) -> None:
        """Add a filled rectangle."""
        self.quads(layer, np.array([[rect.left, rect.low, rect.right, rect.top]]), color)

    def outline(self, layer: int, rect: Rect, color: Color, width: float) -> None:
        """Add a rectangle's edges."""
        corners = [(rect.left, rect.low), (rect.right, rect.low), (rect.right, rect.top), (rect.left, rect.top)]
        self.path(layer, np.array([*corners, corners[0]]), color, width)

    def path(self, layer: int, points: np.ndarray, color: np.ndarray | Color, width: float) -> None:
        """Add a line through (N, 2) places."""
        if len(points) > 1:
            self.segments(layer, np.stack([points[:-1], points[1:]], axis=1).reshape(-1, 2), color, width)

    def dashes(
        self, layer: int, begin: Sequence[float], end: Sequence[float], color: Color, width: float, dash: float
    ) -> None:
        """Add a dashed line; a `dash` is as long as the gap behind it."""
        first, last = np.asarray(begin, dtype=np.float64), np.asarray(end, dtype=np.float64)
        length = float(np.linalg.norm(last - first))
        if length <= 0:
            return
        starts = np.arange(0.0, length, 2.0 * dash)
        along = np.stack([starts, np.minimum(starts + dash, length)], axis=-1).reshape(-1, 1) / length
        self.segments(layer, first + along * (last - first), color, width)

    def discs(self, layer: int, centers: np.ndarray, radius: np.ndarray | float, colors: np.ndarray | Color) -> None:
        """Add filled discs about (N, 2) places; their edges are lines, which are drawn smoothly."""
        count = len(centers)
        if not count:
            return
        angle = np.linspace(0.0, 2.0 * np.pi, CORNERS + 1)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        radius = np.broadcast_to(np.asarray(radius, dtype=np.float64), (count,))
        rim = centers[:, None] + radius[:, None, None] * circle
        middle = np.broadcast_to(centers[:, None], (count, CORNERS, 2))
        fans = np.stack([middle, rim[:, :-1], rim[:, 1:]], axis=2).reshape(-1, 2)
        each = _colors(colors, count)
        self.triangles(layer, fans, np.repeat(each, 3 * CORNERS, axis=0))
        edges = np.stack([rim[:, :-1], rim[:, 1:]], axis=2).reshape(-1, 2)
        self.segments(layer, edges, np.repeat(each, 2 * CORNERS, axis=0), 1.5)

    def text(self, x: float, y: float, text: str, size: float, color: Color, anchor: str = "left") -> None:
        """Add a line of text."""
        if text:
            self.texts.append(Text(x, y, text, size, color, anchor))

    def _layer(self, number: int) -> Layer:
        return self.layers.setdefault(number, Layer())


def fit_text(text: str, size: float, width: float, measure: Measure) -> str:
    """A text, or as much of it as fits in front of three dots; empty where nothing does."""
    if measure(text, size) <= width:
        return text
    for length in range(len(text) - 1, 0, -1):
        shorter = text[:length].rstrip(" ,·") + "…"
        if measure(shorter, size) <= width:
            return shorter
    return ""


def rough_measure(text: str, size: float) -> float:
    """About how wide a text is, where no font can be asked."""
    return 0.56 * size * len(text)


def _colors(colors: np.ndarray | Color, count: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(colors, dtype=np.float32), (count, 4))
