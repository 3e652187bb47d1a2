"""One ray of a trace as curves over t: density, weight, transmittance, PDF and CDF; for the plots of both processes.

Between a sample's t0 and t1 density is constant, so that transmittance falls there as an exponential
(Max 1995, "Optical models for direct volume rendering", equation 7; NeRF, equation 3). A bin's mass is spread evenly
over its length, so that the PDF is a step function and the CDF a polyline.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .traces import END_REASONS

MEAN_PIECES = 192  # into which the mean of several rays is cut
_CURVE_POINTS = 14  # of transmittance within an interval that it falls in
_VISIBLE = 0.5 / 255.0  # a fall of transmittance that a picture could show


@dataclass(frozen=True)
class RayCurves:
    """What happens along one ray, or on the mean along several; lengths in world units, colours sRGB-encoded.

    Attributes
    ----------
    t, t0, t1, density, weight, transmittance, optical_depth : (N,) float64 arrays
        The samples of the stage whose colours count, by t; transmittance is what reaches the sample's interval.
    color : (N, 3) float64 array
        Straight.
    first_t0, first_t1, first_density, first_weight : (M,) float64 arrays
        The samples of earlier stages, by t.
    bin_t0, bin_t1, bin_mass : (B,) float64 arrays
        What placed the samples: `bin_mass` sums to 1, or B is 0.
    skips : (K, 2) float64 array
        Stretches that were passed over because nothing is there.
    near, far : float
        Where the ray enters and leaves the box; both 0 where it misses it.
    end : float
        Where it was followed to.
    end_reason : str
        One of `END_REASONS`; empty where it is not known.
    expected_depth, median_depth, true_depth : float
        0 where there is none.
    rgba : (4,) float64 array
        The ray's colour, premultiplied.
    truth : (4,) float64 array or None
        What the pixel should be, straight; where it is known.
    full, density_only, proposal : float
        Evaluations made.
    """

    t: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    density: np.ndarray
    weight: np.ndarray
    transmittance: np.ndarray
    optical_depth: np.ndarray
    color: np.ndarray
    first_t0: np.ndarray
    first_t1: np.ndarray
    first_density: np.ndarray
    first_weight: np.ndarray
    bin_t0: np.ndarray
    bin_t1: np.ndarray
    bin_mass: np.ndarray
    skips: np.ndarray
    near: float
    far: float
    end: float
    end_reason: str
    expected_depth: float
    median_depth: float
    true_depth: float
    rgba: np.ndarray
    truth: np.ndarray | None
    full: float
    density_only: float
    proposal: float

    @property
    def missed(self) -> bool:
        """Whether the ray passes the box by."""
        return not self.far > self.near

    @property
    def pdf(self) -> np.ndarray:
        """(B,) probability density in each bin, per world unit; 0 in a bin without length."""
        length = self.bin_t1 - self.bin_t0
        return np.where(length > 0, self.bin_mass / np.where(length > 0, length, 1.0), 0.0)

    def cdf_line(self) -> tuple[np.ndarray, np.ndarray]:
        """(2 B,) places and values of the CDF as a polyline, from 0 to 1; empty without bins."""
        return _rising(self.bin_t0, self.bin_t1, self.bin_mass)

    def accumulated_line(self) -> tuple[np.ndarray, np.ndarray]:
        """(2 N,) places and values of the weight that has come together, as a polyline up to alpha."""
        return _rising(self.t0, self.t1, self.weight)

    def transmittance_line(self) -> tuple[np.ndarray, np.ndarray]:
        """Places and values of transmittance as a polyline, exponential where it visibly falls."""
        before = self.transmittance
        if not len(before):
            return np.array([self.near, self.far]), np.ones(2)
        # At equal steps of what is left, so that a steep fall is as smooth as a slow one.
        share = np.linspace(0.0, 1.0, _CURVE_POINTS)[:-1]
        depth = np.maximum(self.optical_depth, 1e-9)[:, None]
        parts = np.pad(-np.log1p(share * np.expm1(-depth)) / depth, ((0, 0), (0, 1)), constant_values=1.0)
        t = self.t0[:, None] + (self.t1 - self.t0)[:, None] * parts
        value = before[:, None] * np.exp(-self.optical_depth[:, None] * parts)
        keep = np.zeros(t.shape, dtype=bool)
        keep[:, [0, -1]] = True
        keep |= (value[:, :1] - value[:, -1:]) > _VISIBLE
        t, value = t[keep], value[keep]
        if not self.missed and self.near < t[0]:
            t, value = np.append(self.near, t), np.append(1.0, value)
        return t, value

    @classmethod
    def of_ray(cls, arrays: Mapping[str, Any], ray: int) -> "RayCurves":
        """The curves of one of a trace's rays.

        Parameters
        ----------
        arrays : mapping
            A trace's arrays, as `trace` answers them. What an older core does not tell is left empty.
        ray : int

        Raises
        ------
        IndexError
            When the trace has no such ray.
        """
        rays = len(arrays["rgba"])
        if not 0 <= ray < rays:
            raise IndexError(f"there is no ray {ray} among {rays}")
        samples = _rows(arrays, "ray", ray, ("t", "dt", "density", "weight", "transmittance", "color", "stage"))
        optional = _rows(arrays, "ray", ray, ("t0", "t1", "optical_depth", "selected"))
        t, dt = samples["t"], samples["dt"]
        t0, t1 = optional.get("t0", t - 0.5 * dt), optional.get("t1", t + 0.5 * dt)
        depth = optional.get("optical_depth", samples["density"] * dt)
        stage = samples["stage"]
        # Beside those whose colours were asked for, their stage has some that were too faint for that.
        selected = optional["selected"] > 0 if "selected" in optional else stage == stage.max(initial=0.0)
        counts = stage == stage[selected].max(initial=-1.0)
        order, first = np.flatnonzero(counts), np.flatnonzero(~counts)
        order, first = order[np.argsort(t[order], kind="stable")], first[np.argsort(t[first], kind="stable")]
        bins = _rows(arrays, "bin_ray", ray, ("bin_t0", "bin_t1", "bin_weight"))
        skips = _rows(arrays, "skip_ray", ray, ("skip_t0", "skip_t1"))
        one: dict[str, Any] = {name: float(arrays[name][ray]) if name in arrays else 0.0 for name in _PER_RAY}
        reason = int(arrays["end_reason"][ray]) if "end_reason" in arrays else -1
        truth, none = arrays.get("truth"), np.zeros(0)
        if "near" not in arrays and len(t):
            one["near"], one["far"] = float(t0.min()), float(t1.max())
        one |= {name: samples[name][order] for name in ("t", "density", "weight", "transmittance", "color")}
        return cls(
            t0=t0[order],
            t1=t1[order],
            optical_depth=depth[order],
            first_t0=t0[first],
            first_t1=t1[first],
            first_density=samples["density"][first],
            first_weight=samples["weight"][first],
            bin_t0=bins.get("bin_t0", none),
            bin_t1=bins.get("bin_t1", none),
            bin_mass=bins.get("bin_weight", none),
            skips=np.stack([skips["skip_t0"], skips["skip_t1"]], axis=-1) if len(skips) == 2 else np.zeros((0, 2)),
            end_reason=END_REASONS[reason] if 0 <= reason < len(END_REASONS) else "",
            rgba=np.asarray(arrays["rgba"][ray], dtype=np.float64),
            truth=None if truth is None else np.asarray(truth[ray], dtype=np.float64),
            **one,
        )


def mean_curves(arrays: Mapping[str, Any], pieces: int = MEAN_PIECES) -> RayCurves:
    """The mean of all rays of a trace, over pieces of equal length from the nearest begin to the farthest end.

    Masses (weights, bins, density times length) are spread evenly over their intervals and shared out exactly, so that
    their sums stay. A ray that has no sample at a place counts with density 0 there; one without bins is left out of
    the bins' mean, and one without a depth of the depth's.

    Parameters
    ----------
    arrays : mapping
        A trace's arrays, of one ray at least.
    pieces : int
        How many.
    """
    rays = len(arrays["rgba"])
    ray, stage = (np.asarray(arrays[name]).astype(np.int64) for name in ("ray", "stage"))
    get = {name: np.asarray(arrays[name], dtype=np.float64) for name in _SAMPLES if name in arrays}
    t0, t1 = get.get("t0", get["t"] - 0.5 * get["dt"]), get.get("t1", get["t"] + 0.5 * get["dt"])
    near, far = (np.asarray(arrays[name], dtype=np.float64) if name in arrays else None for name in ("near", "far"))
    if near is None or far is None:
        near, far = np.array([t0.min(initial=np.inf)]), np.array([t1.max(initial=0.0)])
    inside = far > near
    if not inside.any():
        return RayCurves.of_ray(arrays, 0)
    low, high = float(near[inside].min()), float(far[inside].max())
    edges = np.linspace(low, high, pieces + 1)
    length = (high - low) / pieces
    # Each ray's last stage, as in `of_ray`.
    counts = np.asarray(arrays["selected"]) > 0 if "selected" in arrays else np.ones(len(ray), dtype=bool)
    last = np.full(rays, -1)
    np.maximum.at(last, ray[counts], stage[counts])
    final = stage == last[ray]

    matter = get["density"] * (t1 - t0)
    masses = np.column_stack([get["weight"], matter, get["weight"][:, None] * get["color"]])
    weight, density, *light = _shared_out(t0[final], t1[final], masses[final], edges) / rays
    first_weight, first_density = _shared_out(t0[~final], t1[~final], masses[~final, :2], edges) / rays
    passing = np.maximum(1.0 - np.append(0.0, np.cumsum(weight)), 1e-12)
    bins = np.asarray(arrays.get("bin_ray", np.zeros(0)))
    binned, none = len(np.unique(bins)), np.zeros(0)
    mass = none
    if binned:
        begin, end, share = (np.asarray(arrays[f"bin_{name}"], dtype=np.float64) for name in ("t0", "t1", "weight"))
        mass = _shared_out(begin, end, share[:, None], edges)[0] / binned
    has_first = not final.all()

    def mean(name: str, known: bool = False) -> float:
        values = np.asarray(arrays[name], dtype=np.float64) if name in arrays else none
        values = values[values > 0] if known else values
        return float(values.mean()) if len(values) else 0.0

    truth = arrays.get("truth")
    return RayCurves(
        t=0.5 * (edges[1:] + edges[:-1]),
        t0=edges[:-1],
        t1=edges[1:],
        density=density / length,
        weight=weight,
        transmittance=passing[:-1],
        optical_depth=np.log(passing[:-1] / passing[1:]),
        color=np.stack(light, axis=-1) / np.where(weight > 0, weight, 1.0)[:, None],
        first_t0=edges[:-1] if has_first else none,
        first_t1=edges[1:] if has_first else none,
        first_density=first_density / length if has_first else none,
        first_weight=first_weight if has_first else none,
        bin_t0=edges[:-1] if binned else none,
        bin_t1=edges[1:] if binned else none,
        bin_mass=mass,
        skips=np.zeros((0, 2)),
        near=low,
        far=high,
        end=high,
        end_reason="",
        expected_depth=mean("expected_depth", known=True),
        median_depth=mean("median_depth", known=True),
        true_depth=mean("true_depth", known=True),
        rgba=np.asarray(arrays["rgba"], dtype=np.float64).mean(axis=0),
        truth=None if truth is None else np.asarray(truth, dtype=np.float64).mean(axis=0),
        full=mean("full"),
        density_only=mean("density_only"),
        proposal=mean("proposal"),
    )


_SAMPLES = ("t", "dt", "t0", "t1", "density", "weight", "color")
_PER_RAY = (
    "near",
    "far",
    "end",
    "expected_depth",
    "median_depth",
    "true_depth",
    "full",
    "density_only",
    "proposal",
)


def _rows(arrays: Mapping[str, Any], index: str, ray: int, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A ray's rows of those arrays that there are, as float64."""
    if index not in arrays:
        return {}
    chosen = np.asarray(arrays[index]) == ray
    return {name: np.asarray(arrays[name])[chosen].astype(np.float64) for name in names if name in arrays}


def _shared_out(t0: np.ndarray, t1: np.ndarray, masses: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How much of (M, C) masses, each spread evenly over its interval, lies between (N + 1,) edges: (C, N)."""
    columns = masses.shape[1]
    if not len(masses):
        return np.zeros((columns, len(edges) - 1))
    length = np.maximum(t1 - t0, 1e-7 * (edges[-1] - edges[0]))
    # The sum so far rises by a slope that changes where an interval begins or ends.
    places = np.concatenate([t0, t0 + length])
    order = np.argsort(places, kind="stable")
    places = places[order]
    rise = masses / length[:, None]
    slope = np.cumsum(np.concatenate([rise, -rise])[order], axis=0)
    sums = np.cumsum(slope[:-1] * np.diff(places)[:, None], axis=0)
    return np.array([np.diff(np.interp(edges, places, np.append(0.0, sums[:, i]))) for i in range(columns)])


def _rising(t0: np.ndarray, t1: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of masses, each spread evenly over its interval, as a polyline."""
    sums = np.concatenate([[0.0], np.cumsum(mass)])
    return np.stack([t0, t1], axis=-1).ravel(), np.stack([sums[:-1], sums[1:]], axis=-1).ravel()
