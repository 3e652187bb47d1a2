"""From what a person asks for to a system that is ready to train: a new run, or one that is continued."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..contract.errors import DataError, NerfError
from ..contract.run_folder import GAN, RunFolder, claim_run_folder
from ..contract.xray import NOT_FOR_DIAGNOSIS
from ..methods.registry import resolve_device
from ..training.budget import Budget, Spent, asked_budget, plan, stored_budget
from ..training.run_facts import checked_seed, data_path, portable
from ..training.run_log import RunLog
from ..training.versions import versions
from .base import System
from .camera import CAMERA_SETTINGS, camera_of_data
from .checkpoint import GanCheckpoint, load
from .dataset import Radiographs, load_radiographs
from .events import GanEvents
from .registry import check_system, system_class

DEFAULT_SYSTEM = "mednerf"


@dataclass(frozen=True)
class GanRequest:
    """What a person asks for.

    Attributes
    ----------
    run : path
        The run folder, new or to be continued.
    data : path, optional
        One instance or a folder of them; a run that is continued knows its own.
    system : str, optional
        By default `DEFAULT_SYSTEM`, or the run's own.
    seconds, steps : numbers, optional
        At most one of them; without, a new run trains as many steps as its settings say.
    more : bool
        Train that much on top of what is spent, even when the run was interrupted.
    device : str
    seed : int, optional
        Of a new run; 0 by default.
    settings : mapping, optional
        The system's own and `preset`, of a new run.
    grids : int
        Sample grids that are written over the budget, the last at its end.
    measures : int
        How often FID and KID are measured over the budget, the last at its end, and once before a new run's first step;
        0: never.
    fakes : int
        Samples for each of these measures.
    """

    run: str | Path
    data: str | Path | None = None
    system: str | None = None
    seconds: float | None = None
    steps: int | None = None
    more: bool = False
    device: str = "auto"
    seed: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    grids: int = 10
    measures: int = 5
    fakes: int = 200


@dataclass
class Ready:
    """A run that is ready to train."""

    folder: RunFolder
    facts: dict[str, Any]  # run.json
    system: System
    data: Radiographs
    budget: Budget
    spent: Spent
    seed: int
    continued: bool


def prepare(request: GanRequest, events: GanEvents, log: RunLog) -> Ready:
    """Check what is asked, take the folder, read the data set, and make or restore the system.

    Raises
    ------
    NerfError
        One sentence that names the setting or file; nothing of the person's has been touched.
    Cancelled
        When `events.should_stop` said so while images were read.
    """
    asked = asked_budget(request.seconds, request.steps)
    for name, value, limit in (("grids", request.grids, 1000), ("measures", request.measures, 1000)):
        if not 0 <= value <= limit:
            raise NerfError(f"The number of {name} must be from 0 to {limit}, not {value}.")
    if request.measures and not 2 <= request.fakes <= 100_000:
        raise NerfError(f"FID is measured of 2 to 100000 samples, not {request.fakes}.")
    if request.system is not None:
        check_system(request.system)
    device = resolve_device(request.device)
    folder = RunFolder(Path(request.run), GAN)
    known = folder.read() if folder.settings.exists() else {}
    checkpoint = load(folder.checkpoint) if known and folder.checkpoint.exists() else None
    if checkpoint is not None:
        _refuse_changes(request, checkpoint, folder)
    name = checkpoint.system if checkpoint else request.system or known.get("system") or DEFAULT_SYSTEM
    kind = system_class(name)
    given = checkpoint.settings if checkpoint else dict(request.settings or known.get("settings") or {})
    settings = kind.settings_class.from_mapping(given, device)
    spent = checkpoint.spent if checkpoint else Spent()
    stored = stored_budget(known, folder.settings)
    if asked is None and stored is None:
        asked = Budget("steps", settings.steps)
    budget = plan(asked, stored, spent, request.more)
    asked_seed = known.get("seed", 0) if request.seed is None else request.seed
    seed = checkpoint.seed if checkpoint else checked_seed(asked_seed)
    path = data_path(request.data, known, folder)
    data = load_radiographs(path, settings.image_size, progress=events.loading, should_stop=events.should_stop)
    if known.get("instances") not in (None, data.names) and checkpoint is not None:
        raise DataError(
            f"The data set '{path}' is not the one that the run '{folder.root}' was trained on: it has other "
            "instances; choose another run folder for it."
        )
    folder = claim_run_folder(folder.root, GAN)
    log.open()
    for left in folder.root.glob(f".{folder.checkpoint.stem}-*{folder.checkpoint.suffix}"):
        left.unlink(missing_ok=True)  # what a killed process was in the middle of writing
    if checkpoint is not None:
        system = checkpoint.make(folder.checkpoint, device)
    else:
        system = kind(camera_of_data(settings, data), device, seed)
    facts = {
        **{key: value for key, value in known.items() if key not in ("format", "version", "kind")},
        "id": folder.identity(),
        "system": name,
        "settings": system.settings.to_dict(),
        "data": portable(path, folder.root),
        "instances": data.names,
        "images": len(data),
        "seed": seed,
        "device": device,
        "versions": versions(),
        "budget": budget.to_dict(),
        "spent": {"seconds": spent.seconds, "steps": spent.steps},
        "created": known.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
    }
    folder.write(facts)
    log.write(
        f"Training '{name}' on {device} with {len(data)} images of {len(data.names)} instances of '{path}': seed "
        f"{seed}, settings {facts['settings']}, budget {facts['budget']}, spent {facts['spent']}; "
        + ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
    )
    return Ready(folder, facts, system, data, budget, spent, seed, checkpoint is not None)


def _refuse_changes(request: GanRequest, checkpoint: GanCheckpoint, folder: RunFolder) -> None:
    """A run keeps the system and settings that its networks were made with."""
    if request.system not in (None, checkpoint.system):
        raise NerfError(
            f"The run '{folder.root}' is of the system '{checkpoint.system}'; choose another run folder for "
            f"'{request.system}'."
        )
    preset = request.settings.get("preset")
    if preset is not None and _is_another(preset, request.settings, checkpoint):
        raise NerfError(
            f"The run '{folder.root}' was not trained with the preset '{preset}'; choose another run folder for it."
        )
    changed = [
        key for key, value in request.settings.items() if key != "preset" and checkpoint.settings.get(key) != value
    ]
    if changed:
        raise NerfError(
            f"The run '{folder.root}' was trained with {changed[0]}={checkpoint.settings.get(changed[0])}; choose "
            "another run folder for other settings."
        )


def _is_another(preset: str, asked: Mapping[str, Any], checkpoint: GanCheckpoint) -> bool:
    """Whether a run's settings are neither nearest to a preset, nor what is made of that and the others asked for."""
    kind = system_class(checkpoint.system).settings_class
    if kind.from_mapping(checkpoint.settings).nearest_preset() == preset:
        return False
    again = kind.from_mapping(asked).to_dict()
    settled = CAMERA_SETTINGS if again["camera"] == "data" else ()
    return any(checkpoint.settings.get(key) != value for key, value in again.items() if key not in settled)
