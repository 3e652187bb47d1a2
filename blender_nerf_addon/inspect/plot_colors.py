"""The plots' colours: Blender's dark greys, and curves that stay apart for eyes of all kinds (Okabe and Ito 2008)."""

from ..vendor.nerf_core.contract.ray_plot import COLORS
from . import colors
from .plot_shapes import Color


def _color(code: str, alpha: float = 1.0) -> Color:
    code = code.lstrip("#")
    red, green, blue = (int(code[i : i + 2], 16) / 255.0 for i in (0, 2, 4))
    return red, green, blue, alpha


def faded(color: Color, alpha: float) -> Color:
    """The same colour with another alpha."""
    return (*color[:3], alpha)


GROUND = _color(COLORS["ground"])
TRANSPARENT_GROUND = _color(COLORS["ground"], 0.93)
FIELD = _color(COLORS["field"])
BESIDE = _color("1a1a1a", 0.75)  # outside the box, and where the ray was not followed
GRID = _color(COLORS["grid"])
BORDER = _color(COLORS["border"])
TEXT = _color(COLORS["text"])
TEXT_DIM = _color(COLORS["dim"])
HATCH = _color("4d4d4d", 0.8)
STEM = _color(COLORS["stem"], 0.75)
IDLE = _color("757575")  # a sample without weight

DENSITY = _color(COLORS["density"])
FIRST = _color(COLORS["first"], 0.55)  # density of an earlier stage
TRANSMITTANCE = _color(COLORS["transmittance"])
PDF = _color(COLORS["pdf"])
CDF = _color(COLORS["cdf"])
ACCUMULATED = _color(COLORS["accumulated"])

# As the inspector's overlay marks them.
EXPECTED: Color = (*colors.EXPECTED, 1.0)
MEDIAN: Color = (*colors.MEDIAN, 1.0)
TRUE: Color = (*colors.TRUE, 1.0)
END: Color = (*colors.END, 1.0)
EDGE: Color = (*colors.BOX, 1.0)  # near, far
SAMPLERS: tuple[Color, ...] = tuple((*color, 1.0) for color in colors.SLOTS)
