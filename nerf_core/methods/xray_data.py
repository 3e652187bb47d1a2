"""From a radiograph data set's views to training rays, and to the volume that a field begins as."""

from collections.abc import Callable

import numpy as np

from ..contract.errors import DataError, NerfError
from ..contract.xray import XrayFacts
from ..data.views import Views
from ..fields.attenuation import AttenuationSettings, NodeGrid
from ..kernels.attenuation import Noise, Radiographs
from ..kernels.views import ViewArrays, camera_arrays
from ..xray.grid import Grid
from .base import Normalisation

PIXELS_AT_ONCE = 1 << 18
HALF_WAY = 0.5
"""Of the mean attenuation: what a field begins with where nothing is known."""

INITIAL = {
    "fdk": "The field begins as the views' filtered back-projection.",
    "sart": "The field begins as two passes of algebraic reconstruction.",
    "none": "The field begins the same everywhere.",
    "missing": (
        "The field begins the same everywhere: 'itk-rtk', which would make the volume to begin with, is not installed."
    ),
    "unusual": "The field begins the same everywhere: these views cannot be reconstructed from at once.",
}


def radiographs(
    views: Views, facts: XrayFacts, normalisation: Normalisation, grid: NodeGrid, settings: AttenuationSettings
) -> Radiographs:
    """The training rays of views that have line integrals.

    Raises
    ------
    DataError
        When there is no view, or no ray meets the scene's box.
    """
    if not len(views):
        raise DataError("There is no training view; the data set needs at least one radiograph.")
    arrays = camera_arrays([view.camera for view in views.views], normalisation)
    targets = np.concatenate([np.asarray(view.line_integral, np.float32).reshape(-1) for view in views.views])
    chosen, lengths = _meeting(arrays, views, normalisation)
    if not len(chosen):
        raise DataError(
            f"No training ray meets the scene's box {np.asarray(normalisation.bounds).tolist()}; "
            "correct the bounds in the data set."
        )
    unit_spacing = grid.spacing * normalisation.scale
    cell = grid.cell * normalisation.scale
    whole = float(lengths.sum()) / cell
    reference = max(float(np.maximum(targets[chosen], 0.0).sum(dtype=np.float64)) / whole, 1e-9)
    return Radiographs(
        views=arrays,
        chosen=chosen,
        targets=targets,
        scale=(1.0 / unit_spacing).astype(np.float32),
        offset=(-normalisation.unit_bounds[0] / unit_spacing - 0.5).astype(np.float32),
        cell=cell,
        noise=_noise(facts, settings.noise_floor),
        reference=reference,
        window=float(facts.window[1] - facts.window[0]),
        per_view=facts.scaling == "per_view",
    )


def _meeting(arrays: ViewArrays, views: Views, normalisation: Normalisation) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the pixels whose rays meet the box, and the lengths of the rays in it, in the unit cube."""
    low, high = np.asarray(normalisation.bounds, np.float64)
    numbers, lengths = [], []
    for view, start in zip(views.views, arrays.starts[:-1], strict=True):
        camera = view.camera
        pixels = camera.width * camera.height
        for first in range(0, pixels, PIXELS_AT_ONCE):
            number = np.arange(first, min(first + PIXELS_AT_ONCE, pixels))
            y, x = np.divmod(number, camera.width)
            origins, directions = camera.rays(np.stack([x, y], axis=-1) + 0.5)
            d = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
            a, b = (low - origins) / d, (high - origins) / d
            length = np.maximum(a, b).min(axis=-1) - np.maximum(np.minimum(a, b).max(axis=-1), 0.0)
            meets = length > 0
            numbers.append(start + number[meets])
            lengths.append(length[meets] * normalisation.scale)
    return np.concatenate(numbers).astype(np.int64), np.concatenate(lengths)


def _noise(facts: XrayFacts, floor: float) -> Noise:
    """What the data set says of its noise, under the names that `nerf drr` writes."""
    told = facts.noise or {}

    def number(name: str) -> float:
        value = told.get(name, 0.0)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < 1e12
        return float(value) if usable else 0.0

    # R2-Gaussian's protocol adds the noise to line integrals in shares of the set's largest, which is white.
    scale = facts.window[1] if told.get("kind") == "r2-gaussian" else 1.0
    return Noise(number("photons"), number("readout"), floor, max(scale, 1e-6))


def first_values(
    views: Views,
    grid: NodeGrid,
    cell: float,
    how: str,
    reference: float,
    should_stop: Callable[[], bool] | None = None,
) -> tuple[np.ndarray, str]:
    """(X, Y, Z) attenuation a length of `cell` that a field begins as, and how it was made: one of `INITIAL`.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    """
    even = np.full(grid.shape, HALF_WAY * reference, np.float32)
    if how == "none":
        return even, how
    from ..xray.init import initial_volume

    matrix = np.diag([*grid.spacing, 1.0])
    matrix[:3, 3] = grid.bounds[0] + 0.5 * grid.spacing
    try:
        made = initial_volume(views.views, Grid(grid.shape, matrix), how, should_stop=should_stop)
    except DataError:  # no common axis, say
        return even, "unusual"
    except NerfError:
        return even, "missing"
    if made is None or not np.isfinite(made).all():
        return even, "unusual"
    return np.maximum(made * np.float32(cell), 0.0, dtype=np.float32), how
