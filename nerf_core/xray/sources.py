"""What radiographs are taken of: CT volumes, phantoms of ellipsoids, trained attenuation fields, and sums of these.

The world of a radiograph data set is RAS in metres, unless a matrix moves it. What attenuates is the physical length
that a ray runs through it: a world length times `meters_per_unit`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import Cancelled, NerfError
from ..contract.xray_words import PHANTOM
from ..ct import Volume, read_ct
from ..ct.phantoms import DEFAULT_VOXELS, Phantom, parse_phantom
from .projector import Model, project_between, project_camera

if TYPE_CHECKING:
    from ..training.load import LoadedRun

MILLIMETRE = 0.001
CM_PER_METRE = 100.0
RAYS_AT_ONCE = 1 << 14
Stop = Callable[[], bool]


class RadiographSource(ABC):
    """Something with line integrals.

    Attributes
    ----------
    name : str
        What a person calls it.
    bounds : (2, 3) float64 array
        World box around it.
    """

    name: str
    bounds: np.ndarray

    @abstractmethod
    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """(H, W) float32 line integrals along the rays through a camera's pixels' centres.

        Raises
        ------
        Cancelled
            When `should_stop` said so.
        """

    def truth(self) -> Volume | None:
        """The volume that it is, if it is one: HU, its affine to the world in millimetres (units times metres)."""
        return None

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What tells it from another, as plain JSON: radiographs of the same are gone on with."""

    def patients(self) -> list[str]:
        """Whom it is of, as `membership.identity_of` tells them, wherever they lie and however they are resampled."""
        return []


def digest(*arrays: np.ndarray) -> str:
    """Of arrays' bytes: a mirrored or moved subject is another one."""
    whole = hashlib.sha256()
    for array in arrays:
        whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]


class VolumeSource(RadiographSource):
    """A CT; `corners` (8, 3) are its box's in the world, the last axis fastest.

    Parameters
    ----------
    volume : Volume
    matrix : (4, 4) array, optional
        From RAS metres to the world.
    meters_per_unit : float
        Of the world.
    model : {'joseph', 'siddon'}
    patient : str, optional
        What it was resampled from, as `membership.voxels_of` tells it; None: what it is itself.
    """

    def __init__(
        self,
        volume: Volume,
        matrix: np.ndarray | None = None,
        meters_per_unit: float = 1.0,
        model: Model = "joseph",
        patient: str | None = None,
    ) -> None:
        self.name, self.volume, self.model = volume.name, volume, model
        self._patient = patient
        self._world_from_mm = world_from_mm(matrix)
        self.world_from_index = self._world_from_mm @ volume.affine
        self.corners = _moved(volume.corners, self._world_from_mm)
        self.bounds = np.stack([self.corners.min(axis=0), self.corners.max(axis=0)])
        self._meters = meters_per_unit
        # Rays of a turntable about z run across x and y: beside each other they differ in z, which memory has last.
        self._mu = np.ascontiguousarray(volume.mu(), dtype=np.float32)
        self._mu *= np.float32(CM_PER_METRE * meters_per_unit)

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        return project_camera(self._mu, self.world_from_index, camera, self.model, should_stop)

    def between(self, origins: np.ndarray, directions: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """(N,) line integrals along a stretch of each world ray: `projector.project_between`."""
        return project_between(self._mu, self.world_from_index, origins, directions, starts, stops, self.model)

    def truth(self) -> Volume:
        """See `RadiographSource`."""
        return replace(self.volume, affine=_truth_affine(self.world_from_index, self._meters))

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        values = self.volume.values
        return {
            "volume": self.name,
            "shape": list(values.shape),
            "digest": digest(values),
            "matrix": np.round(self.world_from_index, 12).tolist(),
        }

    def patients(self) -> list[str]:
        """See `RadiographSource`."""
        from .membership import voxels_of

        return [voxels_of(self.volume) if self._patient is None else self._patient]


class PhantomSource(RadiographSource):
    """A phantom: its ellipsoids' exact integrals, whatever its voxels are; `corners` as `VolumeSource` has them.

    Parameters
    ----------
    phantom : Phantom
    voxels : int or None
        Of its truth, along its box's longest side; None: 128.
    matrix, meters_per_unit
        As `VolumeSource` takes them.
    """

    def __init__(
        self,
        phantom: Phantom,
        voxels: int | None = None,
        matrix: np.ndarray | None = None,
        meters_per_unit: float = 1.0,
    ) -> None:
        self.name, self.phantom, self._voxels, self._meters = phantom.name, phantom, voxels, meters_per_unit
        self._world_from_mm = world_from_mm(matrix)
        corners = np.stack(np.meshgrid(*phantom.bounds.T, indexing="ij"), axis=-1).reshape(8, 3)
        self.corners = _moved(corners, self._world_from_mm)
        self.bounds = np.stack([self.corners.min(axis=0), self.corners.max(axis=0)])

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        origins, directions = camera.rays()
        p = np.empty(origins.shape[:2])
        rows = max(1, RAYS_AT_ONCE // camera.width)
        for first in range(0, camera.height, rows):
            _go_on(should_stop)
            part = slice(first, first + rows)
            p[part] = self._onwards(origins[part], directions[part])
        return p.astype(np.float32)

    def between(self, origins: np.ndarray, directions: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """(N,) exact line integrals along a stretch of each (N, 3) world ray; nothing before its origin counts."""
        begin, end = (np.maximum(each, 0.0)[:, None] for each in (starts, stops))
        return self._onwards(origins + begin * directions, directions) - self._onwards(
            origins + end * directions, directions
        )

    def _onwards(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(...) integrals along (..., 3) world rays, from their origins on."""
        linear = np.linalg.inv(self._world_from_mm[:3, :3])
        starts = (origins - self._world_from_mm[:3, 3]) @ linear.T
        steps = directions @ linear.T
        lengths = np.linalg.norm(steps, axis=-1)  # millimetres of the patient a world unit
        return self.phantom.line_integrals(starts, steps / lengths[..., None]) * (self._meters / MILLIMETRE) / lengths

    def truth(self) -> Volume:
        """See `RadiographSource`."""
        volume = self.phantom.volume(self._voxels or DEFAULT_VOXELS)
        return replace(volume, affine=_truth_affine(self._world_from_mm @ volume.affine, self._meters))

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        return {"phantom": self.name, "voxels": self._voxels, "matrix": np.round(self._world_from_mm, 12).tolist()}

    def patients(self) -> list[str]:
        """See `RadiographSource`."""
        return [self.name]


class FieldSource(RadiographSource):
    """A trained attenuation field: novel radiographs of it.

    Parameters
    ----------
    loaded : LoadedRun
        Of a method with line integrals.

    Raises
    ------
    NerfError
        When the run is no field of attenuation.
    """

    def __init__(self, loaded: "LoadedRun") -> None:
        if not hasattr(loaded.method, "line_integrals"):
            raise NerfError(
                f"The run '{loaded.folder.root}' holds a radiance field ({loaded.method.name}): radiographs are made "
                "of runs of the method xray, CTs and phantoms."
            )
        self.name, self.bounds, self._loaded = loaded.folder.root.name, np.asarray(loaded.bounds), loaded

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        method: Any = self._loaded.method
        origins, directions = (part.reshape(-1, 3).astype(np.float32) for part in camera.rays())
        p = np.empty(len(origins), np.float32)
        for first in range(0, len(p), RAYS_AT_ONCE):
            _go_on(should_stop)
            part = slice(first, first + RAYS_AT_ONCE)
            p[part] = method.line_integrals(origins[part], directions[part])
        return p.reshape(camera.height, camera.width)

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        return {"run": self._loaded.settings.get("id") or self.name, "steps": self._loaded.spent.steps}


class SumSource(RadiographSource):
    """Several at once: where they overlap their attenuations add up."""

    def __init__(self, parts: Sequence[RadiographSource]) -> None:
        if not parts:
            raise NerfError("There is nothing to take radiographs of.")
        self.parts = list(parts)
        self.name = " + ".join(part.name for part in parts)
        boxes = np.stack([part.bounds for part in parts])
        self.bounds = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])

    def line_integrals(self, camera: Camera, should_stop: Stop | None = None) -> np.ndarray:
        """See `RadiographSource`."""
        return np.sum([part.line_integrals(camera, should_stop) for part in self.parts], axis=0, dtype=np.float32)

    def truth(self) -> Volume | None:
        """See `RadiographSource`."""
        return self.parts[0].truth() if len(self.parts) == 1 else None

    def identity(self) -> dict[str, Any]:
        """See `RadiographSource`."""
        return {"parts": [part.identity() for part in self.parts]}

    def patients(self) -> list[str]:
        """See `RadiographSource`."""
        return [patient for part in self.parts for patient in part.patients()]


def open_radiograph_source(
    text: str | Path,
    grid: int | None = None,
    matrix: np.ndarray | None = None,
    meters_per_unit: float = 1.0,
    model: Model = "joseph",
    series: str | None = None,
) -> VolumeSource | PhantomSource:
    """The CT of a path as `ct.read_ct` takes it, or the phantom that `phantom:KIND:SEED` names.

    Parameters
    ----------
    text : str or path
    grid : int, optional
        Resample a CT to a cube of so many voxels a side, which is projected and is the truth. A phantom's truth gets so
        many along its longest side, and its exact integrals are taken all the same.
    matrix, meters_per_unit, model
        As `VolumeSource` takes them.
    series : str, optional
        As `ct.read_ct` takes it.

    Raises
    ------
    NerfError
        When it cannot be read.
    """
    if grid is not None and not 8 <= grid <= 1024:
        raise NerfError(f"A grid has 8 to 1024 voxels a side, not {grid}.")
    if str(text).startswith(PHANTOM):
        phantom = parse_phantom(str(text))
        assert phantom is not None
        return PhantomSource(phantom, grid, matrix, meters_per_unit)
    volume = read_ct(text, series)
    # Turned to RAS whatever the file's order is, so that z is last in memory.
    if grid is None:
        return VolumeSource(volume.canonical(), matrix, meters_per_unit, model)
    from .membership import voxels_of

    return VolumeSource(volume.resampled(cube=grid), matrix, meters_per_unit, model, voxels_of(volume))


def world_from_mm(matrix: np.ndarray | None) -> np.ndarray:
    """(4, 4) from RAS millimetres to the world, of a matrix from RAS metres (None: the world is RAS metres)."""
    given = np.eye(4) if matrix is None else np.asarray(matrix, dtype=np.float64)
    if given.shape != (4, 4) or not np.isfinite(given).all() or abs(np.linalg.det(given[:3, :3])) < 1e-12:
        raise NerfError("The matrix of a CT must be an invertible 4x4 matrix of finite numbers.")
    return given @ np.diag([MILLIMETRE, MILLIMETRE, MILLIMETRE, 1.0])


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """(N, 3) points that a (4, 4) matrix moved."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _truth_affine(world_from_index: np.ndarray, meters_per_unit: float) -> np.ndarray:
    scale = meters_per_unit / MILLIMETRE
    return np.diag([scale, scale, scale, 1.0]) @ world_from_index


def _go_on(should_stop: Stop | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled("the radiograph was stopped")
