"""What a sampler may be told beside its number of samples, checked; without torch, for command lines and settings."""

from collections.abc import Mapping
from typing import Any

from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice

OPACITIES = ("constant", "linear")
CDFS = ("constant", "exponential")
MAX_ROUNDS = 2

#: Name to type and what is allowed: words, or the smallest and largest number.
OPTIONS: dict[str, dict[str, tuple[type, tuple[Any, ...]]]] = {
    "uniform": {"opacity": (str, OPACITIES)},
    "hierarchical": {
        "coarse": (int, (3, 4096)),
        "opacity": (str, OPACITIES),
        "cdf": (str, CDFS),
        "joined": (bool, ()),
    },
    "occupancy": {},
    "proposal": {"rounds": (int, (1, MAX_ROUNDS))},
    "surface": {"resolution": (int, (8, 512))},
    "oracle": {"band": (float, (1e-6, 1.0))},
}


def checked_options(choice: SamplerChoice) -> dict[str, Any]:
    """The options that were given.

    Raises
    ------
    NerfError
        When the sampler has no such option, or its value is of the wrong type or out of range.
    """
    return check_options(choice.name, choice.options)


def options_as_settings(owner: str, choice: SamplerChoice, names: Mapping[str, str]) -> dict[str, Any]:
    """The options that were given, by the names of the settings of `owner` (such as "The fast method") that say them.

    Raises
    ------
    NerfError
        As :func:`checked_options`, and when no setting says an option.
    """
    found = checked_options(choice)
    for key in found:
        if key not in names:
            raise NerfError(f"{owner} cannot be trained with the sampler's option '{key}'.")
    return {names[key]: value for key, value in found.items()}


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """See :func:`checked_options`."""
    known = OPTIONS[name]
    found: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise NerfError(f"The sampler '{name}' has no option {key!r:.80}; {has}.")
        found[key] = _checked(name, key, value, *known[key])
    return found


def _checked(name: str, key: str, value: Any, kind: type, allowed: tuple[Any, ...]) -> Any:
    told = f"The sampler {name}'s option '{key}' is {value!r:.80}; "
    if kind is bool:
        if not isinstance(value, bool):
            raise NerfError(told + "it must be true or false.")
        return value
    if kind is str:
        if value not in allowed:
            raise NerfError(told + f"use one of {', '.join(allowed)}.")
        return value
    low, high = allowed
    is_number = not isinstance(value, bool) and isinstance(value, int | float) and low <= value <= high
    if not is_number or (kind is int and value != int(value)):
        what = "a whole number" if kind is int else "a number"
        raise NerfError(told + f"it must be {what} from {low:g} to {high:g}.")
    return kind(value)
