"""From what the inspector shows to a plot, and what its curves are at a place. No bpy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.ray_curves import RayCurves
from ..vendor.nerf_core.contract.ray_plot import Plot, plot_of_traces


def build(
    slots: Sequence[Any], ray: int | None, focus: bool = False, log_density: bool = True, heading: str = ""
) -> Plot | None:
    """The plot of a ray.

    Parameters
    ----------
    slots : sequence of `state.Slot`
        One or two; more are not shown.
    ray : int or None
        Which; None: the mean of all.
    focus : bool
        Show only where something is, instead of all that lies in the box.
    log_density : bool
        A logarithmic axis of density.
    heading : str
        Which ray, for a person.

    Returns
    -------
    Plot or None
        None where there is nothing to show.
    """
    if not slots or not all(slot.rays for slot in slots):
        return None
    traces = [(slot.arrays, slot.used, slot.result.get("seconds")) for slot in slots]
    return plot_of_traces(traces, ray, focus, log_density, heading)


@dataclass(frozen=True)
class Reading:
    """What one sampler's curves are at a place.

    Attributes
    ----------
    density, weight, color : float, float, (3,) array; None where no sample stands for the place
    transmittance : float
    pdf, cdf : float or None
        None where nothing was proposed.
    sample : int or None
        The number of the sample that stands for the place, from 0 on, in the order of t.
    """

    density: float | None
    weight: float | None
    color: np.ndarray | None
    transmittance: float
    pdf: float | None
    cdf: float | None
    sample: int | None


def read(curves: RayCurves, t: float) -> Reading:
    """The values of one ray's curves at `t`."""
    sample = _interval(curves.t0, curves.t1, t)
    has_bins = len(curves.bin_mass) > 0
    chosen = _interval(curves.bin_t0, curves.bin_t1, t)
    line = curves.transmittance_line()
    return Reading(
        density=None if sample is None else float(curves.density[sample]),
        weight=None if sample is None else float(curves.weight[sample]),
        color=None if sample is None else curves.color[sample],
        transmittance=float(np.interp(t, *line)),
        pdf=None if not has_bins else 0.0 if chosen is None else float(curves.pdf[chosen]),
        cdf=float(np.interp(t, *curves.cdf_line())) if has_bins else None,
        sample=sample,
    )


def _interval(begin: np.ndarray, end: np.ndarray, t: float) -> int | None:
    found = np.flatnonzero((begin <= t) & (t <= end))
    return int(found[0]) if len(found) else None
