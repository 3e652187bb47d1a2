"""Keyframes: values at frames, with the interpolation that is meant whatever the person's preferences say."""

from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np

from .. import compat
from ..importers.point_display import KIND_KEY

KIND = "explainer"  # marks all that a story is made of


def key(
    item: bpy.types.ID, path: str, keys: Sequence[tuple[float, Any]], how: str = "CUBIC", easing: str = "EASE_IN_OUT"
) -> None:
    """Give a property its keyframes.

    Parameters
    ----------
    item : ID
    path : str
        A property of it, of one number or several.
    keys : sequence of (frame, value)
        In the order of frames; a later one replaces one of the same frame.
    how : str
        Interpolation after each key: 'CONSTANT', 'LINEAR', 'CUBIC', 'BACK' ...
    easing : str
    """
    table = {float(frame): np.atleast_1d(np.asarray(value, dtype=np.float64)) for frame, value in keys}
    width = len(next(iter(table.values())))
    is_array = width > 1
    for index in range(width):
        curve = compat.ensure_curve(item, path, index if is_array else 0, KIND_KEY, KIND)
        for frame in sorted(table):
            point = curve.keyframe_points.insert(frame, float(table[frame][index]), options={"FAST"})
            point.interpolation, point.easing = how, easing
        curve.update()
    # So that the scene is right before a frame is set, too.
    first = table[min(table)]
    setattr(item, path, first if is_array else type(getattr(item, path))(first[0]))


def pop(item: bpy.types.Object, at: float, gone: float | None = None, frames: float = 10.0) -> None:
    """Let an object appear by growing, and, if wanted, shrink away; it keeps the scale that it has now."""
    whole = np.array(item.scale)
    keys = [(at - 1.0, 0.0 * whole), (at, 0.0 * whole), (at + frames, whole)]
    key(item, "scale", keys, "BACK", "EASE_OUT")
    spans = [(at, None)]
    if gone is not None:
        key(item, "scale", [(gone, whole), (gone + 0.7 * frames, 0.0 * whole)], "CUBIC", "EASE_IN")
        spans = [(at, gone + 0.7 * frames)]
    show(item, spans)


def show(item: bpy.types.Object, spans: Sequence[tuple[float, float | None]]) -> None:
    """Have an object there from each first frame up to, not including, the second (None: the end), and else nowhere."""
    keys: list[tuple[float, float]] = [(0.0, 1.0)]
    for begin, end in spans:
        keys.append((begin, 0.0))
        if end is not None:
            keys.append((end, 1.0))
    for path in ("hide_viewport", "hide_render"):
        key(item, path, keys, "CONSTANT")


def hide(item: bpy.types.Object, begin: float, end: float) -> None:
    """Take an object away between two frames; what it is before and after stays as it was keyed."""
    for path in ("hide_viewport", "hide_render"):
        before = getattr(item, path)
        key(item, path, [(begin, 1.0), (end, 0.0)], "CONSTANT")
        setattr(item, path, before)
