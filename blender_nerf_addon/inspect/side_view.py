"""The legend's content as arrays: for each sampler its colour, its cost, and the chosen ray from its side. No bpy.

A ray that is looked along is a point on the screen; from its side it is a band from near to far, with the same bins,
samples, strip and marks as in the scene. Lengths are pixels, from the legend's lower left corner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.traces import END_REASONS
from . import colors
from .shapes import DOT, END_TEXTS, Discs, Vertices, running_values
from .state import Slot, State

WIDTH = 330.0
MARGIN = 12.0
TEXT = 11.0
ROW = 16.0
SWATCH = 30.0
BINS_HEIGHT = 22.0
DOTS_HEIGHT = 24.0
STRIP_HEIGHT = 8.0
OVERVIEW_HEIGHT = 24.0
GAP = 12.0  # between two samplers
LONGEST_NAME = 16  # of a view: more would run into what is said to its right
HEAVY = 0.03  # of the heaviest sample: what weighs less is not looked at more closely
ZOOMED = 0.5  # a closer look is worth it when it shows no more than this part
DEPTHS = {"expected_depth": colors.EXPECTED, "median_depth": colors.MEDIAN, "true_depth": colors.TRUE}
BACKGROUND = (0.06, 0.06, 0.07, 0.82)
WHITE = (0.93, 0.93, 0.93)
GREY = (0.66, 0.67, 0.69)
RED = (1.0, 0.5, 0.45)


@dataclass(frozen=True)
class Text:
    """A line of text; with `right`, x is its right end."""

    x: float
    y: float
    text: str
    color: tuple[float, float, float] = WHITE
    size: float = TEXT
    right: bool = False


@dataclass
class Panel:
    """Boxes (x0, y0, x1, y1, colour at the left, colour at the right), discs, texts; and the height of it all."""

    height: float = 0.0
    boxes: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    discs: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Any) -> None:
        """One box."""
        corners = np.array([[x0, y0, x1, y1]])
        self.boxes.append((corners, *[np.broadcast_to(np.float32(color), (1, 4))] * 2))

    def vertices(self) -> Vertices:
        """All boxes as bands."""
        if not self.boxes:
            return Vertices.joined([])
        corners, left, right = (np.concatenate(parts) for parts in zip(*self.boxes, strict=True))
        x0, y0, x1, y1 = corners.T
        zero = np.zeros_like(x0)
        places = np.stack([(x0, y0, zero), (x0, y1, zero), (x1, y0, zero), (x1, y1, zero)], axis=0)
        color = np.stack([left, left, right, right], axis=1).reshape(-1, 4)
        return _flat(places.transpose(2, 0, 1).reshape(-1, 3), color)

    def all_discs(self) -> Discs:
        """All discs."""
        if not self.discs:
            return Discs(Vertices.joined([]), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool))
        places, color, size, filled = (np.concatenate(parts) for parts in zip(*self.discs, strict=True))
        return Discs(_flat(places, color), size, filled)


def panel_of(state: State, note: str, names: Mapping[str, str]) -> Panel:
    """The legend of what is shown.

    Parameters
    ----------
    state : State
    note : str
        What else is to be said, such as that an answer is awaited; "" for nothing.
    names : mapping
        What a person calls each sampler.
    """
    panel = Panel()
    rows: list[tuple[float, Any]] = []  # from the bottom up: the height of each part, and what draws it there
    if state.error:
        for line in reversed(wrapped(state.error, 52)):
            rows.append((ROW, lambda y, line=line: panel.texts.append(Text(MARGIN, y + 4, line, RED))))
    if note:
        rows.append((ROW, lambda y: panel.texts.append(Text(MARGIN, y + 4, note, GREY))))
    if state.slots:
        rows.append((ROW + 4, lambda y: _scale_row(panel, y)))
        for index in reversed(range(len(state.slots))):
            slot = state.slots[index]
            rows.append((_slot_height(), lambda y, slot=slot, index=index: _slot(panel, y, slot, index, state, names)))
            rows.append((GAP if index else 2.0, lambda y: None))
    rows.append((ROW + 2, lambda y: _title(panel, y, state)))
    y = MARGIN - 4.0
    backs = len(panel.boxes)
    for height, fill in rows:
        fill(y)
        y += height
    panel.height = y + MARGIN - 6.0
    panel.boxes.insert(backs, _background(panel.height))
    return panel


def wrapped(text: str, width: int) -> list[str]:
    """A sentence in lines."""
    import textwrap

    return textwrap.wrap(text, width) or [text]


def sampler_title(slot: Slot, names: Mapping[str, str]) -> str:
    """What a person calls a slot's sampler, with the samples it may take."""
    used = slot.used
    name = str(used.get("name") or "")
    title = names.get(name, name.capitalize()) if name else "As Trained"
    samples = used.get("samples")
    return title if not samples else f"{title}, {samples} samples"


def _flat(places: np.ndarray, color: np.ndarray) -> Vertices:
    places = np.ascontiguousarray(places, dtype=np.float32)
    nothing = np.zeros((len(places), 3), dtype=np.float32)
    return Vertices(places, nothing, nothing[:, :2], np.ascontiguousarray(color, dtype=np.float32))


def _background(height: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    color = np.float32([BACKGROUND])
    return np.array([[0.0, 0.0, WIDTH, height]]), color, color


def _title(panel: Panel, y: float, state: State) -> None:
    pixel = state.pixel
    if pixel is None:
        panel.texts.append(Text(MARGIN, y + 4, "Inspector"))
        return
    view = state.view if len(state.view) <= LONGEST_NAME else f"{state.view[: LONGEST_NAME - 1]}\u2026"
    panel.texts.append(Text(MARGIN, y + 4, f"Pixel {int(pixel[0])}, {int(pixel[1])} of {view}"))
    count = len(state.pixels)
    state_word = "pinned" if state.pinned else "follows the pointer"
    text = state_word if count == 1 else f"{count} rays, {state_word}"
    panel.texts.append(Text(WIDTH - MARGIN, y + 4, text, GREY, right=True))


def _slot_height() -> float:
    return 3 * ROW + 4 + OVERVIEW_HEIGHT + BINS_HEIGHT + DOTS_HEIGHT + 2 * STRIP_HEIGHT + 14


def _slot(panel: Panel, y: float, slot: Slot, index: int, state: State, names: Mapping[str, str]) -> None:
    one = slot.of_ray(state.chosen_ray)
    _side(panel, y, one)
    top = y + OVERVIEW_HEIGHT + BINS_HEIGHT + DOTS_HEIGHT + 2 * STRIP_HEIGHT + 16
    rgba = np.clip(one["rgba"], 0.0, 1.0)
    left = MARGIN + SWATCH + 10
    panel.box(MARGIN - 1.5, top + 4.5, MARGIN + SWATCH + 1.5, top + 7.5 + SWATCH, (*colors.SLOTS[index], 1.0))
    panel.box(MARGIN, top + 6, MARGIN + SWATCH, top + 6 + SWATCH, (*rgba[:3], 1.0))
    panel.texts.append(Text(left, top + 2 * ROW + 3, sampler_title(slot, names), colors.SLOTS[index], TEXT + 1))
    counts = f"{int(one['full'])} full, {int(one['density_only'])} density only, {int(one['proposal'])} proposal"
    panel.texts.append(Text(left, top + ROW + 3, counts))
    seconds = slot.result.get("seconds")
    took = "" if seconds is None else f"{1000.0 * float(seconds):.1f} ms"
    if slot.rays > 1 and took:
        took += f" for {slot.rays} rays"
    panel.texts.append(Text(WIDTH - MARGIN, top + 2 * ROW + 3, took, GREY, right=True))
    reason = END_TEXTS[END_REASONS[int(one["end_reason"])]]
    where = "" if float(one["far"]) <= 0.0 else f" at {float(one['end']):.4g}"
    panel.texts.append(Text(left, top + 3, f"{reason}{where}, alpha {float(rgba[3]):.3f}", GREY))
    if index == 0 and "truth" in one:
        truth = np.clip(one["truth"], 0.0, 1.0)
        panel.box(WIDTH - MARGIN - 16, top + 2, WIDTH - MARGIN, top + 18, (*(truth[:3] * truth[3]), 1.0))
        panel.texts.append(Text(WIDTH - MARGIN - 22, top + 4, "true", colors.TRUE, right=True))


def window(one: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """The part of a ray that is worth a closer look: about the samples that weigh most, else all of it.

    Parameters
    ----------
    one : mapping
        One ray's rows, of `state.one_ray`.
    """
    near, far = float(one["near"]), float(one["far"])
    heavy = one["weight"] > HEAVY * float(one["weight"].max(initial=0.0))
    if not heavy.any():
        return near, far
    ends = [float(one["t0"][heavy].min()), float(one["t1"][heavy].max())]
    ends += [float(one[name]) for name in DEPTHS if float(one.get(name, 0.0)) > 0.0]
    low, high = min(ends), max(ends)
    around = max(0.6 * (high - low), 0.04 * (far - near))
    low, high = max(low - around, near), min(high + around, far)
    return (low, high) if 0.0 < high - low < ZOOMED * (far - near) else (near, far)


def _overview(panel: Panel, y: float, one: Mapping[str, np.ndarray], part: tuple[float, float]) -> None:
    """The whole ray in miniature, with the part that is shown larger below, and lines from one to the other."""
    near, far = float(one["near"]), float(one["far"])
    left, right = MARGIN, WIDTH - MARGIN
    middle = y + OVERVIEW_HEIGHT - 4.0
    panel.box(left, middle - 0.5, right, middle + 0.5, (*GREY, 0.6))
    x0, x1 = (left + (right - left) * (t - near) / (far - near) for t in part)
    panel.box(x0, middle - 3.0, max(x1, x0 + 2.0), middle + 3.0, (*WHITE, 0.85))
    for begin, stop in ((x0, left), (max(x1, x0 + 2.0), right)):
        steps = 36
        x = np.linspace(begin, stop, steps)
        heights = np.linspace(middle - 4.0, y + 1.0, steps)
        corners = np.stack([x - 0.5, heights - 0.5, x + 0.5, heights + 0.5], axis=-1)[::2]
        color = np.broadcast_to(np.float32((*GREY, 0.5)), (len(corners), 4))
        panel.boxes.append((corners, color, color))
    panel.texts.append(Text(left, middle + 5.0, f"{near:.3g}", GREY, 9.0))
    panel.texts.append(Text(right, middle + 5.0, f"{far:.3g}", GREY, 9.0, right=True))


def _side(panel: Panel, y: float, one: Mapping[str, np.ndarray]) -> None:
    """The ray from its side: strips at the bottom, samples on the line, bins above."""
    near, far, end = float(one["near"]), float(one["far"]), float(one["end"])
    left, right = MARGIN, WIDTH - MARGIN
    low = y + 2 * STRIP_HEIGHT + 2
    line = low + DOTS_HEIGHT / 2
    if far <= near:
        panel.box(left, line - 0.5, right, line + 0.5, (*GREY, 0.5))
        return

    whole = (near, far)
    near, far = part = window(one)
    if part != whole:
        _overview(panel, low + DOTS_HEIGHT + BINS_HEIGHT, one, part)
    end = min(max(end, near), far)

    def inside(t0: np.ndarray, t1: np.ndarray) -> np.ndarray:
        return (t1 > near) & (t0 < far)

    def across(t: Any) -> np.ndarray:
        return left + (right - left) * np.clip((np.asarray(t, dtype=np.float64) - near) / (far - near), 0.0, 1.0)

    def spans(t0: Any, t1: Any, y0: Any, y1: Any, begin: np.ndarray, stop: np.ndarray) -> None:
        x0, x1 = across(t0), across(t1)
        count = len(x0)
        corners = np.stack([x0, np.broadcast_to(y0, count), np.maximum(x1, x0 + 0.5), np.broadcast_to(y1, count)], -1)
        panel.boxes.append((corners, np.broadcast_to(begin, (count, 4)), np.broadcast_to(stop, (count, 4))))

    panel.box(left, line - 0.5, right, line + 0.5, (*GREY, 0.35))
    panel.box(left, line - 0.75, float(across(end)), line + 0.75, (*WHITE, 0.9))
    skips = inside(one["skip_t0"], one["skip_t1"])
    if skips.any():
        spans(
            one["skip_t0"][skips],
            one["skip_t1"][skips],
            line - 0.75,
            line + 0.75,
            *[np.float32((*BACKGROUND[:3], 0.75))] * 2,
        )
    bins = inside(one["bin_t0"], one["bin_t1"])
    weight = one["bin_weight"][bins]
    if len(weight):
        part = weight / max(float(one["bin_weight"].max()), 1e-12)
        color = np.concatenate([colors.scale(part), np.ones((len(part), 1))], axis=-1)
        base = low + DOTS_HEIGHT
        spans(one["bin_t0"][bins], one["bin_t1"][bins], base, base + 2.0 + (BINS_HEIGHT - 4.0) * part, color, color)
    t0, t1, passed, gained = running_values(dict(one))
    t = np.maximum.accumulate(np.clip(np.concatenate([[near], np.stack([t0, t1], -1).ravel(), [end]]), near, end))
    grey = np.concatenate([[1.0], passed.ravel(), passed[-1:, 1] if len(passed) else [1.0]])
    sums = np.concatenate([np.zeros((1, 3)), gained.reshape(-1, 3), gained[-1:, 1] if len(gained) else [[0, 0, 0]]])
    for bottom, values in ((y + STRIP_HEIGHT, np.repeat(grey[:, None], 3, axis=1)), (y, sums)):
        color = np.concatenate([np.clip(values, 0.0, 1.0), np.ones((len(values), 1))], axis=-1)
        spans(t[:-1], t[1:], bottom, bottom + STRIP_HEIGHT - 1.0, color[:-1], color[1:])
    for name, color in DEPTHS.items():
        if near <= float(one.get(name, 0.0)) <= far and float(one[name]) > 0.0:
            x = float(across(one[name]))
            panel.box(x - 0.6, y, x + 0.6, low + DOTS_HEIGHT + BINS_HEIGHT - 2, (*color, 0.8))
    order = np.argsort(one["weight"], kind="stable")
    order = order[(one["t"][order] >= near) & (one["t"][order] <= far)]
    counts = one["selected"][order].astype(bool)
    places = np.stack([across(one["t"][order]), np.full(len(order), line), np.zeros(len(order))], axis=-1)
    color = np.concatenate([np.clip(one["color"][order], 0, 1), np.ones((len(order), 1))], axis=-1)
    size = (DOT[0] + 0.75 * DOT[1] * np.sqrt(np.clip(one["weight"][order], 0.0, 1.0))) * 0.9
    panel.discs.append((places, color, np.where(counts, size, 4.0).astype(np.float32), counts))


def _scale_row(panel: Panel, y: float) -> None:
    """What the colours and marks mean."""
    x, steps = MARGIN, 24
    part = np.linspace(0.0, 1.0, steps + 1)
    color = np.concatenate([colors.scale(part), np.ones((steps + 1, 1))], axis=-1)
    edges = x + 44.0 * part
    corners = np.stack([edges[:-1], np.full(steps, y + 5.0), edges[1:], np.full(steps, y + 12.0)], axis=-1)
    panel.boxes.append((corners, color[:-1], color[1:]))
    panel.texts.append(Text(x + 50, y + 4, "bin weight", GREY))
    at = x + 122.0
    for word, mark in (("expected", colors.EXPECTED), ("median", colors.MEDIAN), ("true", colors.TRUE)):
        panel.box(at, y + 3, at + 1.5, y + 14, (*mark, 1.0))
        panel.texts.append(Text(at + 6, y + 4, word, GREY))
        at += 18.0 + 6.4 * len(word)
