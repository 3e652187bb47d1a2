"""Plans of experiments: found, read, and those whose cells are trainings and samplers; `docs/experiments.md`."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError, error_sentence
from ..contract.json_data import shown
from ..contract.samplers import SAMPLERS, SamplerChoice
from ..methods.registry import METHODS
from .grid import Overrides, slug
from .plan_file import CellKind, PlanFile, common_parts, take_budget, take_seed
from .toml_table import Table

if TYPE_CHECKING:
    from .xray_plan import XrayPlan

SHIPPED = Path(__file__).parent / "shipped"
SPLITS = ("train", "val", "test")
DEFAULT_METHOD = "fast"
MOST_BYTES = 1 << 20
# Of a cell; those of the second row are the classic method's settings by shorter names.
CELL_KEYS = ("method", "seconds", "steps", "seed", "downscale", "sampler", "samples", "render", "settings")
SHORT = {
    "coarse": "coarse_samples",
    "fine": "fine_samples",
    "positional_encoding": "positional_encoding",
    "view_directions": "view_directions",
}
KINDS = ("training", "xray")
EXPERIMENT_KEYS = ("title", "about", "data", "split", "views", "device", "turntable", "kind")


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

    def words(self) -> str:
        """What it is, in a line."""
        told = [self.training.method, " ".join(f"{amount:g} {kind}" for kind, amount in self.training.budget.items())]
        told += [f"{key} {_worded(value)}" for key, value in self.training.settings.items()]
        return ", ".join([*told, *([] if self.render is None else [f"seen with {self.render}"])])

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, without name and labels."""
        return self.training.to_dict()

    @property
    def turns(self) -> bool:
        """Whether it has a turntable: the oracle sees nothing but views whose depth is known."""
        return self.render is None or self.render.name != "oracle"


@dataclass(frozen=True)
class Plan(PlanFile[Cell]):
    """A whole experiment; what plans of every kind have is `PlanFile`'s.

    Attributes
    ----------
    data : Path or None
        The data set, where the file names one.
    split : str
        Which views are measured.
    views : int or None
        So many of them, evenly spread; None: all.
    """

    data: Path | None
    split: str
    views: int | None

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

    def counted(self, only: set[str] | None = None) -> str:
        """How much there is to do, in words."""
        groups = self.trainings(only)
        return f"{sum(map(len, groups))} cells, {len(groups)} trainings"

    def key(self, cell: Cell) -> list[Any]:
        """What a result stands for."""
        render = cell.render and cell.render.to_dict()
        return [cell.training.to_dict(), render, self.split, self.views, self.turntable_key()]

    def run_name(self, training: Training) -> str:
        """The folder of a training's run below `runs/`: that of the plan's first cell that has it."""
        return next(cell.folder for cell in self.cells if cell.training == training)


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


def read_plan(name: str | Path) -> "Plan | XrayPlan":
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


def _plan(file: Path, text: str, content: dict[str, Any]) -> "Plan | XrayPlan":
    top = Table(content, file, "the file")
    head = Table(top.take("experiment", dict, {}), file, "[experiment]")
    if head.take_choice("kind", KINDS, "training") == "xray":
        from .xray_plan import xray_plan

        return xray_plan(text, top, head)
    data = head.take("data", str)
    own: dict[str, Any] = {
        "data": None if data is None else Path(file.parent, data),
        "split": head.take_choice("split", SPLITS, "val"),
        "views": head.take_count("views"),
    }
    kind = CellKind((*CELL_KEYS, *SHORT), "method", DEFAULT_METHOD, _cell, SHORT)
    return Plan(**own, **common_parts(text, top, head, EXPERIMENT_KEYS, kind))


def _cell(table: Table, settings: Overrides, name: str, labels: Mapping[str, str]) -> Cell:
    method = table.take_choice("method", METHODS, DEFAULT_METHOD)
    seconds, steps = take_budget(table, needed=True)
    seed = take_seed(table)
    downscale = table.take_count("downscale", 1, most=64)
    sampler = _sampler(table, "sampler", table.take_count("samples", most=4096))
    render = _sampler(table, "render", None)
    if sampler is not None:
        settings["sampler"] = sampler.to_dict()
    training = Training(method, settings, seed, downscale or 1, seconds, steps)
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


def _worded(value: Any) -> str:
    """A setting's value in words: a sampler by its name and number, the others as JSON without quotes."""
    if isinstance(value, dict) and "name" in value:
        return str(SamplerChoice.from_dict(value))
    return value if isinstance(value, str) else json.dumps(value)


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
