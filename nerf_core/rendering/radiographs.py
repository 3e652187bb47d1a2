"""Attenuation fields in pictures: the window that they are shown through, and line integrals as they are."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..contract.errors import NerfError
from ..methods.base import Method
from .layers import Layer
from .picture import render_picture
from .view import View

WIDEST = 4096.0
"""Line integrals up to it come through the widest window; a power of two, so that nothing is rounded."""

Window = tuple[float, float]


def is_attenuation(method: Method) -> bool:
    """Whether a method shows line integrals through a window."""
    return method.name == "xray"


def windowed(method: Method, window: Window | None) -> Method:
    """The same field, shown through another window; any other method, and no window, as it is."""
    if window is None or not is_attenuation(method):
        return method
    shown = copy.copy(method)
    shown.facts = replace(method.facts, window=window)  # type: ignore[attr-defined]
    return shown


def line_integral_picture(
    layers: Sequence[Layer],
    view: View,
    should_stop: Callable[[], bool] | None = None,
    on_progress: Callable[[float], None] | None = None,
    shutter_layers: Sequence[Sequence[Layer]] = (),
) -> np.ndarray:
    """What a view's rays lose in attenuation fields, all layers added up.

    Parameters
    ----------
    layers, view, should_stop, on_progress, shutter_layers
        Of :func:`rendering.picture.render_picture`.

    Returns
    -------
    (H, W) float32 array
        Line integrals; a layer's does not change when it is scaled, as its opacity does not.

    Raises
    ------
    NerfError
        When none of the layers is an attenuation field.
    """
    chosen = [index for index, layer in enumerate(layers) if is_attenuation(layer.method)]
    if not chosen:
        raise NerfError("None of these NeRFs was trained on radiographs: there are no line integrals; leave them out.")
    plain = replace(view, color="run", normals=False)
    total = np.zeros((view.camera.height, view.camera.width), np.float32)
    for number, index in enumerate(chosen):

        def tell(part: float, before: int = number) -> None:
            if on_progress is not None:
                on_progress((before + part) / len(chosen))

        over_time = [[_wide(group[index])] for group in shutter_layers]
        frame = render_picture([_wide(layers[index])], plain, should_stop, tell, over_time)
        total += frame.rgba[..., 0] * np.float32(WIDEST)
    return total


def _wide(layer: Layer) -> Layer:
    return replace(layer, method=windowed(layer.method, (0.0, WIDEST)))
