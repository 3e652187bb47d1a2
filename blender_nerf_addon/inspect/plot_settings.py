"""What a person chooses about the plots of a ray: `scene.nerf.ray_plot`, kept in the .blend."""

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty

CORNERS = (
    ("BOTTOM_RIGHT", "Bottom Right", ""),
    ("BOTTOM_LEFT", "Bottom Left", ""),
    ("TOP_RIGHT", "Top Right", ""),
    ("TOP_LEFT", "Top Left", ""),
)

on_change: list[Callable[[], None]] = []
"""Called after each change: what is drawn is to be drawn anew."""


def _changed(_self: Any, _context: bpy.types.Context) -> None:
    for callback in on_change:
        callback()


def _switch(name: str, description: str, default: bool = True) -> Any:
    return BoolProperty(name=name, description=description, default=default, update=_changed)


class NERF_PG_ray_plot(bpy.types.PropertyGroup):
    """Which curves, which part of the ray, and where in the viewport."""

    card: _switch("Plot in the Viewport", "Show the chosen ray's plot in a corner of the 3D viewports", False)
    corner: EnumProperty(name="Corner", description="Where it stands", items=CORNERS, update=_changed)
    size: FloatProperty(
        name="Size",
        description="Of the plot, as a share of the viewport",
        default=0.45,
        min=0.2,
        max=1.0,
        subtype="FACTOR",
        update=_changed,
    )
    show_density: _switch("Density", "Show the row of density")
    show_weight: _switch("Weights", "Show the row of weights and transmittance")
    show_sampling: _switch("PDF and CDF", "Show the row of what placed the samples")
    log_density: _switch("Logarithmic", "Show density on a logarithmic axis")
    focus: _switch("Zoom to the Surface", "Show closely the part of the ray where something is")
    mean: _switch("Mean of All Rays", "Show the mean of all traced rays instead of the chosen one", False)

    @property
    def rows(self) -> tuple[str, ...]:
        """Which rows are wanted, as `plot_layout.ROWS` calls them; the weights where none is."""
        wanted = {"weight": self.show_weight, "density": self.show_density, "sampling": self.show_sampling}
        return tuple(kind for kind, shown in wanted.items() if shown) or ("weight",)


CLASSES = (NERF_PG_ray_plot,)
