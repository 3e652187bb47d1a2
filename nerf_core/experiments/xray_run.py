"""Run an X-ray experiment: one cell after another, each given the same radiographs and measured on the same others."""

import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import Cancelled, DataError, NerfError
from ..contract.files import make_folder
from ..contract.json_data import shown
from ..contract.xray import XrayFacts
from ..data.dataset import Dataset, load_dataset
from ..data.views import View
from ..evaluation.xray import measure
from ..export.pictures import write_png
from ..methods.registry import resolve_device
from ..xray.true_volume import Truth, find_truth
from .events import ExperimentEvents, Pace
from .folder import ExperimentFolder
from .measure import machine
from .turntables import is_whole
from .work import Outcome, Work, current_rows
from .xray_data import SAME_ANGLE, check_source, make_scan, nearest_given, same_patient, short_name, source_of
from .xray_pictures import (
    picture_path,
    radiograph_picture,
    render_turn,
    slice_picture,
    turntable_cameras,
)
from .xray_plan import Scan, XrayCell, XrayPlan
from .xray_systems import Found, Job, check_cell, find, work_left

NO_TRUTH = "truth"
SPLIT = "test"


def check_xray(plan: XrayPlan, data: str) -> None:
    """Refuse what would fail hours later.

    Raises
    ------
    NerfError
        When a patient is missing or would be learnt from, a view would be both given and measured on, a setting is
        unknown, or there is no such device.
    """
    device = resolve_device(plan.device)
    check_once = lru_cache(maxsize=None)(check_source)  # dozens of cells may learn from the same dozens of patients
    for cell in plan.cells:
        try:
            patient = source_of(cell.scan, data)
            check_once(patient)
            if nearest_given(cell.scan.views, plan.held_out) < SAME_ANGLE:
                raise NerfError(
                    f"of {plan.held_out} held-out views some would be among its {cell.scan.views} given ones; choose "
                    "another 'held_out', such as 24 or 60."
                )
            for other in cell.population:
                check_once(other)
                if same_patient(other, patient):
                    raise NerfError(
                        f"'{shown(short_name(patient))}' is among the patients that it learns from; leave it out of "
                        "'population', or measure another one."
                    )
            check_cell(cell, device)
        except NerfError as error:
            raise NerfError(f"'{plan.file}': the cell '{shown(cell.name)}' cannot be run: {error}") from error


def run_xray(
    plan: XrayPlan, folder: ExperimentFolder, data: str, events: ExperimentEvents, only: set[str] | None = None
) -> Outcome:
    """Work through a plan; see `run.run_experiment`."""
    return _Run(plan, folder, data, events, only).work()


class _Run(Work):
    def __init__(
        self, plan: XrayPlan, folder: ExperimentFolder, data: str, events: ExperimentEvents, only: set[str] | None
    ) -> None:
        check_xray(plan, data)
        folder.claim(plan, data)
        folder.note(machine=machine())
        super().__init__(plan, folder, events)
        self.data = data
        kept = {row["cell"] for row in current_rows(plan, folder) if "error" not in row}
        self.todo = [
            cell
            for cell in plan.cells
            if (only is None or cell.name in only)
            and (cell.name not in kept or not is_whole(folder, cell, plan.turntable))
        ]
        self.count = len(self.todo)
        self.pace = Pace([(*work_left(plan, cell, folder), 1) for cell in self.todo])
        # Cells that follow each other often share their radiographs.
        self.scan = lru_cache(maxsize=2)(self._scan)

    def work(self) -> Outcome:
        stopped = False
        try:
            for index, cell in enumerate(self.todo):
                self.cell, self.number = cell, index
                try:
                    self._one(cell)
                except NerfError as error:
                    # What went wrong with one cell says nothing of the others, which may have hours of work to do.
                    self.pace.failed()
                    if not self.is_kept(cell):
                        self.keep({"cell": cell.name, "labels": dict(cell.labels), "error": str(error)}, cell)
        except Cancelled:
            stopped = True
        return Outcome(current_rows(self.plan, self.folder), stopped)

    def _scan(self, scan: Scan) -> tuple[Path, Dataset, Truth]:
        """A scan's radiographs and truth, made when they are not there."""
        path = make_scan(
            self.folder.root, scan, self.data, self.plan.held_out, self.part("data"), self.events.should_stop
        )
        dataset = load_dataset(path, splits=("train", SPLIT), should_stop=self.events.should_stop)
        truth = find_truth(path, None, scan.voxels)
        if truth is None or dataset.xray is None:
            raise DataError(f"The radiographs '{path}' carry no truth; delete that folder, and they are made anew.")
        return path, dataset, truth

    def _one(self, cell: XrayCell) -> None:
        began = time.perf_counter()
        path, dataset, truth = self.scan(cell.scan)
        job = Job(
            cell=cell,
            data=path,
            dataset=dataset,
            truth=truth,
            folder=self.folder,
            device=resolve_device(self.plan.device),
            tell=lambda fraction, left=None, words="": self.tell("train", fraction, left, words),
            log=self.events.log,
            should_stop=self.events.should_stop,
        )
        found = find(job)
        found = replace(found, reconstruction=replace(found.reconstruction, name=cell.system))
        wall = time.perf_counter() - began
        self.pace.trained(wall, wall, cell.steps or 1)
        self.number += 1
        began = time.perf_counter()
        self._look(job, found)
        self.pace.looked(time.perf_counter() - began)

    def _look(self, job: Job, found: Found) -> None:
        cell, facts = job.cell, job.dataset.xray
        assert facts is not None
        self.tell("measure", 0.0)
        views = list(job.dataset.splits[SPLIT].views)
        images: dict[str, np.ndarray] = {}

        def on_radiograph(view: View, image: np.ndarray, _psnr: float) -> None:
            images[view.name] = image

        row: dict[str, Any] = {
            "cell": cell.name,
            "labels": dict(cell.labels),
            "system": cell.system,
            "given": cell.scan.views,
            "patient": short_name(source_of(cell.scan, self.data)),
            "device": job.device,
            "split": SPLIT,
            "views": len(views),
            "metrics": {},
            **found.facts,
        }
        if cell.system != NO_TRUTH:  # the truth is there to be looked at
            quality = measure(
                found.reconstruction, job.truth, views, facts, job.should_stop, self.part("measure"), on_radiograph
            )
            row["metrics"] = {
                "volume_psnr": quality.volume_psnr,
                "volume_ssim": quality.volume_ssim,
                "radiograph_psnr": quality.radiograph_psnr,
                "radiograph_ssim": quality.radiograph_ssim,
                **self._perceptual(views, images, facts, row),
                **found.metrics,
            }
            row["pictures"] = self._pictures(job, found, views, images, row["metrics"])
        if self.plan.turntable is not None:
            turntable = self.plan.turntable
            cameras = turntable_cameras(facts, [view.camera for view in job.given], job.grid.center, turntable)
            render_turn(
                self.folder,
                cell.folder,
                found.reconstruction.project,
                cameras,
                facts,
                turntable.fps,
                self.part("turntable"),
                job.should_stop,
            )
            row |= {"turntable": f"turntables/{cell.folder}", "frames": len(cameras), "size": turntable.size}
        self.keep(row, cell)

    def _perceptual(
        self, views: list[View], images: dict[str, np.ndarray], facts: XrayFacts, row: dict[str, Any]
    ) -> dict[str, float]:
        """The mean perceptual distance of radiographs as they are shown, where its network is there."""
        from .xray_perceptual import distance

        found = distance(views, images, facts)
        if found is None:
            return {}
        row["features"] = found[1]
        return {"perceptual": found[0]}

    def _pictures(
        self, job: Job, found: Found, views: list[View], images: dict[str, np.ndarray], metrics: dict[str, Any]
    ) -> dict[str, str]:
        """Write truth | system | error of the radiograph in the middle of those held out, and of slices."""
        cell, facts = job.cell, job.dataset.xray
        assert facts is not None
        make_folder(self.folder.root / "pictures")
        view = views[len(views) // 3]  # neither from the front nor from the side
        assert view.line_integral is not None
        caption = f"{metrics['radiograph_psnr']:.1f} dB"
        made = {"radiograph": radiograph_picture(images[view.name], view.line_integral, facts, cell.system, caption)}
        if found.reconstruction.volume is not None:
            caption = f"{metrics['volume_psnr']:.1f} dB"
            per_metre = 1.0 / facts.meters_per_unit
            made["slice"] = slice_picture(found.reconstruction.volume, job.truth, per_metre, cell.system, caption)
        paths = {}
        for kind, picture in made.items():
            path = picture_path(self.folder, cell.folder, kind)
            write_png(path, picture)
            paths[kind] = path.relative_to(self.folder.root).as_posix()
        return paths
