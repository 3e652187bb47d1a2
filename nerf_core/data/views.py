"""Posed images in memory, as methods take them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..contract.camera import Camera
from ..contract.transforms import ColorSpace


@dataclass(frozen=True)
class View:
    """One posed image.

    Attributes
    ----------
    name : str
        What a person calls it: its file path in the data set.
    camera : Camera
    rgba : (height, width, 4) uint8 array
        Display-referred sRGB with straight alpha (alpha 255 where the file has none).
    depth : (height, width) float32 array, optional
        Distance along the unit ray through each pixel's centre, world units; 0 where it is not known.
    line_integral : (height, width) float32 array, optional
        Of attenuation along the ray through each pixel's centre, dimensionless; radiographs alone have it.
    """

    name: str
    camera: Camera
    rgba: np.ndarray
    depth: np.ndarray | None = None
    line_integral: np.ndarray | None = None


@dataclass(frozen=True)
class Views:
    """A split's images.

    Attributes
    ----------
    views : sequence of View
    color_space : {'srgb', 'linear'}
        What the files were; images are held as sRGB bytes either way.
    has_alpha : bool
        Whether any pixel is transparent: then training composites over random backgrounds.
    """

    views: Sequence[View]
    color_space: ColorSpace
    has_alpha: bool

    def __len__(self) -> int:
        return len(self.views)

    @property
    def has_depth(self) -> bool:
        """Whether any view knows how far away things are."""
        return any(view.depth is not None for view in self.views)
