"""The `dataset` request: what a data set holds, for showing it in Blender."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..data.describe import describe_dataset
from ..data.placement import Placement
from .params import Params

MOST_POINTS = 100_000  # sparse points that are sent, evenly picked where there are more: Blender pauses over them


def describe(
    params: Params, should_stop: Callable[[], bool], on_progress: Callable[[float], None]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Result and arrays of a `dataset` request.

    Parameters
    ----------
    params : Params
        `data` (path), `orientation` and `scale` (of `data.placement`; optional).
    should_stop, on_progress : callable
        As `describe_dataset` takes them.

    Returns
    -------
    result, arrays
        `kind`, `bounds` (2x3), `color_space`, `has_alpha`, `placement`, `xray` (None but for radiographs), and
        `frames`, each with `name`, `image`
        (absolute path), `split` and `camera`; `points` f4 (N, 3) in the world and `color` f4 (N, 3) straight sRGB.
    """
    values = {key: params.optional_text(key) for key in ("orientation", "scale")}
    placement = Placement.from_dict(values)
    found = describe_dataset(params.text("data"), placement, on_progress, should_stop)
    frames = [
        {"name": frame.name, "image": str(frame.image), "split": frame.split, "camera": frame.camera.to_dict()}
        for frame in found.frames
    ]
    result = {
        "kind": found.kind,
        "bounds": found.bounds.tolist(),
        "color_space": found.color_space,
        "has_alpha": found.has_alpha,
        "placement": placement.to_dict(),
        "frames": frames,
        "xray": None if found.xray is None else found.xray.to_dict(),
    }
    points = np.empty((0, 3)) if found.points is None else found.points
    colors = np.empty((0, 3)) if found.colors is None else found.colors
    if len(points) > MOST_POINTS:
        picked = np.linspace(0, len(points) - 1, MOST_POINTS).astype(np.int64)
        points, colors = points[picked], colors[picked]
    return result, {"points": points.astype(np.float32), "color": colors.astype(np.float32) / np.float32(255)}
