"""The trainer: drives a method through its budget, with checkpoints, metrics, held-out PSNR and previews."""

import math
import time
from dataclasses import dataclass
from pathlib import Path

from ..contract.errors import Cancelled, NerfError
from ..contract.run_folder import RunFolder
from ..methods.base import Method, StepStats
from ..rendering.frame import render_frame
from .budget import Spent
from .checkpoint import Checkpoint, Scene, load_checkpoint, save_checkpoint
from .events import Progress, TrainEvents
from .held_out import psnr
from .load import LoadedRun
from .metrics import MetricsLog
from .run_log import RunLog
from .setup import Prepared, TrainRequest, prepare

CHECKPOINT_SECONDS = 15.0  # of wall time; with the slowest step on top still well under the promised 30 s
PROGRESS_SECONDS = 0.25
METRICS_SECONDS = 1.0
PREVIEW_SHARE = 0.25  # of wall time, at most
MEMORY = 0.95  # of the running means, a step
BLIND_STEPS = 50  # without one sample: no ray meets the scene's box


@dataclass(frozen=True)
class TrainResult:
    """How a training ended.

    Attributes
    ----------
    step : int
    seconds : float
        Training seconds of the run.
    loss, psnr, val_psnr : float or None
    stopped : bool
        Whether it was stopped before the end of its budget.
    """

    step: int
    seconds: float
    loss: float | None
    psnr: float | None
    val_psnr: float | None
    stopped: bool


class Trainer:
    """One training of one run.

    Parameters
    ----------
    request : TrainRequest
    events : TrainEvents, optional

    Attributes
    ----------
    prepared : Prepared or None
        The run, once :meth:`run` has set it up: its method can be looked at between steps.
    """

    def __init__(self, request: TrainRequest, events: TrainEvents | None = None) -> None:
        self.request = request
        self.events = events or TrainEvents()
        self.prepared: Prepared | None = None
        self.spent = Spent()
        self._running = _Running()
        self._log = RunLog(RunFolder(Path(request.run)).log)

    @property
    def method(self) -> Method | None:
        """The method in training; None until it is set up."""
        return self.prepared.method if self.prepared else None

    @property
    def scene(self) -> Scene | None:
        """What is known of the data set; None until it is read."""
        return self.prepared.scene if self.prepared else None

    def run(self) -> TrainResult:
        """Train to the end of the budget, or until told to stop; a checkpoint is written either way.

        Raises
        ------
        NerfError
            When something asked for is not usable, the disk is full, or the training diverges; the last good
            checkpoint stays.
        """
        try:
            return self._run()
        except BaseException as error:
            self._log.failure(error)
            raise
        finally:
            if self.prepared is not None:
                self.prepared.method.drop_views()

    def _run(self) -> TrainResult:
        try:
            self.prepared = run = prepare(self.request, self.events, self._log)
        except Cancelled:
            spent = self._known_spent()
            self._log.write("Stopped before the first step.")
            return TrainResult(spent.steps, spent.seconds, None, None, None, stopped=True)
        self.spent = run.spent
        log = MetricsLog(run.folder.metrics)
        if run.continued:
            self._tell(f"Continuing at step {self.spent.steps}, {self.spent.seconds:.1f} s, up to {run.budget}.")
            log.append(event="continued", step=self.spent.steps, seconds=self.spent.seconds)
        stopped = self._loop(run, log)
        if run.held_out.pixels and not stopped:
            run.held_out.measure(run.method, self.spent.seconds)
        self._save(run)
        log.append(event="stopped" if stopped else "ended", **self._running.line(self.spent, run.held_out.value))
        held_out = "" if run.held_out.value is None else f", held-out PSNR {run.held_out.value:.2f} dB"
        self._log.write(
            f"{'Stopped' if stopped else 'Ended'} at step {self.spent.steps}, {self.spent.seconds:.1f} s{held_out}."
        )
        progress = self._progress(run)
        self.events.progress(progress)
        return TrainResult(
            self.spent.steps, self.spent.seconds, progress.loss, progress.psnr, progress.val_psnr, stopped
        )

    def _known_spent(self) -> Spent:
        folder = RunFolder(Path(self.request.run))
        return load_checkpoint(folder.checkpoint).spent if folder.checkpoint.exists() else Spent()

    def loaded(self) -> LoadedRun | None:
        """The run as `load_run` would give it, sharing the live method; None until it is set up."""
        run = self.prepared
        if run is None:
            return None
        return LoadedRun(run.folder, run.method, run.facts, run.scene, self.spent, run.facts["device"])

    def _loop(self, run: Prepared, log: MetricsLog) -> bool:
        """Step until the budget is spent (False) or someone says stop (True)."""
        clock = time.perf_counter
        saved = logged = told = clock()
        next_preview = clock()
        running = self._running
        samples_seen = 0
        run.held_out.value = None
        while not run.budget.is_spent(self.spent):
            if self.events.should_stop():
                return True
            begun = clock()
            stats = run.method.train_step(run.budget.progress(self.spent))
            took = clock() - begun
            if not math.isfinite(stats.loss):
                raise NerfError(
                    f"Training '{run.folder.root}' diverged at step {self.spent.steps + 1}: the loss is {stats.loss}. "
                    "Its last checkpoint is kept; train a new run with a lower learning rate."
                )
            self.spent = Spent(self.spent.seconds + took, self.spent.steps + 1)
            running.add(stats, took)
            samples_seen += stats.samples
            if stats.overflow and not running.warned:
                running.warned = True
                self._warn_of_overflow(stats, log)
            if running.steps == BLIND_STEPS and samples_seen == 0:
                raise NerfError(
                    f"No training ray meets the scene's box {run.scene.bounds.tolist()}; "
                    "correct the bounds in the data set."
                )
            if run.held_out.due(self.spent.seconds):
                running.val_psnr = run.held_out.measure(run.method, self.spent.seconds)
            if clock() - logged >= METRICS_SECONDS:
                log.append(**running.line(self.spent, running.val_psnr))
                running.start_interval()
                logged = clock()
            if clock() - told >= PROGRESS_SECONDS:
                self.events.progress(self._progress(run))
                told = clock()
            progress = run.budget.progress(self.spent)
            if run.snapshots.due(progress):
                run.snapshots.keep(self._checkpoint(run), progress)
            self.events.between_steps()
            if self.request.preview is not None and clock() >= next_preview:
                cost = self._preview(run)
                next_preview = clock() + max(self.request.preview_seconds, cost * (1 / PREVIEW_SHARE - 1))
            if clock() - saved >= CHECKPOINT_SECONDS:
                self._save(run)
                saved = clock()
        return False

    def _warn_of_overflow(self, stats: StepStats, log: MetricsLog) -> None:
        """Once a training: what is cut short trains worse, and nothing else would tell."""
        log.append(event="overflow", step=self.spent.steps, seconds=self.spent.seconds, overflow=stats.overflow)
        self._tell(
            f"{stats.overflow} of {stats.rays} rays of step {self.spent.steps} were cut short because a buffer was "
            "full; 'overflow' in metrics.jsonl goes on counting. If it does not come down, train a new run with fewer "
            "'ray_steps' or 'samples_per_step'.",
            "warning",
        )

    def _preview(self, run: Prepared) -> float:
        """Render and hand out a preview; returns the seconds it took."""
        begun = time.perf_counter()
        assert self.request.preview is not None
        try:
            frame = render_frame(
                run.method,
                self.request.preview,
                should_stop=self.events.should_drop_preview,
                color_space=run.scene.color_space,
            )
        except Cancelled:
            return time.perf_counter() - begun
        self.events.preview(self.spent.steps, frame)
        return time.perf_counter() - begun

    def _checkpoint(self, run: Prepared) -> Checkpoint:
        return Checkpoint(
            method=run.facts["method"],
            state=run.method.state(),
            scene=run.scene,
            settings=run.facts["settings"],
            seed=run.facts["seed"],
            spent=self.spent,
            versions=run.facts["versions"],
        )

    def _save(self, run: Prepared) -> None:
        save_checkpoint(run.folder.checkpoint, self._checkpoint(run))
        run.facts["spent"] = {"seconds": self.spent.seconds, "steps": self.spent.steps}
        run.folder.write(run.facts)
        self._log.write(f"Saved a checkpoint at step {self.spent.steps}, {self.spent.seconds:.1f} s.")
        self.events.saved(self.spent.steps)

    def _tell(self, text: str, level: str = "info") -> None:
        """To the person and to the run's log."""
        self._log.write(text, level)
        self.events.log(level, text)

    def _progress(self, run: Prepared) -> Progress:
        running = self._running
        return Progress(
            step=self.spent.steps,
            elapsed=self.spent.seconds,
            done=run.budget.progress(self.spent),
            seconds_left=run.budget.seconds_left(self.spent),
            loss=running.loss,
            psnr=None if running.mse is None else psnr(running.mse),
            val_psnr=run.held_out.value,
            samples_per_second=running.samples_per_second,
            rays_per_second=running.rays_per_second,
        )


class _Running:
    """Running means of what steps report, and sums since the last line of the metrics log."""

    def __init__(self) -> None:
        self.loss: float | None = None
        self.mse: float | None = None
        self.depth_loss: float | None = None
        self.val_psnr: float | None = None
        self.steps = self.rays = self.samples = self.overflow = 0
        self.warned = False
        self.seconds = 0.0
        self.rates = 0.0, 0.0
        self.start_interval()

    def start_interval(self) -> None:
        if self.seconds:
            self.rates = self.rays / self.seconds, self.samples / self.seconds
        self.rays = self.samples = self.overflow = 0
        self.seconds = 0.0
        self.val_psnr = None

    def add(self, stats: StepStats, seconds: float) -> None:
        # Early on the mean of the steps so far, later one that forgets.
        keep = min(MEMORY, self.steps / (self.steps + 1))
        for name in ("loss", "mse", "depth_loss"):
            value, mean = getattr(stats, name), getattr(self, name)
            if value is not None:
                setattr(self, name, value if mean is None else keep * mean + (1 - keep) * value)
        self.steps += 1
        self.rays += stats.rays
        self.samples += stats.samples
        self.overflow += stats.overflow
        self.seconds += seconds

    @property
    def samples_per_second(self) -> float:
        return self.samples / self.seconds if self.seconds else self.rates[1]

    @property
    def rays_per_second(self) -> float:
        return self.rays / self.seconds if self.seconds else self.rates[0]

    def line(self, spent: Spent, val_psnr: float | None) -> dict[str, float | int | None]:
        return {
            "step": spent.steps,
            "seconds": spent.seconds,
            "loss": self.loss,
            "psnr": None if self.mse is None else psnr(self.mse),
            "val_psnr": val_psnr,
            "samples_per_second": self.samples_per_second,
            "rays_per_second": self.rays_per_second,
            "overflow": self.overflow,
            **({} if self.depth_loss is None else {"depth_loss": self.depth_loss}),
        }
