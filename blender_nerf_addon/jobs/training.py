"""The one training of a session: asked for, followed, stopped, continued, and taken up again when the core died."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..vendor.nerf_core.contract.errors import NerfError
from ..vendor.nerf_core.contract.messages import Message
from ..vendor.nerf_core.contract.run_folder import RunFolder
from . import core, pump, runs, training_sampler
from .calls import CoreError

UNDER_WAY = ("starting", "training", "stopping")


@dataclass
class Training:
    """What is known about a training, for panels, operators and the command line.

    Attributes
    ----------
    run : Path
        Its run folder.
    params : dict
        Of the `train` request.
    phase : str
        'starting', 'training', 'stopping', then 'finished', 'stopped', 'failed' (its error is in `text`) or
        'interrupted' (the core died: it can be taken up again).
    text : str
        What it does at the moment, or why it ended.
    fraction : float
        Of the budget, 0 to 1.
    step : int
    loss, psnr, val_psnr, seconds_left, elapsed : float or None
        As the core tells them.
    """

    run: Path
    params: dict[str, Any]
    phase: str = "starting"
    text: str = "Starting the NeRF core"
    fraction: float = 0.0
    step: int = 0
    loss: float | None = None
    psnr: float | None = None
    val_psnr: float | None = None
    seconds_left: float | None = None
    elapsed: float | None = None
    accepted: bool = field(default=False, repr=False)  # the core took the budget: what is left of it is on disk
    stored_budget: Any = field(default=None, repr=False)  # run.json's, before this was asked for
    on_end: Callable[["Training"], None] | None = field(default=None, repr=False)

    @property
    def under_way(self) -> bool:
        """Whether it has not ended yet."""
        return self.phase in UNDER_WAY

    @property
    def can_resume(self) -> bool:
        """Whether it ended before it was done, through nobody's wish."""
        return self.phase == "interrupted"


# Told of every progress of the training, with the training; the command line prints from here.
on_progress: list[Callable[[Training], None]] = []

_current: Training | None = None
_preview: Callable[[Message], None] | None = None


def current() -> Training | None:
    """The training under way, or the session's last one."""
    return _current


def under_way() -> bool:
    """Whether something is being trained."""
    return _current is not None and _current.under_way


def preview_camera() -> Mapping[str, Any] | None:
    """The camera of the previews of the training under way, as the contract has it."""
    preview = None if _current is None else _current.params.get("preview")
    return None if preview is None else preview["camera"]


def show_previews_with(show: Callable[[Message], None]) -> None:
    """Have `show` called with each `preview` notification."""
    global _preview
    _preview = show


def start(
    folder: RunFolder,
    budget: Mapping[str, float],
    *,
    more: bool = False,
    data: Path | None = None,
    method: str | None = None,
    device: str = "auto",
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    placement: Mapping[str, str] | None = None,
    preview: Mapping[str, Any] | None = None,
    on_end: Callable[[Training], None] | None = None,
) -> Training:
    """Ask the core to train; returns at once.

    Parameters
    ----------
    folder : RunFolder
        A captured run, one to continue, or a new one when `data` is given.
    budget : mapping
        ``{"seconds": S}`` or ``{"steps": N}``.
    more : bool
        Train for the budget on top of what is spent.
    data : Path, optional
        A data set elsewhere.
    method : str, optional
        'fast' or 'classic'; a run that is continued keeps its own.
    device : str
        'auto', 'cpu', 'cuda' or 'mps'.
    seed : int, optional
    settings : mapping, optional
        The method's own, of a new run; a run that is continued keeps its own.
    placement : mapping, optional
        ``{"orientation": ..., "scale": ...}`` of the data set; a run that is continued keeps its own.
    preview : mapping, optional
        ``{"camera": ..., "every_seconds": ...}``.
    on_end : callable, optional
        Called with the training when it has ended in whatever manner.

    Raises
    ------
    NerfError
        When something is being trained already, there is nothing to train on, the run was trained on or with something
        else than is asked for, or there is no core.
    """
    global _current
    if under_way():
        raise NerfError("A training is under way already; stop it first.")
    known = folder.read() if folder.settings.exists() else {}
    params: dict[str, Any] = {"run": str(folder.root), **budget, "more": more, "device": device, "settings": {}}
    if folder.checkpoint.is_file() and known.get("method"):
        _refuse_changes(folder, known, data, method, seed, settings or {})
    else:
        own = dict(settings or {})
        params.update(data=_data(folder, known, data), method=method, seed=seed, placement=placement, settings=own)
    params["preview"] = dict(preview) if preview else None
    training = Training(folder.root, params, stored_budget=known.get("budget"), on_end=on_end)
    _ask(training)
    _current = training
    return training


def stop() -> None:
    """End the training under way after a checkpoint."""
    if _current is None or not _current.under_way:
        return
    process = core.running()
    _current.phase, _current.text = "stopping", "Saving"
    if process is not None:
        process.request("train.stop")
    pump.redraw()


def resume() -> Training:
    """Take up again the training whose core died, with a new core.

    Raises
    ------
    NerfError
        When there is none, or the core does not start.
    """
    training = _current
    if training is None or not training.can_resume:
        raise NerfError("There is no interrupted training to take up again.")
    folder, params = RunFolder(training.run), dict(training.params)
    known = folder.read() if folder.settings.exists() else {}
    if folder.checkpoint.is_file() and known.get("method"):
        for name in ("data", "method", "seed", "placement"):
            params.pop(name, None)
        # What was trained before is on disk and counts: only the rest of the budget is asked for. A core that died
        # before it wrote the new budget left the old one there: then all is asked for again.
        if training.accepted or known.get("budget") != training.stored_budget:
            training.accepted = True
            if not runs.unfinished(known):  # it died after the last step was saved, before it could say so
                core.forget_trouble()
                training.phase, training.fraction = "finished", 1.0
                training.text = "Trained; the NeRF core died only after it had saved that"
                pump.redraw()
                if training.on_end is not None:
                    training.on_end(training)
                return training
            params["more"] = False
            for name in ("seconds", "steps"):
                params.pop(name, None)
    training.params = params
    training.phase, training.text = "starting", "Starting the NeRF core"
    core.forget_trouble()
    _ask(training)
    return training


def _ask(training: Training) -> None:
    core.listen(_listen)
    pump.before_leaving(_leave)
    core.request(
        "train",
        training.params,
        on_result=lambda result, _arrays: _finished(training, result),
        on_error=lambda error: _failed(training, error),
        on_progress=lambda params: _progress(training, params),
    )
    pump.redraw()


def _listen(message: Message) -> None:
    if message.method == "preview" and under_way() and _preview is not None and "rgba" in message.arrays:
        _preview(message)


def _leave() -> None:
    """Another file is loaded: the core saves and leaves, and what it still says is no longer of interest."""
    global _current
    if _current is not None:
        _current.on_end = None
        if _current.under_way:
            _current.phase, _current.text = "stopped", "Stopped"
        _current = None


def _progress(training: Training, params: Mapping[str, Any]) -> None:
    if not training.under_way:
        return
    if params.get("task") == "train":
        training.accepted = True
        if training.phase == "starting":
            training.phase = "training"
        for name in ("step", "loss", "psnr", "val_psnr", "elapsed"):
            if params.get(name) is not None:
                setattr(training, name, params[name])
        training.seconds_left = params.get("seconds_left")
        total = params.get("total") or 1.0
        training.fraction = min(1.0, max(0.0, (params.get("done") or 0.0) / total))
    if training.phase != "stopping":
        training.text = str(params.get("text") or "Training")
    for callback in list(on_progress):
        callback(training)


def _finished(training: Training, result: Mapping[str, Any]) -> None:
    if not training.under_way:
        return
    training.step = int(result.get("step") or training.step)
    training.elapsed = result.get("seconds", training.elapsed)
    for name in ("loss", "psnr", "val_psnr"):
        if result.get(name) is not None:
            setattr(training, name, result[name])
    stopped = bool(result.get("stopped"))
    if not stopped:
        training.fraction = 1.0
    quality = f", held-out PSNR {training.val_psnr:.1f} dB" if training.val_psnr is not None else ""
    _end(training, "stopped" if stopped else "finished", f"{'Stopped' if stopped else 'Trained'}{quality}")


def _failed(training: Training, error: CoreError) -> None:
    if not training.under_way:
        return
    if error.cancelled:
        _end(training, "stopped", "Stopped")
    elif error.died:
        _end(training, "interrupted", str(error))
    else:
        _end(training, "failed", str(error))


def _end(training: Training, phase: str, text: str) -> None:
    training.phase, training.text, training.seconds_left = phase, text, None
    pump.redraw()
    if training.on_end is not None:
        training.on_end(training)


def trained_data(folder: RunFolder, known: Mapping[str, Any]) -> Path | None:
    """The data set that `run.json` names, with an absolute path; None when it names none."""
    stored = known.get("data")
    return Path(os.path.abspath(folder.root / stored)) if isinstance(stored, str) and stored else None


def _refuse_changes(
    folder: RunFolder,
    known: Mapping[str, Any],
    data: Path | None,
    method: str | None,
    seed: int | None,
    settings: Mapping[str, Any],
) -> None:
    """A trained run keeps its data set, method, seed and sampler: another choice is told, not passed over."""
    before_sampler = (known.get("settings") or {}).get("sampler")
    names = {"fast": "Fast", "classic": "Classic", "xray": "X-Ray"}
    before = trained_data(folder, known)
    change = ""
    if data is not None and before is not None and _place(data) != _place(before):
        change = f"was trained on '{before}': clear Data Set to go on with it"
    elif method is not None and method != known["method"]:
        told = names.get(known["method"], known["method"])
        change = f"was trained with the method {told}: choose {told} to go on with it"
    elif seed is not None and known.get("seed") is not None and seed != known["seed"]:
        change = f"was started with the seed {known['seed']}: set Seed to {known['seed']} to go on with it"
    elif "sampler" in settings and settings["sampler"] != before_sampler:
        # What a run was made with by its method's own choice has no name here.
        own = training_sampler.told(before_sampler) if before_sampler else "the method's own"
        change = f"was trained with the sampler {own}: choose that, or The Method's Own, to go on with it"
    if change:
        raise NerfError(f"The run '{folder.root}' {change}, or press Train Anew for a run of its own.")


def _place(data: Path) -> str:
    """The same for a data set's folder and its `transforms.json`, and for whatever links lead there."""
    folder = data.parent if data.name == "transforms.json" else data
    return os.path.normcase(os.path.realpath(folder))


def _data(folder: RunFolder, known: Mapping[str, Any], elsewhere: Path | None) -> str | None:
    """What to train on; None leaves it to what the run knows already."""
    if elsewhere is not None:
        if not elsewhere.exists():
            raise NerfError(f"The data set '{elsewhere}' does not exist; choose another one.")
        return str(elsewhere)
    if (folder.dataset / "transforms.json").is_file():
        return str(folder.dataset)
    if known.get("data"):
        return None
    raise NerfError(f"There is nothing to train on in '{folder.root}': capture views first, or choose a data set.")


def unregister() -> None:
    """Forget everything."""
    global _current, _preview
    _current = _preview = None
    on_progress.clear()
