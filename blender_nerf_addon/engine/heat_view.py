"""Heat maps in the viewport: a picture's numbers as colours, in any thread, and what the legend says. No bpy."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..vendor.nerf_core.contract.heat import Colours, colour_steps, colour_table, heat_kind, top_value

FAR = 1e10  # depth of what shows no NeRF
FAINT = 1.0 / 255.0  # alpha up to which a pixel shows none


@dataclass(frozen=True)
class Legend:
    """A map's scale.

    Attributes
    ----------
    title : str
    low, high : float
        The numbers of the bar's left and right end.
    colours : str
        Of `contract.heat.colour_table`.
    reverse : bool
        Whether the bar is bright on the left.
    more : bool
        Whether some numbers exceed the scale.
    mean : float or None
        On the subject.
    """

    title: str
    low: float
    high: float
    colours: Colours
    reverse: bool = False
    more: bool = False
    mean: float | None = None

    def table(self) -> np.ndarray:
        """(256, 3) float32: the bar's colours from left to right, scene-linear."""
        encoded = colour_table(self.colours).astype(np.float32) / 255.0
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4).astype(np.float32)
        return linear[::-1] if self.reverse else linear

    def ticks(self) -> list[tuple[float, str]]:
        """Where along the bar (0 to 1) which number stands."""
        places = (0.0, 0.5, 1.0)
        texts = [f"{self.low + place * (self.high - self.low):.3g}" for place in places]
        if self.more:
            texts[-1] += "+"
        return list(zip(places, texts, strict=True))


def request_passes(show: str) -> list[str]:
    """The passes to ask for, for what the viewport shows (`scene.nerf_engine.viewport_show`)."""
    return [show.lower()] if show in ("SAMPLE_COUNT", "CAPTURED_WEIGHT") else []


def paint(show: str, arrays: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, Legend | None]:
    """What to draw.

    Parameters
    ----------
    show : str
        'COLOUR', 'SAMPLE_COUNT', 'CAPTURED_WEIGHT' or 'DEPTH'.
    arrays : dict
        Of the core's answer: `rgba` and `depth`, and the map's.

    Returns
    -------
    rgba : (H, W, 4) float32 array
        Scene-linear, premultiplied. Where a map has nothing to say it is transparent.
    depth : (H, W) float32 array
    legend : Legend or None
        None for plain colours.
    """
    rgba, depth = arrays["rgba"], arrays["depth"]
    if show == "COLOUR":
        return rgba, depth, None
    alpha = rgba[..., 3]
    if show == "DEPTH":
        values, told = depth, alpha > FAINT
        legend = _depth_legend(depth[alpha >= 0.5] if (alpha >= 0.5).any() else depth[told])
    else:
        kind = heat_kind(show.lower())
        values = arrays[kind.name]
        told = (alpha > FAINT) | (values > 0.0 if kind.name == "sample_count" else False)
        hit, top = alpha >= 0.5, top_value(values, kind)
        mean = float(values[hit].mean()) if hit.any() else None
        legend = Legend(kind.label, 0.0, top, kind.colours, more=bool((values > top).any()), mean=mean)
    painted = np.zeros_like(rgba)
    painted[told, :3] = legend.table()[colour_steps(values[told], legend.high, legend.low)]
    painted[told, 3] = 1.0
    return painted, np.where(alpha > FAINT, depth, np.float32(FAR)), legend


def _depth_legend(seen: np.ndarray) -> Legend:
    """From the nearest to the farthest that is seen, but for a few outliers; near is bright."""
    low, high = (float(value) for value in np.quantile(seen, (0.005, 0.995))) if seen.size else (0.0, 1.0)
    if not high > low:
        low, high = max(0.0, low - 0.5), low + 0.5
    return Legend("Depth", low, high, "viridis", reverse=True)
