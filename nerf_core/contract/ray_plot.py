"""What a plot of a ray holds, whoever draws it: one sampler's curves or two, on common axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ray_axes import HEADROOM, Axis, cost_line, density_axis, focus_range, sampler_title, whole_range
from .ray_curves import RayCurves, mean_curves

COLORS = {
    "ground": "#1d1d1d",
    "field": "#262626",
    "grid": "#363636",
    "border": "#4a4a4a",
    "text": "#e6e6e6",
    "dim": "#a0a0a0",
    "density": "#56b4e9",
    "first": "#9ad0f0",
    "stem": "#b4b4b4",
    "transmittance": "#e69f00",
    "pdf": "#cc79a7",
    "cdf": "#f0e442",
    "accumulated": "#2fbf93",
}
"""sRGB codes: Blender's dark greys, and curves that stay apart for eyes of all kinds (after Okabe and Ito 2008)."""


@dataclass(frozen=True)
class Sampled:
    """One sampler's part of a plot.

    Attributes
    ----------
    curves : RayCurves
    title, cost : str
        The sampler, and what it spent, for a person.
    """

    curves: RayCurves
    title: str
    cost: str

    @property
    def weight_axis(self) -> Axis:
        """Of weight: this sampler's own, since many samples share what few have each."""
        return Axis(0.0, HEADROOM * max(float(self.curves.weight.max(initial=0.0)), 1e-3))


@dataclass(frozen=True)
class Plot:
    """What is drawn.

    Attributes
    ----------
    parts : tuple of Sampled
        One sampler or two, with the same axes.
    t, density, pdf : Axis
        Of distance (world units), density (1 / world unit) and probability density (1 / world unit).
    whole : Axis
        Of distance, all of the ray in the box; `t` is a part of it.
    heading : str
        Which ray.
    """

    parts: tuple[Sampled, ...]
    t: Axis
    density: Axis
    pdf: Axis
    whole: Axis
    heading: str = ""

    @property
    def zoomed(self) -> bool:
        """Whether only a part of the ray is shown."""
        return self.t != self.whole


def plot_of_traces(
    traces: Sequence[tuple[Mapping[str, Any], Mapping[str, Any], float | None]],
    ray: int | None,
    focus: bool = False,
    log_density: bool = True,
    heading: str = "",
) -> Plot:
    """The plot of a ray, or of the mean of all rays.

    Parameters
    ----------
    traces : sequence of (arrays, sampler, seconds)
        Of the same rays under one sampler or two: what `trace` answers, and its sampler as it is on the wire.
    ray : int or None
        Which; None: the mean.
    focus, log_density, heading
        As :func:`plot_of` has them.
    """
    parts = []
    for arrays, sampler, seconds in traces[:2]:
        rays = len(arrays["rgba"])
        curves = mean_curves(arrays) if ray is None else RayCurves.of_ray(arrays, min(ray, rays - 1))
        parts.append(Sampled(curves, sampler_title(sampler), cost_line(curves, seconds, rays)))
    return plot_of(tuple(parts), focus, log_density, heading)


def plot_of(parts: tuple[Sampled, ...], focus: bool = False, log_density: bool = True, heading: str = "") -> Plot:
    """Put samplers' curves onto common axes.

    Parameters
    ----------
    parts : tuple of Sampled
        One or two.
    focus : bool
        Show only where something is, instead of all that lies in the box.
    log_density : bool
        A logarithmic axis of density.
    heading : str
        Which ray, for a person.
    """
    curves = [part.curves for part in parts]
    densities = np.concatenate([values for each in curves for values in (each.density, each.first_density)])
    pdfs = np.concatenate([each.pdf for each in curves])
    return Plot(
        parts,
        t=focus_range(curves) if focus else whole_range(curves),
        density=density_axis(densities, log_density),
        pdf=Axis(0.0, HEADROOM * (float(pdfs.max(initial=0.0)) or 1.0)),
        whole=whole_range(curves),
        heading=heading,
    )


def step_segments(t0: np.ndarray, t1: np.ndarray, y: np.ndarray, base: float) -> np.ndarray:
    """The outline of a step function as line ends (2 M, 2): tops, and uprights between neighbours or down to `base`."""
    if not len(t0):
        return np.zeros((0, 2))
    joined = np.abs(t0[1:] - t1[:-1]) < 1e-6 * max(1.0, float(np.abs(t1).max()))
    before = np.concatenate([[base], np.where(joined, y[:-1], base)])
    ends = np.concatenate([~joined, [True]])
    tops = np.stack([np.stack([t0, y], -1), np.stack([t1, y], -1)], axis=1)
    rises = np.stack([np.stack([t0, before], -1), np.stack([t0, y], -1)], axis=1)
    falls = np.stack([np.stack([t1, y], -1), np.stack([t1, np.full_like(y, base)], -1)], axis=1)[ends]
    return np.concatenate([tops, rises, falls]).reshape(-1, 2)


def color_so_far(curves: RayCurves, axis: Axis, ground: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colour that a ray has collected up to each place, as a picture would show it.

    Parameters
    ----------
    curves : RayCurves
    axis : Axis
        Of distance.
    ground : (3,) array
        sRGB-encoded; what shines through.

    Returns
    -------
    edges : (N + 2,) float64 array
        Distances, from the axis' one end to the other.
    colors : (N + 1, 3) float64 array
        Between them, 0 to 1.
    """
    light = np.cumsum(curves.weight[:, None] * curves.color, axis=0)
    alpha = np.cumsum(curves.weight)
    colors = np.concatenate([np.zeros((1, 3)), light])
    colors += (1.0 - np.clip(np.append(0.0, alpha), 0.0, 1.0))[:, None] * ground
    edges = np.concatenate([[axis.low], np.clip(curves.t, axis.low, axis.high), [axis.high]])
    return edges, np.clip(colors, 0.0, 1.0)
