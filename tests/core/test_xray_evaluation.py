"""Reconstructions measured alike: volumes, radiographs, what solvers found and where it is kept."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from nerf_core.contract.errors import Cancelled, DataError, NerfError
from nerf_core.contract.xray import NOT_FOR_DIAGNOSIS, XrayFacts, preset
from nerf_core.ct import read_ct, write_nifti
from nerf_core.data.dataset import load_dataset
from nerf_core.data.placement import Placement
from nerf_core.data.views import View
from nerf_core.evaluation.evaluate import evaluate_run
from nerf_core.evaluation.xray import field_volume, fitted, measure, of_field, of_solved, of_volume
from nerf_core.training.load import load_run
from nerf_core.training.setup import TrainRequest
from nerf_core.training.trainer import Trainer
from nerf_core.xray.drr import RadiographPlan, make_radiographs
from nerf_core.xray.grid import Grid
from nerf_core.xray.metrics import volume_psnr
from nerf_core.xray.projector import project_camera
from nerf_core.xray.solver_cache import RadiographJudge, TruthJudge, best_settings, judge_of, solve
from nerf_core.xray.solvers import sart
from nerf_core.xray.sources import open_radiograph_source
from nerf_core.xray.true_volume import Truth, find_truth, world_from_mm
from nerf_core.xray.turntable import turntable

from ..seeds import fresh_seed
from .xray_subject import BOUNDS, CENTER, radiographs, truth

pytestmark = pytest.mark.filterwarnings("ignore:builtin type [Ss]wig:DeprecationWarning")
GRID = Grid.of_bounds(BOUNDS, 32)
FACTS = XrayFacts(window=(0.0, 4.0))


class KnownField:
    """A field that is a volume: what a trained one is asked for."""

    def __init__(self, mu: np.ndarray, grid: Grid) -> None:
        self.mu, self.grid, self.asked = mu, grid, 0

    def query_density(self, points: np.ndarray) -> np.ndarray:
        self.asked += 1
        return self.grid.sampled(self.mu, points)

    def line_integrals(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        from nerf_core.xray.projector import project_volume

        return project_volume(self.mu, self.grid.world_from_index, origins, directions)


@pytest.fixture(scope="module")
def known():
    return Truth(GRID, truth(GRID), "ellipsoids")


@pytest.fixture(scope="module")
def views():
    """Given ones, and others half a step between them."""
    every = radiographs(24, pixels=32)
    named = [
        View(f"view {index}", each.camera, np.zeros(0), None, each.line_integral) for index, each in enumerate(every)
    ]
    return named[::2], named[1::2]


def test_the_truth_itself_is_as_good_as_voxels_can_be(known, views):
    _, others = views
    quality = measure(of_volume("truth", known.mu, GRID), known, others, FACTS)
    assert (quality.volume_psnr, quality.volume_ssim) == (100.0, pytest.approx(1.0, abs=1e-5))
    assert quality.radiograph_psnr > 35.0 and quality.radiograph_ssim > 0.97  # voxels against exact ellipsoids
    # Half of it is worse by what the numbers say.
    half = measure(of_volume("half", 0.5 * known.mu, GRID), known, others, FACTS)
    assert half.volume_psnr == pytest.approx(volume_psnr(0.5 * known.mu, known.mu)) and half.radiograph_psnr < 20.0


def test_a_field_is_asked_for_the_same_as_a_volume(known, views):
    _, others = views
    field = KnownField(known.mu, GRID)
    found = of_field(field, GRID, "field")
    np.testing.assert_allclose(found.volume, known.mu, atol=1e-4)
    told = []
    quality = measure(
        found, known, others, FACTS, on_radiograph=lambda view, image, psnr: told.append((view.name, psnr))
    )
    expected = measure(of_volume("truth", known.mu, GRID), known, others, FACTS)
    assert quality.radiograph_psnr == pytest.approx(expected.radiograph_psnr, abs=1e-3)
    assert [name for name, _ in told] == [view.name for view in others]
    assert np.mean([psnr for _, psnr in told]) == pytest.approx(quality.radiograph_psnr)
    with pytest.raises(Cancelled):
        field_volume(field, GRID, lambda: True)


def test_solvers_are_measured_like_everything_else(known, views, tmp_path):
    given, others = views
    rows = {
        name: measure(of_solved(solve(name, given, GRID, folder=tmp_path), GRID), known, others, FACTS)
        for name in ("fdk", "sart")
    }
    for row in rows.values():
        assert row.volume_psnr > 24.0 and row.radiograph_psnr > 28.0 and row.seconds > 0
    assert rows["sart"].volume_psnr > rows["fdk"].volume_psnr
    assert rows["sart"].to_dict()["settings"] == best_settings("sart", len(given))


def test_volumes_are_kept_by_data_and_settings(views, tmp_path):
    given, _ = views
    folder = tmp_path / "solvers"
    first = solve("fdk", given, GRID, folder=folder)
    again = solve("fdk", given, GRID, folder=folder)
    assert (first.kept, again.kept) == (False, True) and again.seconds == first.seconds
    np.testing.assert_array_equal(first.mu, again.mu)
    (path,) = folder.iterdir()
    assert path.suffix == ".safetensors"
    # Other radiographs, another grid and other settings are other questions.
    assert not solve("fdk", given[1:], GRID, folder=folder).kept
    assert not solve("fdk", given, Grid.of_bounds(BOUNDS, 24), folder=folder).kept
    assert not solve("fdk", given, GRID, {"hann": 0.5}, folder).kept
    assert len(list(folder.iterdir())) == 4
    # What a full disk or a flipped bit left is made anew.
    path.write_bytes(path.read_bytes()[:100])
    mended = solve("fdk", given, GRID, folder=folder)
    assert not mended.kept
    np.testing.assert_array_equal(mended.mu, first.mu)
    with pytest.raises(NerfError, match="'best' is not known; use some of fdk, sart, sirt, cg"):
        solve("best", given, GRID)


@pytest.mark.parametrize("with_truth", [True, False])
def test_a_judge_keeps_the_best_pass(with_truth, known, views, tmp_path):
    given, others = views
    judge = judge_of(known.mu if with_truth else None, others, GRID)
    assert isinstance(judge, TruthJudge if with_truth else RadiographJudge)
    settings = {"iterations": 12, "relaxation": 0.3, "subset": 1}
    errors = []
    sart(given, GRID, **settings, on_iteration=lambda _done, volume: errors.append(judge.error(volume)))
    found = solve("sart", given, GRID, settings, tmp_path, judge)
    passes = found.settings["iterations"]
    assert judge.error(found.mu) == pytest.approx(errors[passes - 1], rel=1e-3)
    assert errors[passes - 1] == min(errors[: passes + 3])  # none of the three after it was better
    again = solve("sart", given, GRID, settings, tmp_path, judge)
    assert again.kept and again.settings == found.settings
    other = judge_of(0.5 * known.mu if with_truth else None, others[:3], GRID)
    assert not solve("sart", given, GRID, {**settings, "iterations": 1}, tmp_path, other).kept
    with pytest.raises(Cancelled):
        solve("sart", given, GRID, settings, None, judge, should_stop=lambda: True)


def test_where_the_first_passes_are_best_a_gentler_one_is_tried(known, views):
    given, _ = views
    rng = np.random.default_rng(fresh_seed())
    noisy = [
        View(view.name, view.camera, view.rgba, None, view.line_integral + rng.normal(0.0, 0.4, (32, 32)))
        for view in given
    ]
    judge = TruthJudge(known.mu)
    found = solve("sart", noisy, GRID, judge=judge)
    assert found.settings["relaxation"] == 0.3  # noise is fitted at once by whole corrections
    rough = solve("sart", noisy, GRID, {"iterations": 1, "relaxation": 1.0, "subset": 1})
    assert judge.error(found.mu) < judge.error(rough.mu)


def test_gain_and_offset_of_each_view_do_not_count_where_they_are_not_known(known, views):
    _, others = views
    rng = np.random.default_rng(fresh_seed())
    field = KnownField(0.9 * known.mu, GRID)
    scaled = [
        View(
            view.name, view.camera, view.rgba, None, view.line_integral * rng.uniform(0.5, 1.5) + rng.uniform(0.0, 1.0)
        )
        for view in others
    ]
    per_view = XrayFacts(window=(0.0, 4.0), scaling="per_view")
    found = of_field(field, None, "field")
    assert measure(found, None, scaled, per_view).radiograph_psnr > 30.0
    # Nor does the volume's scale.
    wrong = of_volume("a third", known.mu / 3.0, GRID)
    assert measure(wrong, known, scaled, per_view).volume_psnr == 100.0
    assert measure(wrong, known, others, replace(per_view, scaling="physical")).volume_psnr < 30.0
    assert measure(found, None, scaled, FACTS).radiograph_psnr < 25.0
    image = rng.uniform(0.0, 1.0, (5, 6))
    np.testing.assert_allclose(fitted(image, 2.0 * image + 3.0), 2.0 * image + 3.0)
    np.testing.assert_allclose(fitted(np.ones((5, 6)), image), np.full((5, 6), image.mean()))


def test_a_grid_gives_back_what_it_holds():
    rng = np.random.default_rng(fresh_seed())
    turn = np.eye(4)
    turn[:3, :3] = np.linalg.qr(rng.normal(size=(3, 3)))[0] * 0.01
    turn[:3, 3] = CENTER
    grid = Grid((5, 7, 6), turn)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    np.testing.assert_allclose(grid.to_index(grid.to_world(index)), index, atol=1e-9)
    np.testing.assert_allclose(grid.slab(2, 4), grid.to_world(index)[2:4])
    values = rng.uniform(size=grid.shape).astype(np.float32)
    np.testing.assert_allclose(grid.sampled(values, grid.to_world(index)), values, atol=1e-5)
    assert not grid.sampled(values, grid.to_world(index + (10.0, 0.0, 0.0))).any()
    assert np.all(grid.resized(20).shape == np.array([15, 20, 18]))
    np.testing.assert_allclose(grid.resized(21).center, grid.center, atol=1e-12)
    np.testing.assert_allclose(Grid.of_bounds(BOUNDS, 44).bounds, BOUNDS, atol=1e-9)
    with pytest.raises(DataError, match="orthogonal"):
        Grid((2, 2, 2), np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))


# Runs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A chest's field, trained a little on six radiographs."""
    folder = tmp_path_factory.mktemp("x-ray run ü")
    source = open_radiograph_source("phantom:chest:7", 24)
    longest = 1000.0 * float((source.bounds[1] - source.bounds[0]).max())
    rig = preset("volume", longest).with_pixels(24, 24).scaled(0.001)
    make_radiographs(RadiographPlan(source, turntable(rig, source.bounds.mean(axis=0), 6, 3), rig), folder / "data")
    Trainer(TrainRequest(folder / "run", folder / "data", method="xray", steps=30)).run()
    return folder / "run"


def test_a_run_stands_beside_the_solvers_on_the_same_radiographs(run):
    told = []
    found = evaluate_run(run, progress=told.append)
    assert told == sorted(told) and told[-1] == pytest.approx(1.0)
    rows = {row.name: row for row in found.xray.rows}
    assert list(rows) == ["field", "fdk", "sart"]
    assert (found.xray.given, found.xray.held_out, found.xray.truth) == (6, 3, "volume.nii.gz")
    assert 24 in found.xray.shape and found.xray.remark == ""
    for row in rows.values():
        assert 5 < row.volume_psnr < 60 and 5 < row.radiograph_psnr < 60 and 0 < row.volume_ssim < 1
    # The very numbers, from the parts.
    loaded = load_run(run)
    known = find_truth(loaded.data)
    expected = volume_psnr(field_volume(loaded.method, known.grid), known.mu)
    assert rows["field"].volume_psnr == pytest.approx(expected, abs=1e-6)
    given = load_dataset(loaded.data).splits["train"].views
    kept = solve("sart", given, known.grid, folder=run / "solvers", judge=TruthJudge(known.mu))
    assert kept.kept and rows["sart"].volume_psnr == pytest.approx(volume_psnr(kept.mu, known.mu), abs=1e-6)
    # As JSON and as words.
    values = json.loads(json.dumps(found.to_dict()))["xray"]
    assert [row["name"] for row in values["systems"]] == list(rows) and values["not_for_diagnosis"] == NOT_FOR_DIAGNOSIS
    lines = found.xray.lines()
    assert lines[-1] == NOT_FOR_DIAGNOSIS and f"{rows['sart'].volume_psnr:.2f}" in lines[3]
    assert [row.name for row in evaluate_run(run, solvers=["sirt"]).xray.rows] == ["field", "sirt"]
    with pytest.raises(NerfError, match="'best' is not known"):
        evaluate_run(run, solvers=["best"])


def test_the_command_line_without_solvers(run, nerf):
    assert [row.name for row in evaluate_run(run, solvers=[]).xray.rows] == ["field"]
    said = nerf("evaluate", run, "--solvers", "none").stdout
    assert "volume dB" in said and NOT_FOR_DIAGNOSIS in said and "against 'volume.nii.gz' on" in said


def test_without_the_package_the_field_is_measured_alone_unless_solvers_are_asked_for(run, monkeypatch):
    shutil.rmtree(run / "solvers", ignore_errors=True)
    monkeypatch.setitem(sys.modules, "itk", None)
    found = evaluate_run(run)
    assert [row.name for row in found.xray.rows] == ["field"]
    assert "without fdk and sart" in found.xray.remark and "pip install" in found.xray.remark
    with pytest.raises(NerfError, match="itk-rtk"):
        evaluate_run(run, solvers=["fdk"])


def test_a_truth_goes_where_the_run_placed_its_data_set(run):
    loaded = load_run(run)
    plain, placed = find_truth(loaded.data), find_truth(loaded.data, Placement("none", "normalise"))
    dataset = load_dataset(loaded.data, placement=Placement("none", "normalise"))
    np.testing.assert_allclose(placed.grid.bounds, dataset.bounds, atol=1e-6)
    assert not np.allclose(plain.grid.bounds, placed.grid.bounds)
    # Its line integrals stay what they are.
    view = dataset.splits["val"].views[0]
    seen = of_volume("truth", placed.mu, placed.grid).project(view.camera)
    assert np.abs(seen - view.line_integral).mean() < 0.06 * view.line_integral.max()
    assert max(find_truth(loaded.data, None, 12).grid.shape) == 12


def shear(volume):
    """The same voxels in slices that are moved on, each beside the one before, as a tilted gantry lays them."""
    affine = np.array(volume.affine)
    affine[:3, 2] += 0.3 * affine[:3, 0] - 0.2 * affine[:3, 1]
    return replace(volume, affine=affine)


def test_a_sheared_truth_is_laid_on_a_straight_grid(run, tmp_path):
    data = shutil.copytree(load_run(run).data, tmp_path / "data")
    plain = read_ct(data / "volume.nii.gz")
    assert find_truth(data).remark == ""
    write_nifti(data / "volume.nii.gz", shear(plain))
    known = find_truth(data, None, 40)
    assert max(known.grid.shape) <= 40 and "sheared" in known.remark and known.remark.endswith("voxels.")
    # The same line integrals as through the sheared voxels themselves, as near as resampling lets them be.
    facts = load_dataset(data).xray
    mu = (100.0 * facts.meters_per_unit * plain.mu()).astype(np.float32)
    world = world_from_mm(facts) @ shear(plain).affine
    camera = load_dataset(data).splits["val"].views[0].camera
    exact, seen = project_camera(mu, world, camera), project_camera(known.mu, known.grid.world_from_index, camera)
    assert np.abs(seen - exact).mean() < 0.03 * exact.max()
    # A run on it is measured, rows of volumes and of radiographs, and says what was done.
    found = evaluate_run(run, data=data, solvers=[]).xray
    assert found.rows[0].volume_psnr > 0 and found.rows[0].radiograph_psnr > 5
    assert found.volume_remark in found.lines() and "sheared" in found.volume_remark


def test_without_the_true_volumes_file_radiographs_are_measured_all_the_same(run, tmp_path):
    data = shutil.copytree(load_run(run).data, tmp_path / "data")
    (data / "volume.nii.gz").unlink()
    found = evaluate_run(run, data=data, solvers=[]).xray
    assert found.rows[0].volume_psnr is None and found.rows[0].radiograph_psnr > 5 and found.truth is None
    assert "which is not there" in "".join(found.lines()) and "carries no true volume" not in "".join(found.lines())
    assert json.loads(json.dumps(found.to_dict()))["volume_remark"] == found.volume_remark


def test_other_methods_have_no_solvers_beside_them(trained_run):
    assert evaluate_run(trained_run, count=1).xray is None
    with pytest.raises(NerfError, match="is no attenuation field"):
        evaluate_run(trained_run, count=1, solvers=["fdk"])
