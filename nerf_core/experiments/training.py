"""A cell's training: as it lies there, gone on with, or begun."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..contract.errors import Cancelled, NerfError
from ..contract.json_data import shown
from ..contract.run_folder import RunFolder
from ..training.events import TrainEvents
from ..training.load import LoadedRun, load_run
from ..training.setup import TrainRequest
from ..training.trainer import Trainer
from .plan import Training


def budget_left(root: Path, training: Training) -> tuple[float | None, int | None]:
    """What a training still takes: seconds or steps; ``(0, None)`` where it is done."""
    spent: dict[str, Any] = {}
    with suppress(NerfError):
        spent = RunFolder(root).read().get("spent") or {}
    if training.seconds is not None:
        return max(0.0, training.seconds - spent.get("seconds", 0.0)), None
    left = max(0, (training.steps or 0) - spent.get("steps", 0))
    return (None, left) if left else (0.0, None)


def trained(
    root: Path, data: Path, training: Training, device: str, events: TrainEvents
) -> tuple[LoadedRun, float, int]:
    """The run of a training, trained to its end; and the seconds and steps that were made for it now.

    Raises
    ------
    NerfError
        When the folder holds a run with other settings, or the training fails.
    Cancelled
        When the events said stop: a checkpoint is kept.
    """
    known = _known(RunFolder(root))
    if known is not None:
        _refuse_others(root, known, training)
        if RunFolder(root).checkpoint.exists() and not any(budget_left(root, training)):
            return load_run(root, device), 0.0, 0
    request = TrainRequest(
        run=root,
        data=data,
        method=training.method,
        seconds=training.seconds,
        steps=training.steps,
        device=device,
        seed=training.seed,
        downscale=training.downscale,
        settings=dict(training.settings),
    )
    before = (known or {}).get("spent") or {}
    result = Trainer(request, events).run()
    if result.stopped:
        raise Cancelled
    # From its checkpoint, as whoever goes on later has it: what is measured is what is kept.
    run = load_run(root, device)
    return run, result.seconds - before.get("seconds", 0.0), result.step - before.get("steps", 0)


def _known(folder: RunFolder) -> dict[str, Any] | None:
    if not folder.settings.exists():
        return None
    known = folder.read()
    return known if known.get("budget") else None


def _refuse_others(root: Path, known: dict[str, Any], training: Training) -> None:
    """A run with other settings is another cell's, or that of an earlier plan."""
    wanted = {**training.to_dict(), "budget": training.budget}
    for name in ("method", "settings", "seed", "downscale", "budget"):
        if known.get(name) != wanted[name]:
            raise NerfError(
                f"The run '{root}' was trained with another '{name}' ({shown(repr(known.get(name)))}) than the plan "
                f"asks for ({shown(repr(wanted[name]))}); choose another folder with --out, or another name for the "
                "cell."
            )
