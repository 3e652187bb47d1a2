"""A trace as the parts that are baked: places, edges and attributes, world units. No bpy here.

Parts: the samples (points), the rays (edges from near to end), the bins and the skipped stretches (edges from t0 to
t1), and the depths (points where a ray is expected, by its median and in truth to end).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .colors import ramp_colors, srgb_to_linear

EXPECTED, MEDIAN, TRUE = range(3)
DEPTH_COLORS = np.array([[1.0, 1.0, 1.0], [1.0, 0.86, 0.25], [0.35, 0.95, 0.45]], np.float32)  # sRGB, by `kind`
SKIP_COLOR = np.array([[0.62, 0.66, 0.72]], np.float32)

_PLAIN = ("t", "t0", "t1", "dt", "density", "weight", "transmittance", "optical_depth")
_COUNTED = ("ray", "stage")
_RAY_NUMBERS = ("near", "far", "end", "expected_depth", "median_depth", "true_depth")
_RAY_COUNTS = ("end_reason", "full", "density_only", "proposal")

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """What one object shows.

    Attributes
    ----------
    positions : (N, 3) float32 array
        World space. With edges, N is twice their number: each has two ends of its own.
    points : dict of str to array
        A row a position: (N,) float32, int32 or bool, or (N, 4) float32 scene-linear colours.
    edges : dict of str to (N / 2,) array
        A row an edge; None for loose points.
    """

    positions: np.ndarray
    points: dict[str, np.ndarray]
    edges: dict[str, np.ndarray] | None = field(default=None)


def sample_part(arrays: Arrays, radius: float = 0.0) -> Part:
    """Each sample as a point with all its values.

    Parameters
    ----------
    arrays : mapping
        What `trace` answers.
    radius : float
        Of the sample with the largest weight, world units; 0 chooses one from the samples' distance and extent.

    Returns
    -------
    Part
        `weight_color` is a colour for the weight relative to the largest one, `color` what the field answered; `radius`
        grows with the weight, so that a sample's disc has its weight as area, and stays visible where there is none.
    """
    weight = np.asarray(arrays["weight"], dtype=np.float32)
    relative = weight / max(float(weight.max()) if weight.size else 1.0, 1e-8)
    size = radius if radius > 0 else sample_radius(arrays)
    points = {name: np.asarray(arrays[name], np.float32) for name in _PLAIN if name in arrays}
    points.update({name: np.asarray(arrays[name], np.int32) for name in _COUNTED})
    if "selected" in arrays:
        points["selected"] = np.asarray(arrays["selected"]) > 0
    points["color"] = srgb_to_linear(arrays["color"])
    points["weight_color"] = ramp_colors(relative)
    points["radius"] = (size * (0.25 + 0.75 * np.sqrt(relative))).astype(np.float32)
    return Part(np.asarray(arrays["position"], np.float32), points)


def ray_part(arrays: Arrays, radius: float) -> Part:
    """Each ray as an edge from where it enters the box to where it ended; one that misses has no length."""
    near, end = np.asarray(arrays["near"], np.float32), np.asarray(arrays["end"], np.float32)
    rays = np.arange(len(near))
    rgba = np.asarray(arrays["rgba"], np.float32)
    straight = rgba[:, :3] / np.maximum(rgba[:, 3:], 1e-6) * (rgba[:, 3:] > 0)
    values = {name: np.asarray(arrays[name], np.float32) for name in _RAY_NUMBERS if name in arrays}
    values.update({name: np.asarray(arrays[name], np.int32) for name in _RAY_COUNTS})
    values["ray"], values["alpha"] = rays.astype(np.int32), rgba[:, 3]
    return _stretches(arrays, rays, near, end, srgb_to_linear(np.clip(straight, 0.0, 1.0)), values, radius)


def bin_part(arrays: Arrays, radius: float) -> Part:
    """Each bin as an edge; coloured and as thick as its density relative to its ray's largest one says."""
    ray = np.asarray(arrays["bin_ray"], np.int64)
    t0, t1 = np.asarray(arrays["bin_t0"], np.float32), np.asarray(arrays["bin_t1"], np.float32)
    weight = np.asarray(arrays["bin_weight"], np.float32)
    pdf = weight / np.maximum(t1 - t0, 1e-12)
    largest = np.zeros(len(arrays["rgba"]), np.float32)
    np.maximum.at(largest, ray, pdf)
    relative = pdf / np.maximum(largest[ray], 1e-12) if len(ray) else pdf
    values = {"ray": ray.astype(np.int32), "t0": t0, "t1": t1, "weight": weight, "pdf": pdf}
    thickness = radius * (0.3 + 0.7 * relative)
    return _stretches(arrays, ray, t0, t1, ramp_colors(relative), values, thickness, "weight_color")


def skip_part(arrays: Arrays, radius: float) -> Part:
    """Each stretch that was passed over as an edge."""
    ray = np.asarray(arrays["skip_ray"], np.int64)
    t0, t1 = np.asarray(arrays["skip_t0"], np.float32), np.asarray(arrays["skip_t1"], np.float32)
    colors = np.repeat(srgb_to_linear(SKIP_COLOR), len(ray), axis=0)
    return _stretches(arrays, ray, t0, t1, colors, {"ray": ray.astype(np.int32), "t0": t0, "t1": t1}, radius)


def depth_part(arrays: Arrays, radius: float) -> Part:
    """Expected, median and true depth as points, where there are any; `kind` says which: 0, 1 or 2."""
    depths = [np.asarray(arrays[name], np.float32) for name in ("expected_depth", "median_depth")]
    depths.append(np.asarray(arrays.get("true_depth", np.zeros_like(depths[0])), np.float32))
    table = np.stack(depths, axis=1)  # by ray, then kind
    ray, kind = np.nonzero(table > 0)
    t = table[ray, kind]
    points = {
        "kind": kind.astype(np.int32),
        "ray": ray.astype(np.int32),
        "t": t,
        "color": srgb_to_linear(DEPTH_COLORS)[kind],
        "radius": np.full(len(t), radius, np.float32),
    }
    return Part(_along(arrays, ray, t), points)


def sample_radius(arrays: Arrays) -> float:
    """So that neighbours on a ray nearly touch, but large enough to be seen from where all of them are in view."""
    dt, position = np.asarray(arrays["dt"]), np.asarray(arrays["position"])
    if not dt.size:
        return 0.01
    return max(0.6 * float(np.median(dt)), 0.012 * float(np.linalg.norm(np.ptp(position, axis=0))))


def reach(arrays: Arrays) -> float:
    """A typical length of the traced rays in the box, world units; what sizes are chosen by."""
    met = np.asarray(arrays["far"]) > np.asarray(arrays["near"])
    return float(np.median((arrays["far"] - arrays["near"])[met])) if met.any() else 1.0


def _stretches(
    arrays: Arrays,
    ray: np.ndarray,
    t0: np.ndarray,
    t1: np.ndarray,
    colors: np.ndarray,
    values: dict[str, np.ndarray],
    radius: np.ndarray | float,
    color_name: str = "color",
) -> Part:
    ends = np.stack([_along(arrays, ray, t0), _along(arrays, ray, t1)], axis=1).reshape(-1, 3)
    points = {
        "t": np.stack([t0, t1], axis=1).ravel().astype(np.float32),
        # On the points, since solid mode shows no colours of edges.
        color_name: np.repeat(colors, 2, axis=0).astype(np.float32),
    }
    widths = np.broadcast_to(np.asarray(radius, np.float32), (len(ray),)).copy()
    return Part(ends, points, {**values, "radius": widths})


def _along(arrays: Arrays, ray: np.ndarray, t: np.ndarray) -> np.ndarray:
    origin, direction = np.asarray(arrays["origin"]), np.asarray(arrays["direction"])
    return (origin[ray] + direction[ray] * np.asarray(t)[:, None]).astype(np.float32).reshape(-1, 3)
