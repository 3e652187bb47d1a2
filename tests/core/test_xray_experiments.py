"""X-ray experiments: plans and what is wrong with them, a small one from beginning to end, stopped and gone on with."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.errors import NerfError
from nerf_core.contract.xray import NOT_FOR_DIAGNOSIS
from nerf_core.data.dataset import load_dataset
from nerf_core.evaluation.xray import of_volume
from nerf_core.experiments.columns import table_lines, used
from nerf_core.experiments.events import ExperimentEvents
from nerf_core.experiments.folder import ExperimentFolder
from nerf_core.experiments.plan import read_plan, shipped
from nerf_core.experiments.report import write_report
from nerf_core.experiments.run import run_experiment
from nerf_core.experiments.work import current_rows
from nerf_core.experiments.xray_data import nearest_given
from nerf_core.experiments.xray_plan import XrayPlan
from nerf_core.xray.true_volume import find_truth

from .small_experiment import write
from .test_experiments import Page

pytestmark = pytest.mark.filterwarnings("ignore:builtin type [Ss]wig:DeprecationWarning")
SMALL = """
[experiment]
kind = "xray"
title = "A chest & <few> views"
data = "phantom:chest:7"
held_out = 3
turntable = { frames = 3, size = 24 }

[defaults]
pixels = 24
voxels = 20

[grid.system]
"field" = { system = "field", steps = 8 }
"FDK" = { system = "fdk" }
"copy" = { system = "copy" }

[grid.views]
"1 view" = { views = 1 }
"6 views" = { views = 6 }

[[cell]]
name = "truth"
system = "truth"
views = 6

[[cell]]
name = "mean"
system = "mean-view"
views = 6
"""


@pytest.mark.parametrize("name", ["xray", "xray-small"])
def test_what_comes_along_can_be_read(name):
    plan = read_plan(name)
    assert isinstance(plan, XrayPlan) and name in shipped()
    assert {"field", "fdk", "sart", "copy", "truth"} <= {cell.system for cell in plan.cells}
    assert {1, 2, 5, 10, 25, 50} <= {cell.scan.views for cell in plan.cells}
    assert plan.data == "phantom:chest:101"
    others = {other for cell in plan.cells for other in cell.population}
    assert "phantom:chest:101" not in others  # nobody learns from who is measured
    # Nor is anybody given a view that is measured on, by the angles themselves.
    held = {round(2.0 + 360.0 * index / plan.held_out, 6) for index in range(plan.held_out)}
    for views in {cell.scan.views for cell in plan.cells}:
        given = {round(360.0 * index / views, 6) for index in range(views)}
        assert not given & held and nearest_given(views, plan.held_out) > 0.1


def test_layers_patients_and_populations(tmp_path):
    plan = read_plan(
        write(
            tmp_path,
            """
            [experiment]
            kind = "xray"
            data = "scan.nii.gz"
            [defaults]
            population = "phantom:knee:3-5"
            seconds = 9
            settings = { a = 1 }
            [[cell]]
            name = "one"
            system = "prior"
            views = 2
            settings = { b = 2 }
            [[cell]]
            name = "two"
            system = "sart"
            data = "phantom:knee:9"
            settings = { iterations = 4 }
            [[cell]]
            name = "three"
            steps = 5
            """,
        )
    )
    one, two, three = plan.cells
    assert plan.data == str(tmp_path / "scan.nii.gz") and plan.held_out == 24
    assert one.population == ("phantom:knee:3", "phantom:knee:4", "phantom:knee:5") and one.seconds is None
    assert one.settings == {"b": 2}  # the layer above was of another system
    assert two.scan.source == "phantom:knee:9" and two.population == () and two.settings == {"iterations": 4}
    assert (three.system, three.seconds, three.steps) == ("field", None, 5) and three.settings == {"a": 1}
    assert plan.counted() == "3 cells, 3 scans" and "learnt from 3 others" in one.words()


CELL = "[[cell]]\nname = 'a'\n"
BAD = [
    ("[experiment]\nkind = 'x'\n", "'kind' in [experiment] is 'x'; use one of training, xray"),
    ("split = 'val'\n", "[experiment] has no use for 'split'; it takes title, about, data, held_out"),
    ("held_out = 0\n", "'held_out' in [experiment] is 0; it must be from 1"),
    (CELL, "the cell 'a' does not say how long to train; give it 'seconds' or 'steps'"),
    (CELL + "system = 'x'\n", "'system' in the cell 'a' is 'x'; use one of truth, field, fdk"),
    (CELL + "system = 'fdk'\nviews = 0\n", "'views' in the cell 'a' is 0; it must be from 1"),
    (CELL + "system = 'fdk'\npreset = 'leg'\n", "'preset' in the cell 'a' is 'leg'; use one of chest"),
    (
        CELL + "system = 'prior'\n",
        "the cell 'a' learns from other patients; name them with 'population'",
    ),
    (
        CELL + "system = 'prior'\npopulation = 'x'\n",
        "'population' in the cell 'a' is 'x'; write phantom:",
    ),
    (CELL + "system = 'prior'\npopulation = 'phantom:chest:9-1'\n", "it must be 1 to 1000 patients"),
    (
        CELL + "system = 'fdk'\nspeed = 1\n",
        "the cell 'a' has no use for 'speed'; it takes system, views",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_what_is_wrong_with_a_plan_is_one_sentence(tmp_path, text, sentence):
    head = "" if "[experiment]" in text else "[experiment]\nkind = 'xray'\n"
    path = write(tmp_path, head + text)
    with pytest.raises(NerfError) as told:
        read_plan(path)
    assert sentence in str(told.value) and str(told.value).startswith(f"'{path}'") and "\n" not in str(told.value)


def test_what_cannot_work_is_told_before_anything_is_made(tmp_path):
    def refused(cell: str, data: str = "phantom:chest:7") -> str:
        plan = read_plan(write(tmp_path, f"[experiment]\nkind = 'xray'\n[[cell]]\nname = 'a'\n{cell}"))
        with pytest.raises(NerfError) as told:
            run_experiment(plan, ExperimentFolder(tmp_path / "out"), data)
        assert not (tmp_path / "out").exists()
        return str(told.value)

    assert "cannot be run: There is no CT '/gone.nii'" in refused("system = 'fdk'\n", "/gone.nii")
    assert "The phantom 'cat' is not known" in refused("system = 'fdk'\ndata = 'phantom:cat:1'\n")
    said = refused("system = 'sart'\nsettings = { speed = 1 }\n")
    assert "'sart' has no setting 'speed'; it takes iterations, relaxation, subset" in said
    said = refused("system = 'mednerf'\nviews = 2\nsteps = 1\npopulation = 'phantom:chest:1-2'\n")
    assert "'mednerf' is given one view, not 2; set 'views' to 1" in said
    said = refused("system = 'prior'\npopulation = 'phantom:chest:5-9'\n")
    assert "'phantom:chest:7' is among the patients that it learns from" in said
    said = refused("system = 'prior'\npopulation = ['phantom:chest:1', 'phantom:chest']\n", "phantom:chest:0")
    assert "'phantom:chest:0' is among the patients" in said
    plan = "[experiment]\nkind = 'xray'\nheld_out = 72\n[[cell]]\nname = 'a'\nsystem = 'fdk'\nviews = 5\n"
    with pytest.raises(NerfError, match="of 72 held-out views some would be among its 5 given ones"):
        run_experiment(read_plan(write(tmp_path, plan)), ExperimentFolder(tmp_path / "out"), "phantom:chest:7")
    assert "cannot be run" in refused("system = 'field'\nsteps = 1\nsettings = { speed = 1 }\n")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The small experiment run without a break, in this process: loading itk-rtk takes ten seconds."""
    folder = tmp_path_factory.mktemp("x-ray experiment ü")
    plan, out = read_plan(write(folder, SMALL)), ExperimentFolder(folder / "whole")
    outcome = run_experiment(plan, out, plan.data)
    write_report(plan, out)
    rows = [json.loads(line) for line in out.results.read_text(encoding="utf-8").splitlines()]
    assert rows == outcome.rows and not outcome.stopped
    return out, {"rows": rows}, "\n".join(table_lines(rows))


def test_every_system_is_given_the_same_and_measured_on_others(finished):
    folder, told, log = finished
    rows = {row["cell"]: row for row in told["rows"]}
    assert list(rows) == [
        "field 1 view", "field 6 views", "FDK 1 view", "FDK 6 views", "copy 1 view", "copy 6 views", "truth", "mean",
    ]  # fmt: skip
    sets = sorted(path for path in (folder.root / "data").iterdir())
    assert len(sets) == 2  # one for each number of views
    angles, windows = [], []
    for path in sets:
        dataset = load_dataset(path)
        windows.append(dataset.xray.window)
        given, others = ([view.camera for view in dataset.splits[split].views] for split in ("train", "test"))
        assert len(others) == 3 and len(given) in (1, 6)
        nearest = max(float(one.forward @ other.forward) for one in given for other in others)
        assert nearest < np.cos(np.radians(0.5))  # none that is measured was given
        angles.append([tuple(np.round(camera.position, 6)) for camera in others])
    assert angles[0] == angles[1]  # the same for all
    assert windows[0] == windows[1]  # and shown alike
    for name, row in rows.items():
        assert row["patient"] == "phantom:chest:7" and row["views"] == 3 and row["split"] == "test"
        numbers = row["metrics"]
        if name == "truth":
            assert numbers == {} and "pictures" not in row
            continue
        assert 5 < numbers["radiograph_psnr"] < 60 and 0 < numbers["radiograph_ssim"] < 1
        if row["system"] in ("copy", "mean-view"):
            assert numbers["volume_psnr"] is None and list(row["pictures"]) == ["radiograph"]
        else:
            assert 3 < numbers["volume_psnr"] < 60 and list(row["pictures"]) == ["radiograph", "slice"]
    for system in ("field", "FDK"):
        few, many = (rows[f"{system} {views}"]["metrics"] for views in ("1 view", "6 views"))
        assert many["volume_psnr"] > few["volume_psnr"] and many["radiograph_psnr"] > few["radiograph_psnr"]
    assert rows["field 6 views"]["metrics"]["steps"] == 8
    assert f"{rows['FDK 6 views']['metrics']['volume_psnr']:.2f}" in log.splitlines()[4]


def test_copying_and_averaging_are_what_they_say(finished):
    folder, told, _ = finished
    rows = {row["cell"]: row for row in told["rows"]}
    path = next(path for path in (folder.root / "data").iterdir() if "-6-views" in path.name)
    dataset = load_dataset(path)
    given, others = dataset.splits["train"].views, dataset.splits["test"].views
    peak = max(view.line_integral.max() for view in others)

    def psnr(image, view):
        return 20 * np.log10(peak / np.sqrt(np.mean((image - view.line_integral) ** 2)))

    mean = np.mean([view.line_integral for view in given], axis=0)
    expected = np.mean([psnr(mean, view) for view in others])
    assert rows["mean"]["metrics"]["radiograph_psnr"] == pytest.approx(expected, abs=1e-3)
    nearest = [max(given, key=lambda one: float(one.camera.forward @ view.camera.forward)) for view in others]
    expected = np.mean([psnr(one.line_integral, view) for one, view in zip(nearest, others, strict=True)])
    assert rows["copy 6 views"]["metrics"]["radiograph_psnr"] == pytest.approx(expected, abs=1e-3)


def test_the_turn_of_the_truth_is_the_truth_s(finished):
    folder, told, _ = finished
    row = next(row for row in told["rows"] if row["cell"] == "truth")
    path = next(path for path in (folder.root / "data").iterdir() if "-6-views" in path.name)
    dataset, truth = load_dataset(path), find_truth(path, None, 20)
    pictures = sorted((folder.root / row["turntable"]).glob("*.png"))
    assert [path.name for path in pictures] == ["0001.png", "0002.png", "0003.png"]
    # Its first picture is the rig's at angle 0, as the first given view is.
    camera = dataset.splits["train"].views[0].camera.resized(24, 24)
    p = of_volume("truth", truth.mu, truth.grid).project(camera)
    low, high = dataset.xray.window
    expected = np.clip((p - low) / (high - low), 0.0, 1.0) * 255.0
    found = np.asarray(Image.open(pictures[0]).convert("L"), float)
    assert np.abs(found - expected).max() <= 1.0
    assert b"ftyp" in folder.turntable("truth").with_suffix(".mp4").read_bytes()[:16]


def test_the_report_says_whose_numbers_they_are_and_what_not_to_do(finished):
    folder, told, _ = finished
    text = folder.report.read_text(encoding="utf-8")
    page = Page(text)
    assert page.title == "A chest & <few> views" and "<few>" not in text
    assert NOT_FOR_DIAGNOSIS in text and text.index(NOT_FOR_DIAGNOSIS) < text.index("<table")
    assert "phantom:chest:7 (a synthetic chest of ellipsoids, seed 7; no patient)" in text
    columns = used(told["rows"])
    assert [cells[0] for cells in page.rows] == [row["cell"] for row in told["rows"]]
    for cells, row in zip(page.rows, told["rows"], strict=True):
        assert cells[1:] == [column.text(row) for column in columns]
    assert {"volume_psnr", "volume_ssim", "radiograph_psnr", "radiograph_ssim"} <= {column.key for column in columns}
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    pictures = [source for source in page.sources if source.startswith("data:image/webp")]
    assert len(pictures) == sum(len(row.get("pictures") or {}) for row in told["rows"]) == 11
    turns = json.loads(re.search(r'id="turns">(.*?)</script>', text, re.DOTALL).group(1))
    assert [turn["cell"] for turn in turns] == [row["cell"] for row in told["rows"]]
    assert "nerf train" in text and "--method xray" in text and "<svg" in text
    for row in told["rows"]:
        for path in (row.get("pictures") or {}).values():
            with Image.open(folder.root / path) as opened:
                assert opened.width > 3 * 24


class Stops(ExperimentEvents):
    """Stops when a cell's stage is reached."""

    def __init__(self, cell: str, stage: str) -> None:
        self.at, self.reached, self.fractions = (cell, stage), False, []

    def progress(self, status) -> None:
        self.fractions.append(status.fraction)
        self.reached |= (status.cell, status.stage) == self.at

    def should_stop(self) -> bool:
        return self.reached


def test_a_stopped_experiment_goes_on_to_the_same_results(finished, tmp_path):
    whole, told, _ = finished
    plan, folder = read_plan(whole.plan), ExperimentFolder(tmp_path / "again")
    only = {"field 1 view", "FDK 1 view", "truth"}
    for cell, stage, done in (("field 1 view", "data", 0), ("field 1 view", "train", 0), ("FDK 1 view", "measure", 1)):
        events = Stops(cell, stage)
        outcome = run_experiment(plan, folder, plan.data, events, only)
        assert outcome.stopped and len(outcome.rows) == done and events.reached
        assert events.fractions == sorted(events.fractions)
    outcome = run_experiment(plan, folder, plan.data, None, only)
    assert not outcome.stopped and len(outcome.rows) == 3
    expected = {row["cell"]: row for row in told["rows"]}
    for row in outcome.rows:
        for key in ("volume_psnr", "radiograph_psnr", "radiograph_ssim"):
            assert row["metrics"].get(key) == expected[row["cell"]]["metrics"].get(key)
    assert [row["cell"] for row in current_rows(plan, folder)] == ["field 1 view", "FDK 1 view", "truth"]
    with pytest.raises(NerfError, match="are of the data set 'phantom:chest:7', not of 'phantom:chest:8'"):
        run_experiment(plan, folder, "phantom:chest:8")


def test_a_cell_that_fails_does_not_end_the_others(tmp_path):
    text = SMALL.split("[grid.system]")[0] + (
        "[[cell]]\nname = 'bad'\nsystem = 'sart'\nviews = 2\nsettings = { relaxation = 7.0 }\n"
        "[[cell]]\nname = 'copy'\nsystem = 'copy'\nviews = 2\n"
    )
    plan = read_plan(write(tmp_path, text))
    outcome = run_experiment(plan, ExperimentFolder(tmp_path / "out"), plan.data)
    assert [row["cell"] for row in outcome.rows] == ["bad", "copy"]
    assert "relaxation is 7" in outcome.rows[0]["error"] and "error" not in outcome.rows[1]
    assert not Path(tmp_path / "out" / "runs").exists()


def test_what_learns_from_others(tmp_path):
    """Priors and a generative system, as small as can be: every part of them runs, and what they know is no more."""
    text = SMALL.split("[grid.system]")[0].replace("turntable = { frames = 3, size = 24 }", "turntable = false") + (
        "population = 'phantom:chest:1-2'\nviews = 1\n"
        "[[cell]]\nname = 'prior'\nsystem = 'prior'\nsettings = { longest = 12, modes = 1, held_out = 0 }\n"
        "[[cell]]\nname = 'mean'\nsystem = 'mean-patient'\nsettings = { longest = 12, held_out = 0 }\n"
        "[[cell]]\nname = 'gan'\nsystem = 'hypernerfgan'\nsteps = 1\npopulation = ['phantom:chest:1']\n"
        "settings = { preset = 'tiny', image_size = 16, "
        "batch = 2, samples = 4, fakes = 2, "
        "inversion = { starts = 1, kept = 1, turns = 1, code_steps = 1, steps = 1 } }\n"
    )
    plan, folder = read_plan(write(tmp_path, text)), ExperimentFolder(tmp_path / "out")
    rows = {row["cell"]: row for row in run_experiment(plan, folder, plan.data).rows}
    assert all("error" not in row for row in rows.values()), rows
    for name in ("prior", "mean"):
        assert rows[name]["metrics"]["volume_psnr"] > 8 and list(rows[name]["pictures"]) == ["radiograph", "slice"]
    numbers = rows["gan"]["metrics"]
    assert numbers["fid"] > 0 and numbers["steps"] == 1 and numbers["volume_psnr"] is None
    assert 3 < numbers["radiograph_psnr"] < 40 and "EfficientNet" in rows["gan"]["fid_features"]
    (others,) = (folder.root / "data").glob("population-1-*")
    (path,) = others.iterdir()
    measured = load_dataset(next(path for path in (folder.root / "data").iterdir() if "-1-views" in path.name))
    dataset = load_dataset(path)
    assert len(dataset.splits["train"].views) == 72 and dataset.xray.volume is None
    assert dataset.xray.window == measured.xray.window  # through one window
    state = json.loads((path / "radiographs.json").read_text(encoding="utf-8"))
    assert state["asked"]["source"]["phantom"] == "phantom:chest:1"
    # A run that is there is gone on with: nothing is left to train.
    before = (folder.root / "runs" / "gan" / "checkpoint.safetensors").stat().st_mtime_ns
    folder.results.unlink()
    assert "error" not in run_experiment(plan, folder, plan.data, only={"gan"}).rows[0]
    assert (folder.root / "runs" / "gan" / "checkpoint.safetensors").stat().st_mtime_ns == before
