"""What the TOML files of all kinds of plans have: [experiment], [defaults], [grid] and [[cell]]; its reader."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..contract.errors import NerfError
from ..contract.json_data import shown
from ..methods.registry import DEVICES
from .grid import NamedCell, Overrides, check_cells, chosen_cells, layered, listed, multiplied, read_axis
from .toml_table import Table

TABLES = ("[experiment]", "[defaults]", "[grid]", "[[cell]]")
MAX_SEED = (1 << 31) - 1
MOST_STEPS = 10**9

Cell = TypeVar("Cell", bound=NamedCell)


@dataclass(frozen=True)
class Turntable:
    """One turn about the subject, the same for every cell: `frames` square pictures of `size` pixels."""

    frames: int = 24
    size: int = 128
    fps: float = 12.0


@dataclass(frozen=True)
class PlanFile(Generic[Cell]):
    """What plans of every kind have.

    Attributes
    ----------
    file : Path
        The TOML file.
    text : str
        What it says.
    title, about : str
    device : str
    turntable : Turntable or None
    axes : dict
        The labels of each axis.
    cells : list of cells
        Of the plan's kind.
    """

    file: Path
    text: str
    title: str
    about: str
    device: str
    turntable: Turntable | None
    axes: Mapping[str, list[str]]
    cells: list[Cell]

    def chosen(self, names: str | None) -> set[str] | None:
        """The cells of a list with commas; None for None; see `grid.chosen_cells`."""
        return chosen_cells(self.file, self.cells, names)

    def turntable_key(self) -> dict[str, Any] | None:
        """The turntable in what a result stands for."""
        return None if self.turntable is None else vars(self.turntable)


@dataclass(frozen=True)
class CellKind(Generic[Cell]):
    """How cells of one kind of plan are read.

    Attributes
    ----------
    keys : tuple of str
        What a cell may set.
    owner : str
        The key that its settings belong to, see `grid.layered`.
    default : str or None
        That key's value where nobody says one.
    make : callable
        A cell of a table (its keys are taken out), its settings, its name, and its labels.
    short : mapping of str to str
        Settings by shorter names.
    """

    keys: tuple[str, ...]
    owner: str
    default: str | None
    make: Callable[[Table, Overrides, str, Mapping[str, str]], Cell]
    short: Mapping[str, str] = field(default_factory=dict)


def common_parts(text: str, top: Table, head: Table, experiment_keys: Sequence[str], kind: CellKind[Cell]) -> Any:
    """`PlanFile`'s attributes by name; `head` is [experiment] without what is the kind's own.

    Raises
    ------
    NerfError
        With one sentence that names the file, the key, and what to do.
    """
    file = top.file
    defaults = top.take("defaults", dict, {})
    grid = top.take("grid", dict, {})
    given = top.take("cell", list, [])
    top.end(TABLES)
    plan = {
        "file": file,
        "text": text,
        "title": head.take("title", str, file.stem),
        "about": head.take("about", str, ""),
        "device": head.take_choice("device", DEVICES, "auto"),
        "turntable": _turntable(head),
    }
    head.end(experiment_keys)

    def cell(place: str, name: str, labels: dict[str, str], overrides: Sequence[Overrides]) -> Cell:
        values, settings = layered(file, place, [defaults, *overrides], kind.owner, kind.default, kind.short)
        table = Table(values, file, place)
        made = kind.make(table, settings, name, labels)
        table.end(kind.keys)
        return made

    axes = {name: read_axis(file, name, values, kind.keys) for name, values in grid.items()}
    cells = [
        cell(f"the grid's cell '{shown(name)}'", name, labels, overrides)
        for name, labels, overrides in multiplied(file, axes)
    ]
    cells += listed(file, given, lambda place, name, own: cell(place, name, {}, [own]))
    check_cells(file, cells)
    return {**plan, "axes": {name: list(labels) for name, labels in axes.items()}, "cells": cells}


def take_budget(table: Table, needed: bool) -> tuple[float | None, int | None]:
    """How long a cell trains: seconds or steps; neither where it is not needed.

    Raises
    ------
    NerfError
        When both are given, or none though it is needed.
    """
    seconds, steps = table.take("seconds", float), table.take_count("steps", most=MOST_STEPS)
    if seconds is not None and steps is not None:
        raise table.error("seconds", "and 'steps' are both given; keep one")
    if needed and seconds is None and steps is None:
        raise NerfError(f"'{table.file}': {table.place} does not say how long to train; give it 'seconds' or 'steps'.")
    if seconds is not None and not 0.1 <= seconds <= 1e7:
        raise table.error("seconds", f"is {seconds:g}; it must be from 0.1 to 10000000")
    return seconds, steps


def take_seed(table: Table) -> int:
    """A cell's seed, 0 where it has none."""
    return table.take_count("seed", 0, least=0, most=MAX_SEED) or 0


def _turntable(head: Table) -> Turntable | None:
    """The key `turntable` of [experiment]: a table, or whether there is one."""
    given = head.take("turntable", (dict, bool), True)
    if isinstance(given, bool):
        return Turntable() if given else None
    table = Table(given, head.file, "'turntable' of [experiment]")
    made = Turntable(
        frames=table.take_count("frames", 24, most=10_000) or 0,
        size=table.take_count("size", 128, least=16, most=4096) or 0,
        fps=table.take("fps", float, 12.0),
    )
    if not 1 <= made.fps <= 240:
        raise table.error("fps", f"is {made.fps:g}; it must be from 1 to 240")
    table.end(("frames", "size", "fps"))
    return made
