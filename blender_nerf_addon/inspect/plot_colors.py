"""The plots' colours: Blender's dark greys, and curves that stay apart for eyes of all kinds (Okabe and Ito 2008)."""

from . import colors
from .plot_shapes import Color


def _color(code: str, alpha: float = 1.0) -> Color:
    red, green, blue = (int(code[i : i + 2], 16) / 255.0 for i in (0, 2, 4))
    return red, green, blue, alpha


def faded(color: Color, alpha: float) -> Color:
    """The same colour with another alpha."""
    return (*color[:3], alpha)


GROUND = _color("1d1d1d")
TRANSPARENT_GROUND = _color("1d1d1d", 0.93)
FIELD = _color("262626")
BESIDE = _color("1a1a1a", 0.75)  # outside the box, and where the ray was not followed
GRID = _color("363636")
BORDER = _color("4a4a4a")
TEXT = _color("e6e6e6")
TEXT_DIM = _color("a0a0a0")
HATCH = _color("4d4d4d", 0.8)
STEM = _color("b4b4b4", 0.75)
IDLE = _color("757575")  # a sample without weight

DENSITY = _color("56b4e9")
FIRST = _color("9ad0f0", 0.55)  # density of an earlier stage
TRANSMITTANCE = _color("e69f00")
PDF = _color("cc79a7")
CDF = _color("f0e442")
ACCUMULATED = _color("2fbf93")

# As the inspector's overlay marks them.
EXPECTED: Color = (*colors.EXPECTED, 1.0)
MEDIAN: Color = (*colors.MEDIAN, 1.0)
TRUE: Color = (*colors.TRUE, 1.0)
END: Color = (*colors.END, 1.0)
EDGE: Color = (*colors.BOX, 1.0)  # near, far
SAMPLERS: tuple[Color, ...] = tuple((*color, 1.0) for color in colors.SLOTS)
