"""What plots of a ray share in both processes: axes and their ticks, which part is shown, and words for a person."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .ray_curves import RayCurves

DECADES = 5  # of density at most: what is thinner is drawn at the foot
HEADROOM = 1.08
BESIDE = 0.05  # of the weight, at each end, that need not be seen closely
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Axis:
    """Where values lie along an axis.

    Attributes
    ----------
    low, high : float
        At its ends, `low` < `high`.
    log : bool
        Whether equal ratios are equally long; both ends are positive then.
    """

    low: float
    high: float
    log: bool = False

    def place(self, values: Any) -> np.ndarray:
        """Values as fractions of the axis, not clipped; what a logarithm does not take lies at its foot or below."""
        values = np.asarray(values, dtype=np.float64)
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        low, high = math.log10(self.low), math.log10(self.high)
        return (np.log10(np.maximum(values, self.low * 1e-3)) - low) / (high - low)

    def value(self, fraction: float) -> float:
        """The value at a fraction of the axis."""
        if not self.log:
            return self.low + fraction * (self.high - self.low)
        return float(self.low * (self.high / self.low) ** fraction)

    def text(self, value: float) -> str:
        """A value of a linear axis with as many decimals as tell it from others that can be told apart on it."""
        decimals = max(0, -math.floor(math.log10((self.high - self.low) / 50.0)))
        return f"{value:.{min(decimals, 8)}f}"

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """At most `most` (two at least) round values on the axis, with what is written at them."""
        return log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)


def whole_range(curves: Sequence[RayCurves]) -> Axis:
    """All of the box; of one that is nearly endless, what lies not far behind what is seen."""
    inside = [each for each in curves if not each.missed]
    if not inside:
        return Axis(0.0, 1.0)
    low, high = min(each.near for each in inside), max(each.far for each in inside)
    seen = _where_something_is(inside)
    if seen is not None and high - low > 30.0 * (seen[1] - low) > 0.0:
        high = low + 2.0 * (seen[1] - low)
    return Axis(low, high) if high > low else Axis(low, low + 1.0)


def focus_range(curves: Sequence[RayCurves]) -> Axis:
    """Where weight and probability are, with a margin; all of the box where they are nowhere."""
    whole = whole_range(curves)
    seen = _where_something_is(curves)
    if seen is None:
        return whole
    low, high = seen
    lengths = np.concatenate([(each.t1 - each.t0)[each.weight > 0.01] for each in curves])
    usual = float(np.median(lengths)) if len(lengths) else 0.0
    size = whole.high - whole.low
    margin = max(0.25 * (high - low), min(1.5 * usual, 0.1 * size), 1e-3 * size)
    # Where the surface truly is, is worth seeing, too, unless it is so far off that nothing else would be seen.
    near = [each.true_depth for each in curves if low - 4.0 * margin < each.true_depth < high + 4.0 * margin]
    low, high = min([low, *near]) - margin, max([high, *near]) + margin
    return Axis(max(whole.low, low), min(whole.high, high))


def density_axis(densities: np.ndarray, log: bool) -> Axis:
    """Of densities: whole decades, or from 0."""
    top = float(densities.max(initial=0.0))
    if not log:
        return Axis(0.0, HEADROOM * (top or 1.0))
    if top <= 0.0:
        return Axis(0.1, 10.0, log=True)
    highest = math.ceil(math.log10(top) + 0.02)
    lowest = math.floor(math.log10(max(float(densities[densities > 0].min()), 10.0 ** (highest - DECADES))))
    return Axis(10.0 ** min(lowest, highest - 2), 10.0**highest, log=True)


def linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten between two ends, at most `most`, all with as many decimals."""
    span = high - low
    rough = span / max(most, 2)
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (power, 2.0 * power, 5.0 * power, 10.0 * power, 20.0 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < max(most, 2):
            break
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(number * step, f"{number * step:.{decimals}f}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Powers of ten between two ends, at most `most`."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / max(most, 2)))
    return [(10.0**power, power_text(power)) for power in range(first, last + 1, every)]


def power_text(power: int) -> str:
    """A power of ten as a person reads it: 0.01, 1, 1000, 10⁵."""
    if -3 <= power <= 3:
        return f"{10.0**power:.{max(0, -power)}f}"
    return "10" + str(power).translate(_RAISED)


def number(value: float | None) -> str:
    """A value as short as it can be read: three digits that count."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}" if abs(value) < 1e5 else f"{value:.1e}"
    if abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def sampler_title(used: Mapping[str, Any]) -> str:
    """A sampler, as it is on the wire, for a person: such as "Surface, 4 samples"."""
    name = str(used.get("name") or "As trained").replace("_", " ")
    samples = used.get("samples")
    text = name[:1].upper() + name[1:]
    return f"{text}, {samples} sample{'' if samples == 1 else 's'}" if samples else text


def cost_line(curves: RayCurves, seconds: float | None, rays: int) -> str:
    """What a ray cost: full, density-only and proposal evaluations, and how long the tracing took."""
    parts = [f"{_count(curves.full)} full"]
    if curves.density_only:
        parts.append(f"{_count(curves.density_only)} density-only")
    if curves.proposal:
        parts.append(f"{_count(curves.proposal)} proposal")
    if seconds is not None:
        parts.append(f"{number(1000 * seconds)} ms" + (f" for {rays} rays" if rays > 1 else ""))
    return "  ·  ".join(parts)


def color_difference(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference of two colours' channels, in 255ths."""
    return 255.0 * float(np.abs(np.asarray(first)[:3] - np.asarray(second)[:3]).max())


def _count(value: float) -> str:
    return f"{value:.0f}" if abs(value - round(value)) < 1e-6 else f"{value:.1f}"


def _where_something_is(curves: Sequence[RayCurves]) -> tuple[float, float] | None:
    """Between which samples nearly all weight lies; what was proposed, where there is no weight."""
    ends = []
    for each in curves:
        for t, mass in ((each.t, each.weight), (0.5 * (each.bin_t0 + each.bin_t1), each.bin_mass)):
            if mass.sum() > 1e-3:
                share = np.cumsum(mass) / mass.sum()
                inside = t[(share >= BESIDE) & (share - mass / mass.sum() <= 1.0 - BESIDE)]
                ends.append((inside.min(), inside.max()))
                break
    return (float(min(low for low, _ in ends)), float(max(high for _, high in ends))) if ends else None
