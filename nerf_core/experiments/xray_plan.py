"""Plans of the X-ray mode: systems that reconstruct from radiographs, each given the same views of the same patient."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.json_data import shown
from ..contract.xray import PRESETS
from ..contract.xray_words import PHANTOM
from .grid import Overrides, slug
from .plan_file import CellKind, PlanFile, common_parts, take_budget, take_seed
from .toml_table import Table

GIVEN = ""  # the experiment's own data
MOST_VIEWS = 720
# What each system takes besides what all take: 'budget' (seconds or steps), 'population' (other patients).
SYSTEMS: dict[str, tuple[str, ...]] = {
    "truth": (),
    "field": ("budget",),
    "fdk": (),
    "sart": (),
    "sirt": (),
    "cg": (),
    "copy": (),
    "mean-view": (),
    "mean-patient": ("population",),
    "prior": ("population",),
    "mednerf": ("budget", "population"),
    "hypernerfgan": ("budget", "population"),
}
CELL_KEYS = (
    "system", "views", "data", "preset", "pixels", "voxels", "noise", "seconds", "steps", "seed", "population",
    "settings",
)  # fmt: skip
EXPERIMENT_KEYS = ("title", "about", "data", "held_out", "device", "turntable", "kind")


@dataclass(frozen=True)
class Scan:
    """Radiographs of a patient: cells that agree in it are given the same.

    Attributes
    ----------
    source : str
        A CT's path, `phantom:KIND:SEED`, or empty for the experiment's own data.
    views : int
        Given, evenly over a turn.
    preset : str
        The rig (`contract.xray.PRESETS`).
    pixels : int
        A side of a radiograph.
    voxels : int
        Of the truth, along its longest side; volumes are measured on them.
    noise : str
        As `nerf drr --noise` takes it.
    """

    source: str
    views: int
    preset: str
    pixels: int
    voxels: int
    noise: str


@dataclass(frozen=True)
class XrayCell:
    """One row of the comparison.

    Attributes
    ----------
    name : str
        Of no other cell.
    labels : dict
        Which label it has on each axis of the grid; empty for a cell outside it.
    system : str
        One of `SYSTEMS`.
    scan : Scan
    seconds, steps : numbers or None
        Of training, where the system trains: one of them.
    seed : int
    population : tuple of str
        Other patients, that a system may learn from: CTs' paths or `phantom:KIND:SEED`.
    settings : dict
        The system's own.
    """

    name: str
    labels: Mapping[str, str] = field(hash=False)
    system: str
    scan: Scan
    seconds: float | None = None
    steps: int | None = None
    seed: int = 0
    population: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """Its name as a file's."""
        return slug(self.name)

    @property
    def turns(self) -> bool:
        """Whether it has a turntable: all have."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, without name and labels."""
        values = {key: value for key, value in vars(self).items() if key not in ("name", "labels")}
        return {
            **values,
            "scan": dict(vars(self.scan)),
            "population": list(self.population),
            "settings": dict(self.settings),
        }

    def words(self) -> str:
        """What it is, in a line."""
        told = [self.system, f"{self.scan.views} view{'' if self.scan.views == 1 else 's'}"]
        told += [self.scan.source] if self.scan.source else []
        told += [f"{self.seconds:g} seconds"] if self.seconds is not None else []
        told += [f"{self.steps} steps"] if self.steps is not None else []
        told += [f"learnt from {len(self.population)} others"] if self.population else []
        return ", ".join([*told, *(f"{key} {value}" for key, value in self.settings.items())])


@dataclass(frozen=True)
class XrayPlan(PlanFile[XrayCell]):
    """A whole experiment of the X-ray mode; what plans of every kind have is `PlanFile`'s.

    Attributes
    ----------
    data : str or None
        The experiment's own patient, where the file names one.
    held_out : int
        Radiographs that are measured on, none of which is given to any cell.
    """

    data: str | None
    held_out: int

    def counted(self, only: set[str] | None = None) -> str:
        """How much there is to do, in words."""
        cells = [cell for cell in self.cells if only is None or cell.name in only]
        return f"{len(cells)} cells, {len({cell.scan for cell in cells})} scans"

    def key(self, cell: XrayCell) -> list[Any]:
        """What a result stands for."""
        return [cell.to_dict(), self.held_out, self.turntable_key()]


def xray_plan(text: str, top: Table, head: Table) -> XrayPlan:
    """The plan of a file whose [experiment] says ``kind = "xray"``.

    Raises
    ------
    NerfError
        With one sentence that names the file, the key, and what to do.
    """
    data = head.take("data", str)
    own: dict[str, Any] = {
        "data": None if data is None else _source(top.file, data),
        "held_out": head.take_count("held_out", 24, most=MOST_VIEWS),
    }
    return XrayPlan(**own, **common_parts(text, top, head, EXPERIMENT_KEYS, CellKind(CELL_KEYS, "system", None, _cell)))


def _cell(table: Table, settings: Overrides, name: str, labels: Mapping[str, str]) -> XrayCell:
    system = table.take_choice("system", list(SYSTEMS), "field")
    takes = SYSTEMS[system]
    scan = Scan(
        source=_source(table.file, table.take("data", str, GIVEN)),
        views=table.take_count("views", 50, most=MOST_VIEWS) or 0,
        preset=table.take_choice("preset", list(PRESETS), "volume"),
        pixels=table.take_count("pixels", 128, least=16, most=2048) or 0,
        voxels=table.take_count("voxels", 128, least=16, most=512) or 0,
        noise=table.take("noise", str, "none"),
    )
    seconds, steps = take_budget(table, needed="budget" in takes)
    seed = take_seed(table)
    others = _population(table)
    if "population" in takes and not others:
        raise NerfError(
            f"'{table.file}': {table.place} learns from other patients; name them with 'population', such as "
            "'phantom:chest:1-16'."
        )
    trains = "budget" in takes
    return XrayCell(
        name,
        labels,
        system,
        scan,
        seconds if trains else None,
        steps if trains else None,
        seed,
        others if "population" in takes else (),
        settings,
    )


def _source(file: Path, given: str) -> str:
    """A patient as it is opened: a phantom's name, or a whole path."""
    if given == GIVEN or given.startswith(PHANTOM):
        return given
    return str(Path(file.parent, given).absolute())


def _population(table: Table) -> tuple[str, ...]:
    """Patients as a list, or as phantoms of a row of seeds: `phantom:chest:1-16`."""
    given = table.take("population", (str, list))
    if given is None:
        return ()
    if isinstance(given, list):
        if not all(isinstance(each, str) and each for each in given):
            raise table.error("population", "must be a list of texts: CTs' paths, or phantoms")
        return tuple(_source(table.file, each) for each in given)
    found = re.fullmatch(r"(phantom:[\w-]+):(\d{1,9})-(\d{1,9})", given)
    if found is None:
        raise table.error("population", f"is '{shown(given)}'; write phantom:KIND:FIRST-LAST, or a list of patients")
    first, last = int(found[2]), int(found[3])
    if not 0 <= last - first < 1000:
        raise table.error("population", f"is '{shown(given)}'; it must be 1 to 1000 patients")
    return tuple(f"{found[1]}:{seed}" for seed in range(first, last + 1))
