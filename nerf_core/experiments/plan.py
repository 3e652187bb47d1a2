"""An experiment's plan: its TOML file read and checked, its grid multiplied out to cells; `docs/experiments.md`."""

import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError, error_sentence
from ..contract.json_data import shown
from ..contract.samplers import SAMPLERS, SamplerChoice
from ..methods.registry import DEVICES, METHODS
from .toml_table import Table

SHIPPED = Path(__file__).parent / "shipped"
SPLITS = ("train", "val", "test")
DEFAULT_METHOD = "fast"
MOST_CELLS = 1000
MOST_BYTES = 1 << 20
# Of a cell; those of the second row are the classic method's settings by shorter names.
CELL_KEYS = ("method", "seconds", "steps", "seed", "downscale", "sampler", "samples", "render", "settings")
SHORT = {
    "coarse": "coarse_samples",
    "fine": "fine_samples",
    "positional_encoding": "positional_encoding",
    "view_directions": "view_directions",
}
EXPERIMENT_KEYS = ("title", "about", "data", "split", "views", "device", "turntable")


@dataclass(frozen=True)
class Turntable:
    """One turn about the subject, the same for every cell: `frames` square pictures of `size` pixels."""

    frames: int = 24
    size: int = 128
    fps: float = 12.0


@dataclass(frozen=True)
class Training:
    """What decides a trained run: cells that agree in it share one.

    Attributes
    ----------
    method : str
    settings : dict
        The method's own, the sampler that it is trained with among them.
    seed, downscale : int
    seconds, steps : numbers or None
        One of them.
    """

    method: str
    settings: Mapping[str, Any] = field(hash=False)
    seed: int
    downscale: int
    seconds: float | None
    steps: int | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**vars(self), "settings": dict(self.settings)}

    @property
    def budget(self) -> dict[str, float]:
        """As a run's `run.json` holds it."""
        return {"seconds": self.seconds} if self.seconds is not None else {"steps": self.steps or 0}


@dataclass(frozen=True)
class Cell:
    """One row of the comparison.

    Attributes
    ----------
    name : str
        Of no other cell.
    labels : dict
        Which label it has on each axis of the grid; empty for a cell outside it.
    training : Training
    render : SamplerChoice or None
        What it is looked at with; None: what it was trained with.
    """

    name: str
    labels: Mapping[str, str] = field(hash=False)
    training: Training
    render: SamplerChoice | None = None

    @property
    def folder(self) -> str:
        """Its name as a file's."""
        return slug(self.name)

    @property
    def turns(self) -> bool:
        """Whether it has a turntable: the oracle sees nothing but views whose depth is known."""
        return self.render is None or self.render.name != "oracle"


@dataclass(frozen=True)
class Plan:
    """A whole experiment.

    Attributes
    ----------
    file : Path
        The TOML file.
    text : str
        What it says.
    title, about : str
    data : Path or None
        The data set, where the file names one.
    split : str
        Which views are measured.
    views : int or None
        So many of them, evenly spread; None: all.
    device : str
    turntable : Turntable or None
    axes : dict
        The labels of each axis.
    cells : list of Cell
    """

    file: Path
    text: str
    title: str
    about: str
    data: Path | None
    split: str
    views: int | None
    device: str
    turntable: Turntable | None
    axes: Mapping[str, list[str]]
    cells: list[Cell]

    def trainings(self, only: set[str] | None = None) -> list[list[Cell]]:
        """The cells in groups that share a run, in the plan's order; `only` some of them."""
        groups: list[list[Cell]] = []
        for cell in self.cells:
            if only is not None and cell.name not in only:
                continue
            for group in groups:
                if group[0].training == cell.training:
                    group.append(cell)
                    break
            else:
                groups.append([cell])
        return groups

    def run_name(self, training: Training) -> str:
        """The folder of a training's run below `runs/`: that of the plan's first cell that has it."""
        return next(cell.folder for cell in self.cells if cell.training == training)

    def chosen(self, names: str | None) -> set[str] | None:
        """The cells of a list with commas; None for None.

        Raises
        ------
        NerfError
            When the plan has none of a name.
        """
        if names is None:
            return None
        by_folder = {cell.folder: cell.name for cell in self.cells}
        by_folder.update({cell.name: cell.name for cell in self.cells})
        chosen = set()
        for name in filter(None, (part.strip() for part in names.split(","))):
            if name not in by_folder:
                raise NerfError(
                    f"'{self.file}' has no cell '{shown(name)}'; it has {', '.join(cell.name for cell in self.cells)}."
                )
            chosen.add(by_folder[name])
        if not chosen:
            raise NerfError("--only needs the names of cells, with commas between them.")
        return chosen


def shipped() -> list[str]:
    """The names of the plans that come along."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def find_plan(name: str | Path) -> Path:
    """The file that is meant: a path, or the name of a plan that comes along.

    Raises
    ------
    NerfError
        When there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    if str(name) in shipped():
        return SHIPPED / f"{name}.toml"
    raise NerfError(f"There is no file '{name}', and no plan of that name comes along: those are {_listed(shipped())}.")


def read_plan(name: str | Path) -> Plan:
    """Read and check a plan.

    Raises
    ------
    NerfError
        With one sentence that names the file, the key, and what to do.
    """
    file = find_plan(name)
    try:
        data = file.read_bytes()
        if len(data) > MOST_BYTES:
            raise NerfError(f"'{file}' is no plan: it is larger than {MOST_BYTES >> 20} MiB.")
        text = data.decode("utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise NerfError(error_sentence(error)) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise NerfError(f"'{file}' is not valid TOML: {shown(str(error), 300)}.") from error
    return _plan(file, text, content)


def _plan(file: Path, text: str, content: dict[str, Any]) -> Plan:
    top = Table(content, file, "the file")
    head = Table(top.take("experiment", dict, {}), file, "[experiment]")
    defaults = top.take("defaults", dict, {})
    grid = top.take("grid", dict, {})
    listed = top.take("cell", list, [])
    top.end(("[experiment]", "[defaults]", "[grid]", "[[cell]]"))
    data = head.take("data", str)
    plan: dict[str, Any] = {
        "title": head.take("title", str, file.stem),
        "about": head.take("about", str, ""),
        "data": None if data is None else Path(file.parent, data),
        "split": head.take_choice("split", SPLITS, "val"),
        "views": head.take_count("views"),
        "device": head.take_choice("device", DEVICES, "auto"),
        "turntable": _turntable(head),
    }
    head.end(EXPERIMENT_KEYS)
    axes = {name: _axis(file, name, values) for name, values in grid.items()}
    cells = _product(file, defaults, axes)
    for index, given in enumerate(listed):
        place = f"[[cell]] number {index + 1}"
        table = Table(given, file, place)
        label = table.take("name", str)
        if not label:
            raise NerfError(f"'{file}': {place} has no 'name'.")
        overrides = {key: value for key, value in given.items() if key != "name"}
        cells.append(_cell(file, f"the cell '{shown(label)}'", label, {}, [defaults, overrides]))
    if not cells:
        raise NerfError(f"'{file}' has no cells: give it a [grid], or a [[cell]] for each.")
    _refuse_twins(file, cells)
    return Plan(file, text, axes={name: list(labels) for name, labels in axes.items()}, cells=cells, **plan)


def _turntable(head: Table) -> Turntable | None:
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


def _axis(file: Path, name: str, values: Any) -> dict[str, dict[str, Any]]:
    """An axis of the grid: labels with what each changes in a cell."""
    place = f"[grid], axis '{shown(name)}'"
    if isinstance(values, list):
        known = (*CELL_KEYS, *SHORT)
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


def _product(file: Path, defaults: dict[str, Any], axes: Mapping[str, Mapping[str, Any]]) -> list[Cell]:
    count = 1
    for labels in axes.values():
        count *= len(labels)
    if not axes:
        return []
    if count > MOST_CELLS:
        raise NerfError(f"'{file}': the grid has {count} cells; {MOST_CELLS} are the most.")
    cells = []
    for chosen in itertools.product(*axes.values()):
        labels = dict(zip(axes, chosen, strict=True))
        overrides = [axes[axis][label] for axis, label in labels.items()]
        # What changes nothing, such as the base beside its ablations, needs no words.
        words = [label for label, change in zip(chosen, overrides, strict=True) if change] or list(chosen)
        name = " ".join(words)
        cells.append(_cell(file, f"the grid's cell '{shown(name)}'", name, labels, [defaults, *overrides]))
    return cells


def _cell(file: Path, place: str, name: str, labels: dict[str, str], layers: list[dict[str, Any]]) -> Cell:
    values: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for layer in layers:
        if "seconds" in layer or "steps" in layer:
            values.pop("seconds", None), values.pop("steps", None)
        method = values.get("method", DEFAULT_METHOD)
        if layer.get("method", method) != method:
            settings.clear()  # they are another method's
        own = layer.get("settings", {})
        if not isinstance(own, dict):
            raise NerfError(f"'{file}': 'settings' in {place} must be a table, not {shown(repr(own))}.")
        settings.update(own)
        settings.update({SHORT[key]: value for key, value in layer.items() if key in SHORT})
        values.update({key: value for key, value in layer.items() if key not in SHORT and key != "settings"})
    table = Table(values, file, place)
    method = table.take_choice("method", METHODS, DEFAULT_METHOD)
    seconds, steps = table.take("seconds", float), table.take_count("steps", most=10**9)
    if seconds is not None and steps is not None:
        raise table.error("seconds", "and 'steps' are both given; keep one")
    if seconds is None and steps is None:
        raise NerfError(f"'{file}': {place} does not say how long to train; give it 'seconds' or 'steps'.")
    if seconds is not None and not 0.1 <= seconds <= 1e7:
        raise table.error("seconds", f"is {seconds:g}; it must be from 0.1 to 10000000")
    seed = table.take_count("seed", 0, least=0, most=(1 << 31) - 1)
    downscale = table.take_count("downscale", 1, most=64)
    sampler = _sampler(table, "sampler", table.take_count("samples", most=4096))
    render = _sampler(table, "render", None)
    table.end((*CELL_KEYS, *SHORT))
    if sampler is not None:
        settings["sampler"] = sampler.to_dict()
    training = Training(method, settings, seed or 0, downscale or 1, seconds, steps)
    return Cell(name, labels, training, render)


def _sampler(table: Table, key: str, samples: int | None) -> SamplerChoice | None:
    """A sampler as a name, with `samples` beside it, or as a table."""
    given = table.take(key, (str, dict))
    if given is None:
        if samples is not None:
            raise table.error("samples", "is a sampler's: name the 'sampler', too")
        return None
    values = {"name": given, "samples": samples} if isinstance(given, str) else {"samples": samples, **given}
    if values.get("name") not in SAMPLERS:
        raise table.error(key, f"names the sampler {shown(repr(values.get('name')))}; use one of {', '.join(SAMPLERS)}")
    try:
        return SamplerChoice.from_dict(values)
    except NerfError as error:
        raise NerfError(f"'{table.file}': '{key}' in {table.place}: {error}") from error


def _refuse_twins(file: Path, cells: list[Cell]) -> None:
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


def slug(name: str) -> str:
    """A name as that of a file on every system: letters, digits, `+`, `-`, `.` and `_`."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-._")[:80]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
