"""What a plot of a ray holds, whoever draws it: one sampler's curves or two, on common axes."""

from dataclasses import dataclass

import numpy as np

from .ray_axes import HEADROOM, Axis, density_axis, focus_range, whole_range
from .ray_curves import RayCurves


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
