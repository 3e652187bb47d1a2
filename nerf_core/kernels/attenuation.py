"""The boundary between the method `xray` and who computes it: one backend a device, one layout of numbers.

Everything inside is in the grid's units (`fields.attenuation.NodeGrid`): positions in nodes, distances in cells.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..contract.errors import CheckpointError
from ..fields.attenuation import AttenuationSettings
from .views import ViewArrays

BETAS = (0.9, 0.99)
EPSILON = 1e-8
SOFT = 0.01
"""Differences between nodes that total variation counts as squares, in shares of the subject's mean attenuation."""
PER_VIEW_MEMORY = 0.9
"""Of the sums that views' gains and offsets are solved from, a step."""


class Noise(NamedTuple):
    """What is known of line integrals' errors.

    Detectors count ``N = Poisson(photons exp(-p / scale)) + Normal(0, readout)``, and ``p = -scale log(N / photons)``
    then has, to first order, the variance ``scale^2 (e + (readout e)^2)`` with ``e = exp(p / scale) / photons``.
    `floor` is added in quadrature. No photons: the floor alone.
    """

    photons: float
    readout: float
    floor: float
    scale: float = 1.0


@dataclass(frozen=True)
class Radiographs:
    """Training rays and what they should find.

    Attributes
    ----------
    views : ViewArrays
        Cameras in the unit cube; without pixels.
    chosen : (N,) int64 array
        The pixels whose rays meet the box, numbered through all views.
    targets : (P,) float32 array
        Line integrals of all pixels.
    scale, offset : (3,) float32 arrays
        From the unit cube to nodes: ``position * scale + offset``.
    cell : float
        A cell's length in the unit cube.
    noise : Noise
    reference : float
        The subject's mean attenuation, a cell: what steps and roundings are in proportion to.
    window : float
        Line integrals from black to white, for a PSNR like a picture's.
    per_view : bool
        Whether each view's line integrals are known up to a gain and an offset alone.
    """

    views: ViewArrays
    chosen: np.ndarray
    targets: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    cell: float
    noise: Noise
    reference: float
    window: float
    per_view: bool

    @property
    def frame(self) -> np.ndarray:
        """(3, 3) float32 `scale`, `offset` and `cell`, as kernels take them."""
        return np.stack([self.scale, self.offset, np.full(3, self.cell)]).astype(np.float32)


class BatchStats(NamedTuple):
    """One batch: sums divided by its rays.

    `loss` half the squared error relative to its expected one, `mse` the squared error in shares of the window.
    """

    loss: float
    mse: float
    rays: int
    samples: int


class AttenuationBackend(ABC):
    """A grid of attenuation that can be trained and looked at.

    Parameters
    ----------
    settings : AttenuationSettings
        With a shape.
    weights : (3,) array
        Of differences along x, y and z in total variation: cell / spacing.
    seed : int
    """

    name: str

    def __init__(self, settings: AttenuationSettings, weights: np.ndarray, seed: int) -> None:
        self.settings = settings
        x, y, z = settings.shape
        self.shape = (x, y, z)
        self.weights = np.asarray(weights, np.float32)
        self.seed = seed
        self.step = 0
        self.radiographs: Radiographs | None = None
        self.affine = np.zeros((0, 2), np.float32)
        self._sums = np.zeros((0, 5))

    def load(self, radiographs: Radiographs) -> None:
        """Take the training rays."""
        self.radiographs = radiographs
        views = len(radiographs.views.widths)
        if radiographs.per_view and len(self.affine) != views:
            self.affine = np.tile(np.array([1.0, 0.0], np.float32), (views, 1))
            self._sums = np.zeros((views, 5))

    def drop(self) -> None:
        """Let go of the training rays."""
        self.radiographs = None

    def draw(self) -> np.ndarray:
        """(B,) numbers of this step's pixels: one of each of B equal parts of all of them, in their order.

        So every step sees all views, and neighbouring rays stay neighbours in memory.
        """
        assert self.radiographs is not None
        chosen = self.radiographs.chosen
        count = min(self.settings.rays_per_step, len(chosen))
        random = np.random.default_rng(np.random.SeedSequence([self.seed, self.step])).random(count)
        place = ((np.arange(count) + random) * (len(chosen) / count)).astype(np.int64)
        return chosen[np.minimum(place, len(chosen) - 1)]

    def learning_rate(self, progress: float) -> float:
        """Adam's step, a cell's attenuation: exponential from the first to the last one of the settings."""
        assert self.radiographs is not None
        first, last = self.settings.learning_rate, self.settings.final_learning_rate
        return first * (last / first) ** min(max(progress, 0.0), 1.0) * self.radiographs.reference

    @property
    def smoothing(self) -> tuple[float, float]:
        """Total variation's weight, and what it rounds off below."""
        assert self.radiographs is not None
        reference = self.radiographs.reference
        return self.settings.tv / reference, SOFT * reference

    def fit_views(self, view: np.ndarray, found: np.ndarray, target: np.ndarray) -> None:
        """Solve each view's gain and offset, ``target = gain * found + offset``, from a running sum over batches.

        All gains together are worth 1 and all offsets 0, since the field itself has a scale.
        """
        terms = (np.ones_like(found), found, target, found * found, found * target)
        sums = np.stack([np.bincount(view, term.astype(np.float64), len(self.affine)) for term in terms], axis=-1)
        self._sums = PER_VIEW_MEMORY * self._sums + sums
        count, x, y, xx, xy = np.maximum(self._sums, 0.0).T
        count = np.maximum(count, 1e-12)
        spread = xx / count - (x / count) ** 2
        usable = spread > 1e-6 * np.maximum(xx / count, 1e-12)
        gain = np.where(usable, (xy / count - x * y / count**2) / np.maximum(spread, 1e-12), 1.0)
        gain = np.clip(gain, 0.1, 10.0)
        offset = y / count - gain * x / count
        self.affine[:, 0] = gain / np.exp(np.log(gain).mean())
        self.affine[:, 1] = offset - offset.mean()

    @abstractmethod
    def train_step(self, progress: float) -> BatchStats:
        """One optimisation step."""

    @abstractmethod
    def gradients(self, chosen: np.ndarray) -> tuple[np.ndarray, BatchStats]:
        """The gradient of the whole loss, scaled up from these pixels, without updating anything: (X, Y, Z)."""

    @abstractmethod
    def integrate(self, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None = None) -> np.ndarray:
        """(N, 3): line integrals, their first moments (distances in cells), and how many samples were taken."""

    @abstractmethod
    def query(self, positions: np.ndarray) -> np.ndarray:
        """(N,) attenuation a cell at (N, 3) positions inside the box."""

    @property
    def first_shape(self) -> tuple[int, int, int]:
        """How many nodes `set_values` takes along x, y and z."""
        return self.shape

    @abstractmethod
    def set_values(self, values: np.ndarray) -> None:
        """Take over (X, Y, Z) attenuation a cell, and begin the optimiser anew."""

    @property
    @abstractmethod
    def values(self) -> np.ndarray:
        """(X, Y, Z) float32 copy of the nodes' attenuation a cell."""

    def peak(self) -> float:
        """The largest attenuation a cell that a node has."""
        return float(self.values.max(initial=0.0))

    @abstractmethod
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Copies of Adam's two moments, each shaped as what they are of."""

    @abstractmethod
    def load_moments(self, first: np.ndarray, second: np.ndarray) -> None:
        """Take over Adam's moments."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything that training changes."""
        first, second = self.moments()
        arrays = {**self._field(), "adam/first": first, "adam/second": second}
        if len(self.affine):
            arrays |= {"params/views": self.affine.copy(), "adam/views": self._sums.astype(np.float32)}
        return arrays

    def _field(self) -> dict[str, np.ndarray]:
        return {"params/attenuation": self.values}

    def _load_field(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.set_values(arrays["params/attenuation"])

    def load_arrays(self, arrays: Mapping[str, np.ndarray], step: int) -> None:
        """Take over checked arrays."""
        self._load_field(arrays)
        if "adam/first" in arrays:
            self.load_moments(arrays["adam/first"], arrays["adam/second"])
        if "params/views" in arrays:
            self.affine = np.array(arrays["params/views"], np.float32)
            self._sums = np.array(arrays.get("adam/views", np.zeros((len(self.affine), 5))), np.float64)
        self.step = step

    def warm_up(self, should_stop: Callable[[], bool] | None = None) -> None:  # noqa: B027 - most have no kernels
        """Compile whatever the first step and render would compile."""


def attenuation_backend(
    name: str, settings: AttenuationSettings, weights: np.ndarray, seed: int, device: str
) -> AttenuationBackend:
    """The backend 'cpu' or 'reference' of a dense or a hashed grid; see `AttenuationBackend`."""
    if name == "cpu":
        if settings.hashed:
            from .cpu.attenuation_hash import CpuHashAttenuation

            return CpuHashAttenuation(settings, weights, seed)
        from .cpu.attenuation import CpuAttenuation

        return CpuAttenuation(settings, weights, seed)
    if settings.hashed:
        from .reference.attenuation_hash import TorchHashAttenuation

        return TorchHashAttenuation(settings, weights, seed, device)
    from .reference.attenuation import TorchAttenuation

    return TorchAttenuation(settings, weights, seed, device)


def check_arrays(arrays: Mapping[str, np.ndarray], settings: AttenuationSettings) -> None:
    """Hold a checkpoint's arrays against a field's settings; CheckpointError names the first misfit."""
    if len(settings.shape) != 3:
        raise CheckpointError("the checkpoint does not say how many nodes its field has")
    wanted: dict[str, tuple[int, ...]] = {"params/attenuation": settings.shape}
    moments: tuple[int, ...] = settings.shape
    if settings.hashed:
        layout = settings.layout()
        wanted = {"params/attenuation": layout.coarse, "params/tables": (layout.rows,)}
        moments = (layout.size,)
    if any(name in arrays for name in ("adam/first", "adam/second")):
        wanted |= {"adam/first": moments, "adam/second": moments}
    if "params/views" in arrays:
        views = arrays["params/views"].shape[0] if arrays["params/views"].ndim else 0
        wanted["params/views"] = (views, 2)
        if "adam/views" in arrays:
            wanted["adam/views"] = (views, 5)
    for name, size in wanted.items():
        if name not in arrays:
            raise CheckpointError(f"the checkpoint has no array '{name}'")
        found = arrays[name]
        if tuple(found.shape) != size:
            raise CheckpointError(f"the checkpoint's array '{name}' has shape {tuple(found.shape)} instead of {size}")
        if not np.issubdtype(found.dtype, np.floating):
            raise CheckpointError(f"the checkpoint's array '{name}' has dtype {found.dtype} instead of a float type")
        if not np.isfinite(found).all():
            raise CheckpointError(f"the checkpoint's array '{name}' holds NaN or infinity")
    if not settings.hashed and float(arrays["params/attenuation"].min(initial=0.0)) < 0.0:
        raise CheckpointError("the checkpoint's array 'params/attenuation' holds numbers below zero")
    strange = sorted(set(arrays) - set(wanted))
    if strange:
        raise CheckpointError(f"the checkpoint holds an array '{strange[0]}' that this method does not know")
