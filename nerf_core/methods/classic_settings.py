"""The sizes and switches of the classic method, checked."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from ..contract.errors import NerfError


@dataclass(frozen=True)
class ClassicSettings:
    """Defaults are the published values, `preset` "paper"; the others are `PRESETS`.

    Attributes
    ----------
    depth, width : int
        Hidden layers of each network, and their width.
    skip : int
        The layer, counted from 1, whose output the encoded position is joined to again; 0 for none.
    positional_encoding, view_directions : bool
        Switches for ablation: without the first, coordinates go in as they are; without the second, colour does not
        depend on the viewing direction.
    position_frequencies, direction_frequencies : int
        Of the positional encodings.
    include_input : bool
        Pass the plain coordinates beside their encoding, as the authors' code does.
    density_activation : {'relu', 'softplus'}
    coarse_samples, fine_samples : int
        A ray; 0 fine samples trains one network only.
    rays_per_step : int
    learning_rate, final_learning_rate : float
        Adam's, at the beginning and at the end of the budget; exponential in between.
    depth_loss : float
        Weight of the depth loss at the beginning, where the images come with depth; 0 leaves depth unread.
    """

    depth: int = 8
    width: int = 256
    skip: int = 5
    positional_encoding: bool = True
    view_directions: bool = True
    position_frequencies: int = 10
    direction_frequencies: int = 4
    include_input: bool = True
    density_activation: str = "relu"
    coarse_samples: int = 64
    fine_samples: int = 128
    rays_per_step: int = 1024
    learning_rate: float = 5e-4
    final_learning_rate: float = 5e-5
    depth_loss: float = 1.0

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any], device: str) -> "ClassicSettings":
        """Settings from a preset and what differs from it.

        Parameters
        ----------
        given : mapping
            Names of attributes, and `preset`: "paper" or "small". Without it, "paper" on a GPU and "small" elsewhere,
            where the published sizes take ten seconds a step.
        device : str

        Raises
        ------
        NerfError
            When a name is unknown or a value is of the wrong type or out of range.
        """
        values = dict(given)
        preset = values.pop("preset", None) or ("paper" if device.startswith("cuda") else "small")
        if preset not in PRESETS:
            raise NerfError(f"The classic method's setting 'preset' is {preset!r}; use one of {', '.join(PRESETS)}.")
        known = {entry.name: entry.type for entry in fields(cls)}
        for name, value in values.items():
            if name not in known:
                raise NerfError(f"The classic method has no setting '{name}'; it has {', '.join(known)} and preset.")
            values[name] = _typed(name, value, known[name])
        if "depth" in values and "skip" not in values:
            values["skip"] = values["depth"] // 2 + 1
        if "learning_rate" in values and "final_learning_rate" not in values:
            values["final_learning_rate"] = values["learning_rate"] / 10.0
        settings = replace(PRESETS[preset], **values)
        settings.check()
        return settings

    def check(self) -> None:
        """Raise a NerfError that names the first setting that is out of range."""
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise NerfError(f"The classic method's setting '{name}' is {value}; it must be from {low} to {high}.")
        if self.skip > self.depth:
            raise NerfError(f"The classic method's setting 'skip' is {self.skip}, beyond the {self.depth} layers.")
        if self.density_activation not in ("relu", "softplus"):
            raise NerfError(
                f"The classic method's setting 'density_activation' is {self.density_activation!r}; "
                "use 'relu' or 'softplus'."
            )


RANGES: dict[str, tuple[float, float]] = {
    "depth": (1, 32),
    "width": (4, 4096),
    "skip": (0, 32),
    "position_frequencies": (1, 20),
    "direction_frequencies": (1, 20),
    "coarse_samples": (3, 4096),
    "fine_samples": (0, 4096),
    "rays_per_step": (1, 1 << 20),
    "learning_rate": (1e-8, 1.0),
    "final_learning_rate": (1e-8, 1.0),
    "depth_loss": (0.0, 100.0),
}

PRESETS = {
    "paper": ClassicSettings(),
    # A narrow network takes a far higher rate: 600 steps on lego at 200x200 give 16.9 dB with 1e-3, 19.8 dB with 6e-3.
    # Its density can die as a whole with relu, which softplus does not.
    "small": ClassicSettings(
        depth=4,
        width=64,
        skip=3,
        density_activation="softplus",
        coarse_samples=32,
        fine_samples=32,
        rays_per_step=512,
        learning_rate=6e-3,
        final_learning_rate=6e-4,
    ),
}


def _typed(name: str, value: Any, wanted: Any) -> Any:
    if wanted is bool and isinstance(value, bool):
        return value
    # Within these limits (which NaN is not) every number converts; the real ranges are checked afterwards.
    is_number = not isinstance(value, bool) and isinstance(value, int | float) and -1e300 < value < 1e300
    if wanted is int and is_number and value == int(value):
        return int(value)
    if wanted is float and is_number:
        return float(value)
    if wanted is str and isinstance(value, str):
        return value
    what = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}[wanted]
    raise NerfError(f"The classic method's setting '{name}' is {value!r}; it must be {what}.")
