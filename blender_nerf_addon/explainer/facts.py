"""What a story tells: the real numbers of one pixel, of its ray, and of the training. No bpy here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..inspect.state import one_ray
from ..vendor.nerf_core.contract.camera import Camera

END_OPAQUE = 2  # of the contract's reasons: the ray was full


@dataclass(frozen=True)
class Ray:
    """One pixel's ray taken apart; S samples, world units, colours straight sRGB.

    Attributes
    ----------
    origin, direction : (3,) float64 arrays
    near, far : float
        Of the scene's box.
    end : float
        Where the ray ended.
    first : (F,) float array
        Distances of the samples of an earlier stage, which only say where to look.
    t, t0, t1, density, weight, transmittance : (S,) arrays
        Of the samples whose colours count; transmittance before each.
    color : (S, 3) array
    skipped : (K, 2) array
        Stretches that were passed over.
    bins : (B, 3) array
        Start, end and probability of what the samples were drawn from; none where nothing was drawn.
    rgba : (4,) array
        Premultiplied.
    """

    origin: np.ndarray
    direction: np.ndarray
    near: float
    far: float
    end: float
    first: np.ndarray
    t: np.ndarray
    t0: np.ndarray
    t1: np.ndarray
    density: np.ndarray
    weight: np.ndarray
    transmittance: np.ndarray
    color: np.ndarray
    skipped: np.ndarray
    bins: np.ndarray
    rgba: np.ndarray

    @classmethod
    def from_trace(cls, arrays: Mapping[str, np.ndarray], ray: int = 0) -> "Ray":
        """One ray of what `trace` answers."""
        own = {key: np.asarray(value, dtype=np.float64) for key, value in one_ray(arrays, ray).items()}
        last = own["stage"] == own["stage"].max() if own["stage"].size else np.zeros(0, dtype=bool)
        counts = last & (own["selected"] > 0)
        names = ("t", "t0", "t1", "density", "weight", "transmittance", "color")
        return cls(
            origin=own["origin"],
            direction=own["direction"],
            near=float(own["near"]),
            far=float(own["far"]),
            end=float(own["end"]),
            first=own["t"][own["stage"] < own["stage"].max()] if own["stage"].size else np.zeros(0),
            skipped=np.stack([own["skip_t0"], own["skip_t1"]], axis=-1).reshape(-1, 2),
            bins=np.stack([own["bin_t0"], own["bin_t1"], own["bin_weight"]], axis=-1).reshape(-1, 3),
            rgba=own["rgba"],
            **{name: own[name][counts] for name in names},
        )

    def thinned(self, most: int) -> "Ray":
        """The same with at most so many samples: those that weigh most, in their order."""
        if len(self.t) <= most:
            return self
        kept = np.sort(np.argsort(-self.weight, kind="stable")[:most])
        names = ("t", "t0", "t1", "density", "weight", "transmittance", "color")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})

    def shortened(self, size: float) -> "Ray":
        """The same, ending soon after what matters: an unbounded scene's rays go on for ever.

        Parameters
        ----------
        size : float
            Of the subject, world units.
        """
        far = min(self.far, max(self.weighty()[1] + 0.25 * size, self.near + size))
        return replace(self, far=far, end=min(self.end, far))

    @property
    def opacity(self) -> np.ndarray:
        """(S,) how much of the light each sample stops."""
        return np.clip(self.weight / np.maximum(self.transmittance, 1e-9), 0.0, 1.0)

    @property
    def accumulated(self) -> np.ndarray:
        """(S + 1, 3) premultiplied colour before the first and after each sample."""
        return np.concatenate([np.zeros((1, 3)), np.cumsum(self.weight[:, None] * self.color, axis=0)])

    @property
    def passing(self) -> np.ndarray:
        """(S + 1,) transmittance before the first and after each sample."""
        return np.concatenate([np.ones(1), 1.0 - np.cumsum(self.weight)]).clip(0.0, 1.0)

    def at(self, t: float | np.ndarray) -> np.ndarray:
        """World positions (..., 3) at distances along the ray."""
        return self.origin + np.asarray(t)[..., None] * self.direction

    def weighty(self) -> tuple[float, float]:
        """From where to where all but a few percent of the weight lies."""
        if not len(self.t) or self.weight.sum() <= 0:
            return self.near, self.near
        share = np.cumsum(self.weight) / self.weight.sum()
        low, high = np.searchsorted(share, (0.02, 0.97))
        return float(self.t[low]), float(self.t[min(high, len(self.t) - 1)])

    def close_up(self) -> tuple[float, float]:
        """From where to where on the ray what matters lies, with something around it."""
        if not len(self.t) or self.weight.sum() <= 0:
            return (self.near, self.far) if self.far > self.near else (0.5, 1.0)
        low, high = self.weighty()
        spacing = float(np.median(np.diff(self.t))) if len(self.t) > 1 else 0.02 * (self.far - self.near)
        margin = max(0.2 * (high - low), 3.0 * spacing)
        low, high = max(low - margin, self.t[0] - spacing), min(high + margin, self.t[-1] + spacing)
        return float(low), float(max(high, low + 6.0 * spacing))


@dataclass(frozen=True)
class Moment:
    """The NeRF at one moment of its training.

    Attributes
    ----------
    step : int
    seconds : float
        Of training.
    ray : Ray
    picture : (H, W, 3) float array
        The view as it was rendered then, sRGB over the stage's paper.
    color : (3,) float array
        The pixel as it was rendered then, sRGB over the run's background.
    error : float
        Root of the mean squared difference of its three channels from the true ones, 0 to 1.
    """

    step: int
    seconds: float
    ray: Ray
    picture: np.ndarray
    color: np.ndarray
    error: float


@dataclass
class Story:
    """Everything that is told.

    Attributes
    ----------
    run : str
        Its folder's name.
    method, sampler : str
    view : str
        Name of the picture, as the data set calls it.
    camera : Camera
        That took it, training world.
    pixel : (2,) float array
        Pixel coordinates in it.
    truth : (3,) float array
        The pixel in the picture, sRGB over the run's background.
    picture : (h, w, 3) float array
        The picture, sRGB over the stage's paper, shrunk.
    bounds : (2, 3) float64 array
    cameras : list of Camera
        All training cameras.
    fan : list of (start, end, color)
        Rays of other pixels: (3,) positions, (3,) sRGB.
    cloud, cloud_color : (N, 3) float arrays
        Points where the NeRF is dense, and their sRGB colours.
    novel : (h, w, 3) float array
        What the overview sees, as the NeRF renders it, sRGB over the stage's ground.
    moments : list of Moment
        Oldest first; the last is the NeRF as it is.
    """

    run: str
    method: str
    sampler: str
    view: str
    camera: Camera
    pixel: np.ndarray
    truth: np.ndarray
    picture: np.ndarray
    bounds: np.ndarray
    cameras: list[Camera]
    fan: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=list)
    cloud: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    cloud_color: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    novel: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3)))
    moments: list[Moment] = field(default_factory=list)

    @property
    def now(self) -> Moment:
        """The NeRF as it is."""
        return self.moments[-1]

    @property
    def ray(self) -> Ray:
        """Its ray."""
        return self.now.ray

    @property
    def size(self) -> float:
        """Length of the box's diagonal."""
        return float(np.linalg.norm(self.bounds[1] - self.bounds[0]))

    @property
    def cell(self) -> tuple[int, int]:
        """Column and row of the shrunk picture's cell that the pixel lies in."""
        height, width = self.picture.shape[:2]
        x = int(self.pixel[0] / self.camera.width * width)
        y = int(self.pixel[1] / self.camera.height * height)
        return min(x, width - 1), min(y, height - 1)


def over(rgba: np.ndarray, background: Any) -> np.ndarray:
    """(..., 3) premultiplied (..., 4) over a colour, within 0 to 1."""
    rgba = np.asarray(rgba, dtype=np.float64)
    return np.clip(rgba[..., :3] + (1.0 - rgba[..., 3:]) * np.asarray(background, dtype=np.float64), 0.0, 1.0)


def difference(color: np.ndarray, truth: np.ndarray) -> float:
    """Root of the mean squared difference of two colours' channels."""
    return float(np.sqrt(np.mean((np.asarray(color) - np.asarray(truth)) ** 2)))
