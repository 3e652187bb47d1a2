"""The settings of a generative system: presets `tiny` and `paper`, every value overridable, each mistake one sentence.

Nothing heavy is imported here, so that the command line can name presets and settings at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

from ..contract.errors import NerfError
from ..contract.setting_checks import check_choices, check_names, check_ranges, typed

PRESETS = ("tiny", "paper")


@dataclass(frozen=True)
class Settings:
    """What every system has; a system's own settings are a frozen dataclass derived from this one.

    A derived class names itself in `SYSTEM`, adds its ranges and words to `RANGES` and `CHOICES` (as
    ``RANGES = {**Settings.RANGES, ...}``), and gives its presets in :meth:`presets`.

    Attributes
    ----------
    image_size : int
        The images' side in pixels, in training and by default in what is rendered.
    batch : int
        Images (or patches) a step, real and made alike.
    steps : int
        How long the training is meant to last where nobody says a budget; schedules stand on their own.
    ema : float
        Of the generator that pictures are made with: `ema * old + (1 - ema) * new` after each of its steps.
    samples : int
        Stratified samples a ray.
    camera : {'graf', 'data'}
        'graf': the numbers below as they stand. 'data': where the data set says how its images were taken, the field
        of view and distance are its own, scaled so that what is seen at the axis is as large as with 'graf', and the
        polar angle is 90 (see `gan.camera.camera_of_data`).
    field_of_view : float
        Degrees, across the image.
    radius_low, radius_high : float
        Of the source from the axis; each training pose draws its own.
    polar_low, polar_high : float
        Degrees from the axis of rotation; 90 is a source in the plane of the centre.
    near, far : float
        Distances along the rays between which samples lie.
    mirror : bool
        Real images are flipped left to right half of the time.
    """

    SYSTEM: ClassVar[str] = "GAN"
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "image_size": (8, 1024),
        "batch": (1, 256),
        "steps": (1, 10_000_000),
        "ema": (0.0, 0.99999),
        "samples": (2, 1024),
        "field_of_view": (0.1, 120.0),
        "radius_low": (0.01, 1000.0),
        "radius_high": (0.01, 1000.0),
        "polar_low": (1.0, 179.0),
        "polar_high": (1.0, 179.0),
        "near": (0.0, 1000.0),
        "far": (0.001, 1000.0),
    }
    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {"camera": ("graf", "data")}

    image_size: int = 128
    batch: int = 8
    steps: int = 100_000
    ema: float = 0.999
    samples: int = 64
    camera: str = "graf"
    field_of_view: float = 10.0
    radius_low: float = 9.5
    radius_high: float = 10.5
    polar_low: float = 70.0
    polar_high: float = 85.0
    near: float = 7.5
    far: float = 12.5
    mirror: bool = False

    @classmethod
    def presets(cls) -> Mapping[str, Self]:
        """`tiny`, for two CPU cores, and `paper`, as published."""
        return {"tiny": cls(), "paper": cls()}

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], device: str = "cpu") -> Self:
        """Settings from a preset and what differs from it.

        Parameters
        ----------
        given : mapping
            Names of attributes, and `preset`; without it "paper" on a CUDA GPU and "tiny" elsewhere.
        device : str

        Raises
        ------
        NerfError
            When a name is unknown, or a value of the wrong type or out of range.
        """
        values = dict(given)
        preset = values.pop("preset", None) or ("paper" if device.startswith("cuda") else "tiny")
        presets = cls.presets()
        if preset not in presets:
            raise NerfError(f"The preset {preset!r:.80} of {cls.SYSTEM} is not known; use one of {', '.join(presets)}.")
        known = {entry.name: entry.type for entry in fields(cls)}
        check_names(cls.SYSTEM, values, list(known), " and preset")
        values = {name: typed(cls.SYSTEM, name, value, known[name]) for name, value in values.items()}
        settings = replace(presets[preset], **values)
        settings.check()
        return settings

    def to_dict(self) -> dict[str, Any]:
        """All values by name, for `run.json` and checkpoints; :meth:`from_mapping` takes them again."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def nearest_preset(self) -> str:
        """The preset that most of the values agree with, the first of `PRESETS` where several do."""
        presets, mine = self.presets(), self.to_dict()

        def agreeing(name: str) -> int:
            return sum(mine[key] == value for key, value in presets[name].to_dict().items())

        return max(PRESETS, key=agreeing)

    def check(self) -> None:
        """Raise a NerfError that names the first setting that is out of range; derived classes add their own."""
        check_ranges(self.SYSTEM, self, self.RANGES)
        check_choices(self.SYSTEM, self, self.CHOICES)
        for low_name, high_name in (("radius_low", "radius_high"), ("polar_low", "polar_high"), ("near", "far")):
            low, high = getattr(self, low_name), getattr(self, high_name)
            if low > high or (low == high and low_name == "near"):
                raise NerfError(f"{self.SYSTEM}'s setting '{low_name}' is {low}, above '{high_name}', {high}.")
