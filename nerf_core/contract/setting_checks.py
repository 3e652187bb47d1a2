"""Checks of settings' names, types, ranges and words: each mistake is one sentence that names whose setting it is.

`owner` begins each sentence, as in "The classic method" or "MedNeRF".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import NerfError

Ranges = Mapping[str, tuple[float, float]]
"""The smallest and largest number that settings may be, by name."""
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


def check_names(owner: str, given: Mapping[str, Any], known: Sequence[str], also: str = "") -> None:
    """Refuse names that are no settings; `also` is what is taken beside the known ones, as " and preset"."""
    for name in given:
        if name not in known:
            raise NerfError(f"{owner} has no setting '{str(name):.80}'; it has {', '.join(known)}{also}.")


def typed(owner: str, name: str, value: Any, wanted: Any) -> Any:
    """A value as a setting's type: bool, int, float or str; a whole number may be written with a point.

    Raises
    ------
    NerfError
        When it is of another type.
    """
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
    raise NerfError(f"{owner}'s setting '{name}' is {value!r:.80}; it must be {_KINDS[wanted]}.")


def check_ranges(owner: str, settings: object, ranges: Ranges) -> None:
    """Refuse numbers that are out of their ranges."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:
            raise NerfError(
                f"{owner}'s setting '{name}' is {value}; it must be from {_written(low)} to {_written(high)}."
            )


def check_choices(owner: str, settings: object, choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse words that are not to choose from."""
    for name, words in choices.items():
        value = getattr(settings, name)
        if value not in words:
            raise NerfError(f"{owner}'s setting '{name}' is {value!r:.80}; use one of {', '.join(words)}.")


def check_numbers(owner: str, settings: object, ranges: Ranges, whole: Sequence[str]) -> None:
    """Refuse what is no number or out of its range; `whole` are the names of those without a fraction."""
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        is_whole = name in whole
        if isinstance(value, bool) or not isinstance(value, int if is_whole else int | float):
            kind = _KINDS[int if is_whole else float]
            raise NerfError(f"{owner}'s setting '{name}' must be {kind}, not {value!r:.80}.")
        if not low <= value <= high:
            raise NerfError(f"{owner}'s setting '{name}' must be {_written(low)} to {_written(high)}, not {value}.")


def _written(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
