"""Reading a TOML table key by key: whatever does not fit is one sentence that names the file, the table and the key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.json_data import shown

WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a table",
    list: "a list",
}


class Table:
    """A table of a TOML file, whose keys are taken out one by one.

    Parameters
    ----------
    values : mapping
    file : Path
        Named in sentences.
    place : str
        Where the table stands, as a person finds it: "[experiment]".
    """

    def __init__(self, values: Any, file: Path, place: str) -> None:
        self.file, self.place = file, place
        if not isinstance(values, Mapping):
            raise NerfError(f"'{file}': {place} must be a table, not {shown(repr(values))}.")
        self._values = dict(values)

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def take(self, key: str, kinds: type | tuple[type, ...], default: Any = None) -> Any:
        """Take a key's value out; `default` where it is not given.

        Raises
        ------
        NerfError
            When the value is of none of the kinds.
        """
        if key not in self._values:
            return default
        value = self._values.pop(key)
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        number = float in kinds and type(value) is int
        if not number and type(value) not in kinds:
            raise self.error(key, f"is {shown(repr(value))}; it must be {' or '.join(WORDS[kind] for kind in kinds)}")
        return float(value) if number else value

    def take_count(self, key: str, default: int | None = None, least: int = 1, most: int = 1 << 20) -> int | None:
        """Take a whole number out, from `least` to `most`."""
        value = self.take(key, int, default)
        if value is not None and not least <= value <= most:
            raise self.error(key, f"is {value}; it must be from {least} to {most}")
        return value

    def take_choice(self, key: str, choices: Sequence[str], default: Any = None) -> Any:
        """Take one of some words out."""
        value = self.take(key, str, default)
        if value is not None and value not in choices:
            raise self.error(key, f"is '{shown(value)}'; use one of {', '.join(choices)}")
        return value

    def end(self, known: Sequence[str]) -> None:
        """Refuse what was not taken; `known` is what there is."""
        for key in self._values:
            raise NerfError(
                f"'{self.file}': {self.place} has no use for '{shown(str(key))}'; it takes {', '.join(known)}."
            )

    def error(self, key: str, text: str) -> NerfError:
        """The sentence about a key."""
        return NerfError(f"'{self.file}': '{shown(str(key))}' in {self.place} {text}.")
