"""Traces made by hand for tests: consistent in every array, with what they show known in closed form."""

from dataclasses import fields

import numpy as np

from nerf_core.methods.trace import StageSamples, Stretches, Trace, assemble

BALL, RADIUS, DENSITY = np.array([0.0, 0.0, 0.0]), 0.5, 12.0
COLOR = np.array([0.8, 0.4, 0.2])
BOX = np.array([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])


def trace_of(ray: np.ndarray, t: np.ndarray, rays: int | None = None, **known: np.ndarray) -> Trace:
    """A trace of which only some arrays matter: the others have the right shape and plain values."""
    count, rays = len(t), int(np.max(ray, initial=-1)) + 1 if rays is None else rays
    one, zero = np.ones(count, np.float32), np.zeros(count, np.float32)
    values = {
        "t0": t - 0.5,
        "t1": t + 0.5,
        "dt": one,
        "position": np.zeros((count, 3), np.float32),
        "density": one,
        "color": np.full((count, 3), 0.5, np.float32),
        "weight": one,
        "transmittance": one,
        "optical_depth": one,
        "stage": zero.astype(np.int32),
        "selected": one.astype(np.uint8),
        "rgba": np.ones((rays, 4), np.float32),
        **known,
        "ray": ray,
        "t": t,
    }
    nothing = np.zeros(0, np.float32)
    for each in fields(Trace):
        if each.name.startswith(("bin_", "skip_")):
            values.setdefault(each.name, nothing.astype(np.int32 if each.name.endswith("ray") else np.float32))
        elif each.name not in values:
            values[each.name] = np.zeros(rays, np.int32 if each.name in _COUNTS else np.float32)
    return Trace(**values)


_COUNTS = ("end_reason", "full", "density_only", "proposal")


def ball_trace(origins: np.ndarray, directions: np.ndarray, coarse: int = 16, fine: int = 16) -> Trace:
    """Rays through a ball of even density in a box, as a sampler with two stages and empty cells would see them.

    Coarse samples stand in `coarse` equal pieces of the box; the pieces with weight are the bins; the fine samples
    stand in the middle of `fine` equal pieces of the ball itself, so that alpha is exactly ``1 - exp(-DENSITY chord)``.
    """
    origins, directions = np.asarray(origins, np.float64), np.asarray(directions, np.float64)
    with np.errstate(divide="ignore"):
        sides = np.sort(np.stack([(corner - origins) / directions for corner in BOX]), axis=0)
    near, far = np.maximum(sides[0].max(axis=-1), 0.0), sides[1].min(axis=-1)
    meets = np.flatnonzero(near < far)
    middle = -np.sum((origins - BALL) * directions, axis=-1)
    half = np.sqrt(np.maximum(RADIUS**2 - (np.sum((origins - BALL) ** 2, axis=-1) - middle**2), 0.0))

    def stage(rows: np.ndarray, begin: np.ndarray, end: np.ndarray, count: int) -> StageSamples:
        edges = begin[rows, None] + (end - begin)[rows, None] * np.linspace(0.0, 1.0, count + 1)
        t0, t1 = edges[:, :-1], edges[:, 1:]
        # What of an interval lies in the ball; the density that gives it the same optical depth.
        low, high = (middle - half)[rows, None], (middle + half)[rows, None]
        inside = np.clip(np.minimum(t1, high) - np.maximum(t0, low), 0.0, None)
        depth = DENSITY * inside
        before = np.cumsum(depth, axis=-1) - depth
        passing = np.exp(-before)
        return StageSamples(
            np.repeat(rows, count),
            (0.5 * (t0 + t1)).ravel(),
            t0.ravel(),
            t1.ravel(),
            (depth / (t1 - t0)).ravel(),
            np.tile(COLOR, (len(rows) * count, 1)),
            (passing * -np.expm1(-depth)).ravel(),
            passing.ravel(),
            depth.ravel(),
        )

    first = stage(meets, near, far, coarse)
    last = stage(meets[half[meets] > 0], middle - half, middle + half, fine)
    dense = first.weight > 0
    through = ~np.isin(meets, first.ray[dense])
    skips = [(ray, near[ray], first.t0[dense & (first.ray == ray)].min()) for ray in np.unique(first.ray[dense])]
    skips += [(ray, first.t1[dense & (first.ray == ray)].max(), far[ray]) for ray in np.unique(first.ray[dense])]
    skips += [(ray, near[ray], far[ray]) for ray in meets[through]]
    skip = np.array(sorted(skips), np.float64).reshape(-1, 3)
    return assemble(
        origins,
        directions,
        (near, far),
        [first, last],
        Stretches(first.ray[dense], first.t0[dense], first.t1[dense], first.weight[dense]),
        Stretches(skip[:, 0].astype(int), skip[:, 1], skip[:, 2]),
        full=np.where(half > 0, fine, 0),
        density_only=coarse,
    )


def trace_arrays(rays: int = 4) -> dict[str, np.ndarray]:
    """What the `trace` request answers, for at least 4 rays along +X at z = 0.

    Ray 0 goes through the ball's middle, ray 1 through its edge, ray 2 through the box alone, ray 3 past the box; the
    others through the ball at different heights. The true depth is where a ray meets the ball, 0 where it does not.
    """
    y = np.concatenate([[0.0, 0.45, 0.8, 3.0], np.linspace(-0.45, 0.45, max(rays - 4, 0))])
    origins = np.stack([np.full(len(y), -3.0), y, np.zeros(len(y))], axis=-1)
    directions = np.tile([1.0, 0.0, 0.0], (len(y), 1))
    half = np.sqrt(np.maximum(RADIUS**2 - y**2, 0.0))
    trace = ball_trace(origins, directions)
    truth = np.zeros((len(y), 4), np.float32)
    truth[half > 0] = [*COLOR, 1.0]
    return {
        **vars(trace),
        "origin": origins.astype(np.float32),
        "direction": directions.astype(np.float32),
        "true_depth": np.where(half > 0, 3.0 - half, 0.0).astype(np.float32),
        "truth": truth,
    }
