"""The training of a generative system: steps through a budget, with checkpoints, metrics, grids of samples and FID."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.errors import Cancelled, NerfError
from ..contract.files import make_folder
from ..contract.run_folder import GAN, RunFolder
from ..export.pictures import write_png
from ..training.budget import Spent
from ..training.metrics import MetricsLog
from ..training.run_log import RunLog
from . import checkpoint
from .allocator import keep_freed_memory
from .events import GanEvents, GanProgress
from .pictures import fixed_codes, real_rows, sample_grid
from .prepare import GanRequest, Ready, prepare

CHECKPOINT_SECONDS = 30.0
PROGRESS_SECONDS = 0.25
METRICS_SECONDS = 1.0
MEMORY = 0.98  # of the running means of losses, a step
GRID_CODES, GRID_VIEWS, GRID_REAL = 6, 8, 2
GRID_SEED = MEASURE_SEED = 0


@dataclass(frozen=True)
class GanResult:
    """How a training ended.

    Attributes
    ----------
    step : int
    seconds : float
        Training seconds of the run.
    losses : dict of str to float
        Running means.
    fid, kid : float or None
        The last ones measured.
    features : str or None
        Whose features FID and KID were measured in.
    stopped : bool
        Whether it was stopped before the end of its budget.
    """

    step: int
    seconds: float
    losses: dict[str, float]
    fid: float | None
    kid: float | None
    features: str | None
    stopped: bool


class GanTrainer:
    """One training of one run.

    Parameters
    ----------
    request : GanRequest
    events : GanEvents, optional
    """

    def __init__(self, request: GanRequest, events: GanEvents | None = None) -> None:
        self.request = request
        self.events = events or GanEvents()
        self.spent = Spent()
        self.losses: dict[str, float] = {}
        self.measured: dict[str, Any] = {}
        self._log = RunLog(RunFolder(Path(request.run), GAN).log)
        self._real_features: Tensor | None = None

    def run(self) -> GanResult:
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

    def _run(self) -> GanResult:
        try:
            run = prepare(self.request, self.events, self._log)
        except Cancelled:
            self._log.write("Stopped before the first step.")
            return self._result(stopped=True)
        self.spent = run.spent
        if run.system.device == "cpu":
            keep_freed_memory()
        metrics = MetricsLog(run.folder.metrics)
        if run.continued:
            self._tell(f"Continuing at step {self.spent.steps}, {self.spent.seconds:.1f} s, up to {run.budget}.")
            metrics.append(event="continued", step=self.spent.steps, seconds=self.spent.seconds)
        stopped = self._loop(run, metrics)
        self._save(run)
        metrics.append(event="stopped" if stopped else "ended", **self._line())
        self._log.write(f"{'Stopped' if stopped else 'Ended'} at step {self.spent.steps}, {self.spent.seconds:.1f} s.")
        self.events.progress(self._progress(run))
        return self._result(stopped)

    def _loop(self, run: Ready, metrics: MetricsLog) -> bool:
        """Step until the budget is spent (False) or someone says stop (True)."""
        clock = time.perf_counter
        saved = logged = told = clock()
        begun = run.budget.progress(self.spent)
        grids, measures = _Moments(self.request.grids, begun), _Moments(self.request.measures, begun)
        if not run.continued:
            if self.request.grids:
                self._write_grid(run)
            if self.request.measures:
                self._measure(run, metrics)  # what the later ones have come down from
        batches = _Batches(run)
        while not run.budget.is_spent(self.spent):
            if self.events.should_stop():
                return True
            before = clock()
            losses = run.system.train_step(*batches.draw())
            took = clock() - before
            bad = [name for name, value in losses.items() if not math.isfinite(value)]
            if bad:
                raise NerfError(
                    f"Training '{run.folder.root}' diverged at step {self.spent.steps + 1}: the loss '{bad[0]}' is "
                    f"{losses[bad[0]]}. Its last checkpoint is kept; train a new run with lower learning rates."
                )
            self.spent = Spent(self.spent.seconds + took, self.spent.steps + 1)
            for name, value in losses.items():
                known = self.losses.get(name, value)
                self.losses[name] = MEMORY * known + (1.0 - MEMORY) * value
            if clock() - logged >= METRICS_SECONDS:
                metrics.append(**self._line())
                logged = clock()
            if clock() - told >= PROGRESS_SECONDS:
                self.events.progress(self._progress(run))
                told = clock()
            done = run.budget.progress(self.spent)
            if grids.due(done):
                self._write_grid(run)
            if measures.due(done):
                self._measure(run, metrics)
            if clock() - saved >= CHECKPOINT_SECONDS:
                self._save(run)
                saved = clock()
        return False

    def _write_grid(self, run: Ready) -> None:
        codes = fixed_codes(run.system, GRID_CODES, GRID_SEED)
        picture = sample_grid(run.system, codes, GRID_VIEWS, real=real_rows(run.data, GRID_REAL, GRID_VIEWS))
        path = make_folder(run.folder.samples) / f"{self.spent.steps}.png"
        write_png(path, picture)
        self.events.grid(self.spent.steps, path)

    def _measure(self, run: Ready, metrics: MetricsLog) -> None:
        """FID and KID of the running mean's samples against all training images; a stop leaves it out."""
        from .metrics import features_of, measure_system
        from .perceptual import feature_network

        events, network = self.events, feature_network()
        try:
            if self._real_features is None:
                self._real_features = features_of(run.data.images, network, events.measuring, events.should_stop)
            found = measure_system(
                run.system,
                self._real_features,
                run.data.azimuths,
                network,
                self.request.fakes,
                MEASURE_SEED,
                events.measuring,
                events.should_stop,
            )
        except Cancelled:
            return
        self.measured = found.to_dict()
        metrics.append(event="fid", step=self.spent.steps, seconds=self.spent.seconds, **self.measured)
        self._tell(f"Step {self.spent.steps}: FID {found.fid:.1f} of {found.fake} samples, {found.label}.")

    def _save(self, run: Ready) -> None:
        checkpoint.save(run.folder.checkpoint, run.system, run.seed, self.spent, run.facts["versions"])
        run.facts["spent"] = {"seconds": self.spent.seconds, "steps": self.spent.steps}
        run.folder.write(run.facts)
        self._log.write(f"Saved a checkpoint at step {self.spent.steps}, {self.spent.seconds:.1f} s.")
        self.events.saved(self.spent.steps)

    def _tell(self, text: str) -> None:
        self._log.write(text)
        self.events.log("info", text)

    def _line(self) -> dict[str, Any]:
        return {"step": self.spent.steps, "seconds": self.spent.seconds, **self.losses}

    def _progress(self, run: Ready) -> GanProgress:
        return GanProgress(
            step=self.spent.steps,
            elapsed=self.spent.seconds,
            done=run.budget.progress(self.spent),
            seconds_left=run.budget.seconds_left(self.spent),
            losses=dict(self.losses),
            fid=self.measured.get("fid"),
        )

    def _result(self, stopped: bool) -> GanResult:
        return GanResult(
            step=self.spent.steps,
            seconds=self.spent.seconds,
            losses=dict(self.losses),
            fid=self.measured.get("fid"),
            kid=self.measured.get("kid"),
            features=self.measured.get("label"),
            stopped=stopped,
        )


class _Moments:
    """So many moments, evenly over the budget, the last at its end; those that passed before are not made up for."""

    def __init__(self, count: int, begun: float) -> None:
        self.count = count
        self.next = math.floor(begun * count + 1e-9) + 1

    def due(self, done: float) -> bool:
        if not self.count or done * self.count < self.next - 1e-9:
            return False
        self.next = math.floor(done * self.count + 1e-9) + 1
        return True


class _Batches:
    """Random real images with their azimuths, drawn by the system's own random numbers."""

    def __init__(self, run: Ready) -> None:
        self.system = run.system
        self.images = torch.from_numpy(np.ascontiguousarray(run.data.images))[:, None].to(run.system.device)
        self.azimuths = torch.from_numpy(np.ascontiguousarray(run.data.azimuths)).to(run.system.device)

    def draw(self) -> tuple[Tensor, Tensor]:
        settings, rng = self.system.settings, self.system.rng
        chosen = torch.randint(len(self.images), (settings.batch,), generator=rng).to(self.images.device)
        images, azimuths = self.images[chosen], self.azimuths[chosen]
        if settings.mirror:
            flipped = torch.rand(settings.batch, generator=rng).to(images.device) < 0.5
            images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
            # A mirrored subject looks so from the other side of azimuth 0.
            azimuths = torch.where(flipped, (360.0 - azimuths) % 360.0, azimuths)
        return images, azimuths
