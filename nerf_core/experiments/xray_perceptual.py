"""How alike radiographs look to a network: a distance beside PSNR, named by the network that it is of."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.xray import XrayFacts
from ..data.views import View
from .xray_pictures import shown_line_integral


@cache
def _network() -> Any:
    """The distance, once a process; None where its packages are not installed."""
    from ..gan.perceptual import PerceptualDistance, feature_network

    try:
        return PerceptualDistance(feature_network())
    except NerfError:
        return None


def distance(views: Sequence[View], images: Mapping[str, np.ndarray], facts: XrayFacts) -> tuple[float, str] | None:
    """The mean distance over views, as their pictures show them, and whose features it is of.

    Parameters
    ----------
    views : sequence of View
    images : mapping of str to (H, W) array
        Line integrals, by the views' names.
    facts : XrayFacts

    Returns
    -------
    (float, str) or None
        None where there is no network.
    """
    import torch

    network = _network()
    if network is None:
        return None
    found = []
    with torch.no_grad():
        for view in views:
            assert view.line_integral is not None
            pair = [
                torch.from_numpy(shown_line_integral(each, facts))[None, None]
                for each in (images[view.name], view.line_integral)
            ]
            found.append(float(network(*pair).mean()))
    return float(np.mean(found)), str(network.label)
