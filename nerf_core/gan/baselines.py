"""What needs no learning: what any system must do better than, on the same views."""

import numpy as np
from PIL import Image

from .dataset import Radiographs


def copy_view(given: np.ndarray, count: int) -> np.ndarray:
    """The given view (S, S) for every other one: (count, S, S)."""
    return np.repeat(given[None], count, axis=0)


def mean_view(training: Radiographs, count: int) -> np.ndarray:
    """The mean of all training images, for every view: (count, S, S)."""
    return np.repeat(training.images.mean(axis=0, dtype=np.float64).astype(np.float32)[None], count, axis=0)


def mean_at_angles(training: Radiographs, azimuths: np.ndarray) -> np.ndarray:
    """The mean over the training instances of their views at each azimuth.

    Between two views of an instance it is interpolated by their angles; the training instances must therefore lie as
    the measured one does, which patients on a scanner's table do.

    Parameters
    ----------
    training : Radiographs
    azimuths : (V,) array
        Degrees.

    Returns
    -------
    (V, S, S) float32 array
    """
    total = np.zeros((len(azimuths), training.size, training.size), dtype=np.float64)
    for instance in range(len(training.names)):
        total += _at(*training.of(instance), np.asarray(azimuths, dtype=np.float64))
    return (total / len(training.names)).astype(np.float32)


def shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    """A grey (H, H) float32 picture at `size` pixels a side, by area averaging, as data sets are read."""
    if len(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))


def _at(images: np.ndarray, known: np.ndarray, azimuths: np.ndarray) -> np.ndarray:
    """One instance's views at azimuths, interpolated between the neighbours on its turn."""
    order = np.argsort(known % 360.0, kind="stable")
    images, known = images[order], known[order].astype(np.float64) % 360.0
    wanted = azimuths % 360.0
    after = np.searchsorted(known, wanted, side="right")
    low, high = (after - 1) % len(known), after % len(known)
    gap = (known[high] - known[low]) % 360.0
    gap = np.where(gap == 0.0, 360.0, gap)  # a single view
    share = (((wanted - known[low]) % 360.0) / gap)[:, None, None]
    return (1.0 - share) * images[low] + share * images[high]
