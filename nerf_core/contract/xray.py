"""X-rays: attenuation and Hounsfield units, the cone-beam rig, and what a radiograph data set says of itself.

Physical attenuation is per centimetre, as its tables are; in data sets and fields it is per world unit. A line integral
p = integral of mu dt has no unit, and the intensity behind the object is exp(-p).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from .camera import MAX_SIDE, Camera, look_at
from .errors import DataError, NerfError
from .json_data import shown
from .xray_words import DEFAULT_VIEWS, NOT_FOR_DIAGNOSIS, RIGS, SCALINGS, Scaling

__all__ = [
    "DEFAULT_VIEWS",
    "MATERIALS",
    "MU_AIR",
    "MU_WATER",
    "NOT_FOR_DIAGNOSIS",
    "PRESETS",
    "QUANTITIES",
    "RIGS",
    "SCALINGS",
    "ConeBeam",
    "Scaling",
    "XrayFacts",
    "hu_to_mu",
    "mu_to_hu",
    "preset",
]

MU_WATER = 0.206
"""Of water at 60 keV, 1 / cm."""
MU_AIR = 0.0004
"""Of air as it is taken for Hounsfield units here, 1 / cm."""

# Mass attenuation with coherent scattering at 60 keV times density, both from J. H. Hubbell and S. M. Seltzer, "Tables
# of X-Ray Mass Attenuation Coefficients", NISTIR 5632; tissues as ICRU-44 mixes them.
MATERIALS: dict[str, float] = {
    "air": MU_AIR,
    "lung": 0.2053 * 0.26,  # inflated
    "fat": 0.1974 * 0.95,
    "water": MU_WATER,
    "soft tissue": 0.2048 * 1.06,
    "bone": 0.37,  # of a whole one at 1.4 g / cm^3: two fifths cortical, the rest as soft tissue
    "cortical bone": 0.3148 * 1.92,
    "acrylic": 0.1924 * 1.19,
    "aluminium": 0.2778 * 2.699,
    "titanium": 0.7661 * 4.54,
    "iron": 1.205 * 7.874,
    "copper": 1.593 * 8.96,
    "lead": 5.021 * 11.35,
}
"""Linear attenuation at 60 keV, 1 / cm."""

WINDOWS: dict[str, tuple[float, float]] = {
    "soft tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "all": (-1000.0, 1500.0),
}
"""Hounsfield units that slices show as black and white; radiology's usual windows."""

QUANTITIES = ("line_integral",)


def hu_to_mu(hu: np.ndarray | float) -> np.ndarray:
    """Attenuation of Hounsfield units, 1 / cm, never below 0; float32 stays float32."""
    values = np.asarray(hu)
    values = values if values.dtype == np.float32 else values.astype(np.float64)
    return np.maximum(MU_WATER + values * ((MU_WATER - MU_AIR) / 1000.0), 0.0)


def mu_to_hu(mu: np.ndarray | float) -> np.ndarray:
    """Hounsfield units of an attenuation in 1 / cm; float32 stays float32."""
    values = np.asarray(mu)
    values = values if values.dtype == np.float32 else values.astype(np.float64)
    return (values - MU_WATER) * (1000.0 / (MU_WATER - MU_AIR))


@dataclass(frozen=True)
class ConeBeam:
    """A point source and a flat detector that turn about an axis; the detector is square to the central ray.

    Attributes
    ----------
    source_axis, source_detector : float
        From the source to the axis and to the detector.
    detector : (width, height)
        The detector's size; all lengths in one unit, which the caller chooses (world units for :meth:`camera`).
    pixels : (width, height)
        Of the radiograph.

    Raises
    ------
    NerfError
        When a length is no positive number, the detector lies before the axis, or the pixels are no image size.
    """

    source_axis: float
    source_detector: float
    detector: tuple[float, float]
    pixels: tuple[int, int]

    def __post_init__(self) -> None:
        width, height = self.detector
        lengths = {
            "source to axis": self.source_axis,
            "source to detector": self.source_detector,
            "detector's width": width,
            "detector's height": height,
        }
        for name, length in lengths.items():
            if not 0.0 < float(length) < 1e9:  # NaN too
                raise NerfError(f"A cone beam's length '{name}' must be a positive number, not {length}.")
        if self.source_detector < self.source_axis:
            raise NerfError(
                f"The detector ({self.source_detector:g} from the source) must not be nearer than the axis "
                f"({self.source_axis:g}): make the distance from source to detector larger."
            )
        if not all(int(n) == n and 1 <= n <= MAX_SIDE for n in self.pixels):
            raise NerfError(f"A radiograph of {self.pixels[0]}x{self.pixels[1]} is outside 1 to {MAX_SIDE} pixels.")
        object.__setattr__(self, "detector", (float(width), float(height)))
        object.__setattr__(self, "pixels", (int(self.pixels[0]), int(self.pixels[1])))

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel on the detector."""
        return self.detector[0] / self.pixels[0], self.detector[1] / self.pixels[1]

    @property
    def field_of_view(self) -> float:
        """The radius of the cylinder about the axis that every view sees whole, in the same unit."""
        half_angle = math.atan(self.detector[0] / 2.0 / self.source_detector)
        return self.source_axis * math.sin(half_angle)

    def scaled(self, factor: float) -> "ConeBeam":
        """The same rig in another unit: every length times `factor`."""
        return replace(
            self,
            source_axis=self.source_axis * factor,
            source_detector=self.source_detector * factor,
            detector=(self.detector[0] * factor, self.detector[1] * factor),
        )

    def with_pixels(self, width: int, height: int) -> "ConeBeam":
        """The same rig at another resolution."""
        return replace(self, pixels=(width, height))

    def camera(self, center: np.ndarray, angle: float, axis: str = "z") -> Camera:
        """The pinhole camera of one view: it stands at the source and its picture is the detector's.

        Parameters
        ----------
        center : (3,) array
            Where the central ray meets the axis, world units as the rig's lengths.
        angle : float
            Degrees, counter-clockwise as seen from the axis' positive end. At 0 the source lies on -y and looks along
            +y, with +x to the right and +z up: in a patient's RAS axes from the back to the front. (For the axis x: on
            -z, with +y to the right; for y: on -x, with +z to the right.)
        axis : {'z', 'x', 'y'}
            What the rig turns about; it is up in every view.
        """
        if axis not in ("x", "y", "z"):
            raise NerfError(f"A cone beam turns about x, y or z, not '{shown(str(axis))}'.")
        turn = math.radians(angle)
        center = np.asarray(center, dtype=np.float64)
        up, right, forward = np.roll(np.eye(3)[[2, 0, 1]], "zxy".index(axis), axis=1)
        source = center + self.source_axis * (math.sin(turn) * right - math.cos(turn) * forward)
        width, height = self.pixels
        pixel_width, pixel_height = self.pixel_size
        return Camera(
            width=width,
            height=height,
            fl_x=self.source_detector / pixel_width,
            fl_y=self.source_detector / pixel_height,
            cx=width / 2.0,
            cy=height / 2.0,
            c2w=look_at(source, center, up=tuple(up)),
        )

    def cameras(
        self, center: np.ndarray, count: int, start: float = 0.0, arc: float = 360.0, axis: str = "z"
    ) -> list[Camera]:
        """`count` views, `arc / count` degrees apart, the first at `start` (see :meth:`camera`)."""
        if count < 1:
            raise NerfError(f"A turntable has at least 1 view, not {count}.")
        return [self.camera(center, start + arc * index / count, axis) for index in range(count)]


PRESETS: dict[str, ConeBeam] = {
    "chest": ConeBeam(541.0, 949.0, (500.0, 500.0), (128, 128)),
    "knee": ConeBeam(541.0, 949.0, (350.0, 350.0), (128, 128)),
    "volume": ConeBeam(2.5, 3.5, (2.0, 2.0), (128, 128)),
}
"""In millimetres; "volume" in the volume's longest side (use :func:`preset`). Chest: the LIDC scanner's own distances;
volume: R2-Gaussian's (Zha et al. 2024), which holds all of a cylinder in the volume's cube."""


def preset(name: str, longest_side: float) -> ConeBeam:
    """A rig of `PRESETS` in millimetres, for a volume whose longest side is `longest_side` millimetres."""
    if name not in PRESETS:
        raise NerfError(f"The rig '{shown(str(name))}' is not known; use one of {', '.join(PRESETS)}.")
    return PRESETS[name].scaled(longest_side) if name == "volume" else PRESETS[name]


@dataclass(frozen=True)
class XrayFacts:
    """What a radiograph data set says of itself, under `nerf_toolkit.xray` in its transforms*.json.

    Attributes
    ----------
    window : (low, high)
        Line integrals that its pictures show as black and white; one for the whole set.
    source_axis, source_detector, detector : float, float, (width, height), or None each
        Of the rig, world units; None where it is not known.
    meters_per_unit : float
        Of its world.
    volume : str or None
        The truth in HU (NIfTI), relative to the data set's folder.
    noise : dict or None
        How its line integrals were made noisy.
    scaling : {'physical', 'per_view'}
        'per_view': each picture was scaled by itself, so that line integrals are known up to gain and offset of a view.
    """

    window: tuple[float, float]
    source_axis: float | None = None
    source_detector: float | None = None
    detector: tuple[float, float] | None = None
    meters_per_unit: float = 1.0
    volume: str | None = None
    noise: Mapping[str, Any] | None = None
    scaling: Scaling = "physical"
    quantity: str = "line_integral"
    not_for_diagnosis: str = NOT_FOR_DIAGNOSIS

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        values = asdict(self)
        values["window"] = list(self.window)
        values["detector"] = None if self.detector is None else list(self.detector)
        values["noise"] = None if self.noise is None else dict(self.noise)
        return values

    @classmethod
    def from_dict(cls, values: Any) -> "XrayFacts":
        """Read what :meth:`to_dict` wrote.

        Raises
        ------
        DataError
            When a value is missing or not usable; the message names the key, and the caller the file.
        """
        if not isinstance(values, Mapping):
            raise DataError("'nerf_toolkit.xray' is not an object")
        window = _pair(values, "window")
        if window is None or not window[0] < window[1]:
            raise DataError("'nerf_toolkit.xray.window' is not two growing numbers")
        detector = _pair(values, "detector")
        if detector is not None and min(detector) <= 0:
            raise DataError("'nerf_toolkit.xray.detector' is not a positive width and height")
        noise = values.get("noise")
        if noise is not None and not isinstance(noise, Mapping):
            raise DataError("'nerf_toolkit.xray.noise' is not an object")
        meters = _positive(values, "meters_per_unit")
        return cls(
            window=window,
            source_axis=_positive(values, "source_axis"),
            source_detector=_positive(values, "source_detector"),
            detector=detector,
            meters_per_unit=1.0 if meters is None else meters,
            volume=_inside(values.get("volume")),
            noise=None if noise is None else dict(noise),
            scaling=_one_of(values, "scaling", SCALINGS),
            quantity=_one_of(values, "quantity", QUANTITIES),
        )


def _usable(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _positive(values: Mapping[str, Any], key: str) -> float | None:
    value = values.get(key)
    if value is None:
        return None
    if not _usable(value) or value <= 0:
        raise DataError(f"'nerf_toolkit.xray.{key}' is not a positive number")
    return float(value)


def _pair(values: Mapping[str, Any], key: str) -> tuple[float, float] | None:
    value = values.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_usable, value)):
        raise DataError(f"'nerf_toolkit.xray.{key}' is not two numbers")
    return float(value[0]), float(value[1])


def _one_of(values: Mapping[str, Any], key: str, known: tuple[Any, ...]) -> Any:
    value = values.get(key, known[0])
    if value not in known:
        raise DataError(f"'nerf_toolkit.xray.{key}' is '{shown(str(value))}', not one of {', '.join(known)}")
    return value


def _inside(value: Any) -> str | None:
    """A path within the data set's folder, as both systems write them."""
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise DataError("'nerf_toolkit.xray.volume' is not a path")
    path = PurePosixPath(value.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(value).anchor or ".." in path.parts:
        raise DataError(f"'nerf_toolkit.xray.volume' must lie inside the data set, not at '{shown(value)}'")
    return value
