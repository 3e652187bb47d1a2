"""The grid of a plan of whatever kind: axes that multiply to cells, layers of what cells set, names of cells."""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..contract.errors import NerfError
from ..contract.json_data import shown
from .toml_table import Table

MOST_CELLS = 1000

Overrides = dict[str, Any]
"""What a label changes in a cell."""


class NamedCell(Protocol):
    """A row of a comparison, whatever it is of."""

    @property
    def name(self) -> str:
        """Of no other cell."""

    @property
    def folder(self) -> str:
        """Its name as a file's."""


def read_axis(file: Path, name: str, values: Any, known: Sequence[str]) -> dict[str, Overrides]:
    """An axis of the grid: labels with what each changes in a cell; `known` are the keys that a list may be of."""
    place = f"[grid], axis '{shown(name)}'"
    if isinstance(values, list):
        if name not in known:
            raise NerfError(f"'{file}': {place} is a list, so it must be named like what it sets: {', '.join(known)}.")
        axis = {_label(name, value): {name: value} for value in values}
    elif isinstance(values, dict):
        axis = {}
        for label, overrides in values.items():
            if not isinstance(overrides, dict):
                raise NerfError(
                    f"'{file}': '{shown(label)}' in {place} must be a table of what it changes, "
                    f"not {shown(repr(overrides))}."
                )
            axis[label] = overrides
    else:
        raise NerfError(f"'{file}': {place} must be a list of values, or a table of labels.")
    if not axis:
        raise NerfError(f"'{file}': {place} is empty.")
    return axis


def _label(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    if isinstance(value, bool):
        return f"{'' if value else 'no '}{name.replace('_', ' ')}"
    return f"{name} {value}"


def multiplied(
    file: Path, axes: Mapping[str, Mapping[str, Overrides]]
) -> Iterable[tuple[str, dict[str, str], list[Overrides]]]:
    """Every cell of a grid: its name, its label on each axis, and what they change.

    Raises
    ------
    NerfError
        When there are too many.
    """
    count = 1
    for labels in axes.values():
        count *= len(labels)
    if count > MOST_CELLS:
        raise NerfError(f"'{file}': the grid has {count} cells; {MOST_CELLS} are the most.")
    for chosen in itertools.product(*axes.values()) if axes else ():
        overrides = [axes[axis][label] for axis, label in zip(axes, chosen, strict=True)]
        # What changes nothing, such as the base beside its ablations, needs no words.
        words = [label for label, change in zip(chosen, overrides, strict=True) if change] or list(chosen)
        yield " ".join(words), dict(zip(axes, chosen, strict=True)), overrides


def listed(file: Path, given: Sequence[Any], make: Callable[[str, str, Overrides], Any]) -> list[Any]:
    """The cells beside the grid: `make` is called with the place for sentences, the name, and what a cell sets."""
    cells = []
    for index, values in enumerate(given):
        place = f"[[cell]] number {index + 1}"
        name = Table(values, file, place).take("name", str)
        if not name:
            raise NerfError(f"'{file}': {place} has no 'name'.")
        overrides = {key: value for key, value in values.items() if key != "name"}
        cells.append(make(f"the cell '{shown(name)}'", name, overrides))
    return cells


def check_cells(file: Path, cells: Sequence[NamedCell]) -> None:
    """Refuse a plan without cells, and cells that would share a folder."""
    if not cells:
        raise NerfError(f"'{file}' has no cells: give it a [grid], or a [[cell]] for each.")
    seen: dict[str, str] = {}
    for cell in cells:
        if not cell.folder:
            raise NerfError(f"'{file}': the cell '{shown(cell.name)}' needs a name with a letter or a digit.")
        key = cell.folder.lower()
        if key in seen:
            raise NerfError(
                f"'{file}': the cells '{shown(seen[key])}' and '{shown(cell.name)}' would share a folder; name one "
                "of them otherwise."
            )
        seen[key] = cell.name


def chosen_cells(file: Path, cells: Sequence[NamedCell], names: str | None) -> set[str] | None:
    """The cells of a list with commas; None for None.

    Raises
    ------
    NerfError
        When the plan has none of a name.
    """
    if names is None:
        return None
    by_folder = {cell.folder: cell.name for cell in cells}
    by_folder.update({cell.name: cell.name for cell in cells})
    chosen = set()
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name not in by_folder:
            raise NerfError(f"'{file}' has no cell '{shown(name)}'; it has {', '.join(cell.name for cell in cells)}.")
        chosen.add(by_folder[name])
    if not chosen:
        raise NerfError("--only needs the names of cells, with commas between them.")
    return chosen


def layered(
    file: Path, place: str, layers: Sequence[Overrides], key: str, default: str | None, short: Mapping[str, str]
) -> tuple[Overrides, Overrides]:
    """What the layers of a cell set, later ones over earlier ones, and the settings among it.

    Parameters
    ----------
    file, place
        For sentences.
    layers : sequence of dict
        [defaults], then what the cell's labels change, or what the cell says itself.
    key : str
        What settings belong to, such as 'method': where a layer changes it, earlier settings are dropped.
    default : str or None
        Its value where no layer says one.
    short : mapping of str to str
        Settings by shorter names.

    Raises
    ------
    NerfError
        When settings are not a table.
    """
    values: Overrides = {}
    settings: Overrides = {}
    for layer in layers:
        if "seconds" in layer or "steps" in layer:
            values.pop("seconds", None), values.pop("steps", None)
        known = values.get(key, default)
        if layer.get(key, known) != known:
            settings.clear()  # they are another's
        own = layer.get("settings", {})
        if not isinstance(own, dict):
            raise NerfError(f"'{file}': 'settings' in {place} must be a table, not {shown(repr(own))}.")
        settings.update(own)
        settings.update({short[name]: value for name, value in layer.items() if name in short})
        values.update({name: value for name, value in layer.items() if name not in short and name != "settings"})
    return values, settings


def slug(name: str) -> str:
    """A name as that of a file on every system: letters, digits, `+`, `-`, `.` and `_`."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-._")[:80]
