"""From what a person asks for to a method that is ready to train: a new run, or one that is continued."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import DataError, NerfError
from ..contract.run_folder import RunFolder, claim_run_folder
from ..data.dataset import Dataset, load_dataset
from ..data.placement import Placement
from ..data.views import Views
from ..methods.base import Method, Normalisation
from ..methods.registry import check_method, create, method_class, resolve_device
from .budget import Budget, Spent, asked_budget, plan, stored_budget
from .checkpoint import Checkpoint, Scene, load_checkpoint
from .events import TrainEvents
from .held_out import HeldOut
from .load import restore_method
from .run_facts import checked_seed, data_path, portable
from .run_log import RunLog
from .snapshots import DEFAULT, Snapshots, check_count
from .versions import versions

DEFAULT_METHOD = "fast"
SAME_POSE = 1e-6  # of the numbers of a camera-to-world matrix


@dataclass(frozen=True)
class TrainRequest:
    """What a person asks for.

    Attributes
    ----------
    run : path
        The run folder, new or to be continued.
    data : path, optional
        The data set; a run that is continued knows its own, and takes this one when it has moved.
    method : str, optional
        By default `DEFAULT_METHOD`, or the run's own.
    seconds, steps : numbers, optional
        At most one of them; a run that was interrupted needs none.
    more : bool
        Train that much on top of what is spent, even when the run was interrupted.
    device : str
    seed : int, optional
        Of a new run; 0 by default.
    downscale : int, optional
        Shrink the data set's images by this factor; by default 1, or the run's own.
    settings : mapping, optional
        The method's own, of a new run.
    placement : Placement, optional
        Which way is up in the data set, and how large it is; by default the run's own.
    preview : Camera, optional
        Rendered now and then while training.
    preview_seconds : float
        Pause between two previews.
    snapshots : int, optional
        How many moments of the training are kept to look back at; by default 8, or the run's own.
    """

    run: str | Path
    data: str | Path | None = None
    method: str | None = None
    seconds: float | None = None
    steps: int | None = None
    more: bool = False
    device: str = "auto"
    seed: int | None = None
    downscale: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    placement: Placement | None = None
    preview: Camera | None = None
    preview_seconds: float = 2.0
    snapshots: int | None = None


@dataclass
class Prepared:
    """A run that is ready to train."""

    folder: RunFolder
    facts: dict[str, Any]  # run.json
    method: Method
    scene: Scene
    held_out: HeldOut
    budget: Budget
    spent: Spent
    continued: bool
    snapshots: Snapshots


def prepare(request: TrainRequest, events: TrainEvents, log: RunLog) -> Prepared:
    """Check what is asked, take the folder, read the data set, make or restore the method, and warm it up.

    Raises
    ------
    NerfError
        One sentence that names the setting or file; nothing of the person's has been touched.
    Cancelled
        When `events.should_stop` said so while images were read or kernels compiled.
    """
    asked = asked_budget(request.seconds, request.steps)
    if request.snapshots is not None:
        check_count(request.snapshots)
    if request.method is not None:
        check_method(request.method)
    device = resolve_device(request.device)
    folder = RunFolder(Path(request.run))
    known = folder.read() if folder.settings.exists() else {}
    checkpoint = load_checkpoint(folder.checkpoint) if known and folder.checkpoint.exists() else None
    if checkpoint is not None:
        _refuse_changes(request, checkpoint, folder)
    spent = checkpoint.spent if checkpoint else Spent()
    budget = plan(asked, stored_budget(known, folder.settings), spent, request.more)
    data = data_path(request.data, known, folder)
    if not data.exists():
        raise DataError(f"There is no data set '{data}'; give the folder or transforms.json of one.")
    folder = claim_run_folder(folder.root)
    log.open()
    _sweep(folder)

    downscale = int(known.get("downscale", 1) if request.downscale is None else request.downscale)
    placement = request.placement or Placement.from_dict(known.get("placement"))
    name = checkpoint.method if checkpoint else request.method or known.get("method") or DEFAULT_METHOD
    imports = threading.Thread(target=_import_ahead, args=(name, device), name="nerf-imports", daemon=True)
    imports.start()
    settings = checkpoint.settings if checkpoint else dict(request.settings or known.get("settings") or {})
    deep = ("train",) if method_class(name).takes_depth(settings, device) else ()
    dataset = load_dataset(data, downscale, ("train", "val"), events.loading, events.should_stop, placement, deep)
    if checkpoint is not None:
        _refuse_other_data(dataset, checkpoint, data, folder)
    imports.join()
    if checkpoint is not None:
        scene = checkpoint.scene
        method = restore_method(checkpoint, folder.checkpoint, device)
        seed = checkpoint.seed
    else:
        seed = checked_seed(known.get("seed", 0) if request.seed is None else request.seed)
        goes_on = method_class(name).is_unbounded(settings, dataset.has_alpha)
        scene = _scene(dataset, dataset.subject if goes_on else dataset.bounds)
        method = create(name, Normalisation(scene.bounds), device, seed, settings)
    method.load_facts(dataset)
    method.load_views(dataset.splits["train"])
    facts = {
        **{key: value for key, value in known.items() if key not in ("format", "version")},
        "id": folder.identity(),
        "data": portable(data, folder.root),
        "downscale": downscale,
        "placement": placement.to_dict(),
        "snapshots": check_count(known.get("snapshots", DEFAULT) if request.snapshots is None else request.snapshots),
        "method": name,
        "settings": settings,
        "seed": seed,
        "device": device,
        "backend": method.backend,
        "bounds": scene.bounds.tolist(),
        "color_space": scene.color_space,
        "has_alpha": scene.has_alpha,
        "background": list(scene.background),
        "versions": versions(),
        "budget": budget.to_dict(),
        "spent": {"seconds": spent.seconds, "steps": spent.steps},
        "created": known.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder.write(facts)
    _log_start(log, facts, data, dataset.splits["train"])
    events.warming_up()
    method.warm_up(events.should_stop)
    for note in method.notes:
        log.write(note)
        events.log("info", note)
    held_out = HeldOut(dataset.splits.get("val"), scene.background, seed)
    snapshots = Snapshots(folder, facts["snapshots"], budget.progress(spent))
    return Prepared(folder, facts, method, scene, held_out, budget, spent, checkpoint is not None, snapshots)


def _refuse_changes(request: TrainRequest, checkpoint: Checkpoint, folder: RunFolder) -> None:
    """A run keeps the method and settings that its parameters were made with."""
    if request.method not in (None, checkpoint.method):
        raise NerfError(
            f"The run '{folder.root}' was trained with the method '{checkpoint.method}'; "
            f"choose another run folder for '{request.method}'."
        )
    settings = dict(request.settings or {})
    if settings and settings != checkpoint.settings:
        raise NerfError(
            f"The run '{folder.root}' was trained with the settings {checkpoint.settings}; "
            "choose another run folder for other settings."
        )


def _refuse_other_data(dataset: Dataset, checkpoint: Checkpoint, data: Path, folder: RunFolder) -> None:
    """A run keeps its box and cameras: it takes its data set from another place, but no other data set.

    Only poses are compared: a downscale changes the rest.
    """
    known = np.array([camera.c2w for camera in checkpoint.scene.cameras])
    found = np.array([view.camera.c2w for view in dataset.splits["train"].views])
    if known.shape != found.shape or not np.allclose(known, found, rtol=SAME_POSE, atol=SAME_POSE):
        raise NerfError(
            f"The data set '{data}' is not the one that the run '{folder.root}' was trained on: its training cameras "
            f"differ ({len(found)} now, {len(known)} then, or other poses); choose another run folder for it."
        )


def _import_ahead(method: str, device: str) -> None:
    """Import what takes long while images are read; whatever is wrong with it is told where it is needed."""
    try:
        if method in ("classic", "xray"):
            import_module(f"..methods.{method}", __package__)
        else:
            import_module(f"..kernels.{'cpu' if device == 'cpu' else 'reference'}.backend", __package__)
    except Exception:
        return


def _log_start(log: RunLog, facts: Mapping[str, Any], data: Path, views: Views) -> None:
    deep = sum(view.depth is not None for view in views.views)
    log.write(
        f"Training '{facts['method']}' on {facts['device']} ({facts['backend']} kernels) with {len(views)} images"
        + (f", {deep} with depth," if deep else "")
        + f" of "
        f"'{data}': downscale {facts['downscale']}, seed {facts['seed']}, settings {facts['settings']}, bounds "
        f"{facts['bounds']}, budget {facts['budget']}, spent {facts['spent']}; "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    )


def _scene(dataset: Dataset, bounds: np.ndarray) -> Scene:
    red, green, blue = (float(channel) for channel in dataset.background)
    return Scene(
        bounds=bounds,
        color_space=dataset.color_space,
        has_alpha=dataset.has_alpha,
        background=(red, green, blue),
        cameras=[view.camera for view in dataset.splits["train"].views],
    )


def _sweep(folder: RunFolder) -> None:
    """Remove the neighbours of checkpoints and snapshots that a killed process was in the middle of writing."""
    for left in (
        *folder.root.glob(f".{folder.checkpoint.stem}-*{folder.checkpoint.suffix}"),
        *folder.snapshots.glob(f".*-*{folder.checkpoint.suffix}"),
    ):
        left.unlink(missing_ok=True)
