"""Data sets of radiographs: true numbers, against closed forms and RTK; noise; going on; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf_core.cli import main
from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.contract.xray import PRESETS, ConeBeam, hu_to_mu, preset
from nerf_core.ct import Volume, read_ct, write_nifti
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.data import exr
from nerf_core.data.dataset import load_dataset
from nerf_core.training.load import load_run
from nerf_core.xray.drr import RadiographJob, RadiographPlan, make_radiographs, whitest, with_meters
from nerf_core.xray.noise import Noise
from nerf_core.xray.projector import MODELS, project_camera
from nerf_core.xray.sources import PhantomSource, SumSource, VolumeSource, open_radiograph_source
from nerf_core.xray.turntable import turntable

from ..seeds import fresh_seed
from .ct_files import placed, write_series


def psnr(found, true):
    """dB, with the largest true line integral as range."""
    return 10 * np.log10(float(np.max(true)) ** 2 / np.mean((np.asarray(found, np.float64) - true) ** 2))


def small_plan(source, count=6, pixels=(20, 16), val=2, train=None, **options):
    sides = source.bounds[1] - source.bounds[0]
    rig = ConeBeam(2.5, 3.5, (2.0, 1.6), pixels).scaled(float(sides.max()))
    views = turntable(rig, source.bounds.mean(axis=0), count, val, train)
    return RadiographPlan(source, views, rig, **options)


def files_of(folder):
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


@pytest.fixture
def phantom():
    return ellipsoid_phantom("ellipsoids", fresh_seed())


def test_a_phantoms_radiographs_are_its_exact_integrals(phantom, tmp_path):
    plan = small_plan(PhantomSource(phantom, 24))
    make_radiographs(plan, tmp_path / "set")
    data = load_dataset(tmp_path / "set")
    assert {split: len(views) for split, views in data.splits.items()} == {"train": 6, "val": 2}
    largest = {"train": 0.0, "val": 0.0}
    for split in largest:
        for view in data.splits[split].views:
            origins, directions = view.camera.rays()
            true = phantom.line_integrals(1000.0 * origins, directions)
            np.testing.assert_allclose(view.line_integral, true, rtol=1e-5, atol=1e-6)
            largest[split] = max(largest[split], float(view.line_integral.max()))
            grey = np.round(255 * np.clip(view.line_integral / data.xray.window[1], 0, 1))
            assert np.abs(view.rgba[..., :3].astype(float) - grey[..., None]).max() <= 1
            assert not view.rgba[0, 0, :3].any()  # nothing is in the way there
    # White is what the training views reach; held-out ones may reach farther.
    assert data.xray.window == (0.0, pytest.approx(largest["train"])) and data.xray.scaling == "physical"
    assert data.xray.source_axis == pytest.approx(plan.rig.source_axis)
    np.testing.assert_allclose(data.bounds, phantom.bounds / 1000.0)
    # The truth lies where the radiographs say it does.
    truth = read_ct(tmp_path / "set" / data.xray.volume)
    np.testing.assert_allclose(truth.bounds, phantom.bounds, atol=1e-3)
    np.testing.assert_allclose(truth.values, phantom.volume(24).values, atol=1e-3)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("kind", "side"), [("ellipsoids", 128), ("shepp-logan", 224), ("knee", 128)])
def test_voxels_of_a_phantom_give_its_radiographs_to_40_db(kind, side, model):
    """The head's skull is 2 mm thin: it takes smaller voxels."""
    phantom = ellipsoid_phantom(kind, fresh_seed() % 1000)
    exact, voxels = PhantomSource(phantom), VolumeSource(phantom.volume(side), model=model)
    for view in small_plan(exact, 3, (48, 48), val=0).views:
        found = psnr(voxels.line_integrals(view.camera), exact.line_integrals(view.camera))
        print(f"{kind}, {side} voxels, {model}: {found:.1f} dB")
        assert found >= 40.0


def test_rtk_projects_the_same():
    """Joseph's forward projector of the Reconstruction Toolkit, on the same volume and views."""
    pytest.importorskip("itk", reason="itk-rtk is not installed")
    from nerf_core.xray.grid import Grid
    from nerf_core.xray.rtk_geometry import VolumeLayout, find_frame, load_rtk, projection_image, rtk_geometry

    itk, rtk = load_rtk()
    volume = ellipsoid_phantom("ellipsoids", fresh_seed() % 1000).volume((40, 44, 36))
    source = VolumeSource(volume)
    cameras = [view.camera for view in small_plan(source, 5, (40, 32), val=0).views]
    ours = np.stack([source.line_integrals(camera) for camera in cameras])
    grid = Grid(volume.shape, source.world_from_index)
    frame = find_frame(cameras, grid)

    class View:
        def __init__(self, camera):
            self.camera, self.line_integral = camera, np.zeros((camera.height, camera.width), np.float32)

    layout = VolumeLayout.of(grid, frame)
    image = layout.image(itk, hu_to_mu(volume.values) * 100.0 / np.float32(frame.scale))
    kind = itk.Image[itk.F, 3]
    projector = rtk.JosephForwardProjectionImageFilter[kind, kind].New()
    projector.SetInput(0, projection_image(itk, [View(camera) for camera in cameras]))
    projector.SetInput(1, image)
    projector.SetGeometry(rtk_geometry(rtk, itk, cameras, frame))
    projector.Update()
    theirs = np.asarray(itk.array_view_from_image(projector.GetOutput()))[:, ::-1]
    found = psnr(theirs, ours)
    print(f"RTK's Joseph: {found:.1f} dB")
    assert ours.max() > 1.0 and found >= 60.0


def test_matrices_move_turn_and_scale(phantom):
    """A patient twice as large has twice the line integrals; what is moved with its camera looks the same."""
    turn = np.array([[0, -1.0, 0], [1, 0, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = 2.0 * turn, (3.0, -1.0, 0.5)
    plain = [PhantomSource(phantom), VolumeSource(phantom.volume(20))]
    moved = [PhantomSource(phantom, None, matrix), VolumeSource(phantom.volume(20), matrix)]
    # A world in millimetres, in which the patient is a thousand times as large and weighs as much.
    milli = np.diag([1000.0, 1000.0, 1000.0, 1.0])
    small = [PhantomSource(phantom, None, milli, 0.001), VolumeSource(phantom.volume(20), milli, 0.001)]
    for a, b, c in zip(plain, moved, small, strict=True):
        view = small_plan(a, 3, val=0).views[1].camera
        p = a.line_integrals(view)
        c2w = np.array(view.c2w)
        c2w[:3, :3], c2w[:3, 3] = turn @ c2w[:3, :3], matrix[:3, :3] @ c2w[:3, 3] + matrix[:3, 3]
        other = type(view)(view.width, view.height, view.fl_x, view.fl_y, view.cx, view.cy, c2w)
        np.testing.assert_allclose(b.line_integrals(other), 2.0 * p, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(b.bounds.mean(axis=0), matrix[:3, :3] @ a.bounds.mean(axis=0) + matrix[:3, 3])
        c2w = np.array(view.c2w)
        c2w[:3, 3] *= 1000.0
        far = type(view)(view.width, view.height, view.fl_x, view.fl_y, view.cx, view.cy, c2w)
        np.testing.assert_allclose(c.line_integrals(far), p, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(SumSource([a, a]).line_integrals(view), 2.0 * p, rtol=1e-6)
        np.testing.assert_allclose(c.truth().affine, a.truth().affine, atol=1e-6)


def test_white_is_the_largest_but_for_metal():
    p = np.linspace(0.0, 2.0, 5000)
    assert whitest(2.0, p) == 2.0 and whitest(0.0, np.zeros(9)) > 0
    metal = np.concatenate([p, np.full(20, 30.0)])
    assert whitest(30.0, metal) == pytest.approx(3.0, rel=0.02)


def test_splits_of_a_turntable():
    rig = with_meters(PRESETS["chest"], 1.0)
    views = turntable(rig, np.zeros(3))
    assert [view.split for view in views].count("train") == 72 and len(views) == 80
    angles = np.degrees([np.arctan2(view.camera.position[0], -view.camera.position[1]) % (2 * np.pi) for view in views])
    np.testing.assert_allclose(angles[:72], 5.0 * np.arange(72), atol=1e-9)
    away = np.abs(angles[72:, None] - angles[None, :72]).min(axis=1)
    np.testing.assert_allclose(away, 2.5)
    few = turntable(rig, np.zeros(3), train=10, val=0)
    trained = [index for index, view in enumerate(few) if view.split == "train"]
    assert len(trained) == 10 and len(few) == 72 and {view.split for view in few} == {"train", "test"}
    assert set(np.diff([*trained, 72])) == {7, 8}
    assert [view.name for view in few if view.split == "train"] == [f"train/{i:04d}.png" for i in range(10)]
    for wrong in ({"count": 0}, {"val": 73}, {"train": 73}):
        with pytest.raises(NerfError):
            turntable(rig, np.zeros(3), **wrong)


def test_noise_is_that_of_photons(phantom):
    seed = fresh_seed()
    p = np.full((300, 300), 1.5)
    noise = Noise(2e3, 6.0, seed)
    found = noise.applied(p, 0, 3.0)
    counts = 2e3 * np.exp(-1.5)
    expected = np.sqrt(counts + 36.0) / counts  # of a logarithm, to first order
    assert found.mean() == pytest.approx(1.5 + expected**2 / 2, abs=5 * expected / 300)
    assert found.std() == pytest.approx(expected, rel=0.03)
    np.testing.assert_array_equal(found, noise.applied(p, 0, 3.0))
    assert (found != noise.applied(p, 1, 3.0)).mean() > 0.9
    # R2-Gaussian's: the same photons for p / 3, times 3.
    normal = Noise(2e3, 6.0, seed, normalised=True).applied(p, 0, 3.0)
    counts = 2e3 * np.exp(-0.5)
    assert normal.std() == pytest.approx(3.0 * np.sqrt(counts + 36.0) / counts, rel=0.03)
    assert np.isfinite(Noise(1.0, 50.0).applied(np.full((20, 20), 30.0), 0, 1.0)).all()
    assert Noise.parse("none") is None and Noise.parse("r2-gaussian", 3) == Noise(1e4, 10.0, 3, True)
    assert Noise.parse("poisson:1e5,5") == Noise(1e5, 5.0) == Noise.from_dict(Noise(1e5, 5.0).to_dict())
    for text in ("poisson", "poisson:x", "poisson:0", "gauss:3", "poisson:1e4,"):
        with pytest.raises(NerfError):
            Noise.parse(text)


def test_only_what_is_trained_on_is_noisy(phantom, tmp_path):
    plan = small_plan(PhantomSource(phantom, 16), noise=Noise(500.0, 2.0, 7))
    make_radiographs(plan, tmp_path / "set")
    data = load_dataset(tmp_path / "set")
    assert data.xray.noise == {"kind": "poisson", "photons": 500.0, "readout": 2.0, "seed": 7}
    for view in data.splits["train"].views:
        origins, directions = view.camera.rays()
        error = view.line_integral - phantom.line_integrals(1000.0 * origins, directions)
        assert error.std() > 0.02
    view = data.splits["val"].views[0]
    origins, directions = view.camera.rays()
    true = phantom.line_integrals(1000.0 * origins, directions)
    np.testing.assert_allclose(view.line_integral, true, rtol=1e-5, atol=1e-6)
    exact = exr.read_depth(tmp_path / "set" / "clean" / "train" / "0003.exr")
    np.testing.assert_array_equal(exact, plan.source.line_integrals(plan.views[3].camera))


def test_a_scaling_a_view_leaves_pictures_alone(phantom, tmp_path):
    make_radiographs(small_plan(PhantomSource(phantom, 16), scaling="per_view"), tmp_path / "set")
    data = load_dataset(tmp_path / "set")
    assert data.xray.scaling == "per_view" and not (tmp_path / "set" / "line_integral").exists()
    for view in data.splits["train"].views:
        grey = view.rgba[..., 0]
        assert grey.min() == 0 and grey.max() == 255
        np.testing.assert_allclose(view.line_integral, grey / 255.0 * data.xray.window[1], rtol=1e-5)


def test_stopped_ones_are_gone_on_with(phantom, tmp_path):
    plan = small_plan(PhantomSource(phantom, 16), noise=Noise(500.0))
    make_radiographs(plan, tmp_path / "whole")
    stops = iter([False] * 7 + [True] * 9)
    with pytest.raises(Cancelled):
        make_radiographs(plan, tmp_path / "set", should_stop=lambda: next(stops))
    before = files_of(tmp_path / "set")
    assert 1 < len(before) < 8 and not (tmp_path / "set" / "transforms.json").exists()
    told = []
    job = make_radiographs(plan, tmp_path / "set", on_progress=lambda *at: told.append(at))
    assert 0 < job.resumed < 8 and told[0] == (job.resumed + 1, 8) and told[-1] == (8, 8)
    after = files_of(tmp_path / "set")
    assert all(after[path] == data for path, data in before.items())
    for path, data in files_of(tmp_path / "whole").items():
        same = tmp_path / "set" / path.relative_to(tmp_path / "whole")
        if path.suffix == ".exr":  # its header may tell the time
            np.testing.assert_array_equal(exr.read_depth(path), exr.read_depth(same))
        else:
            assert same.read_bytes() == data
    assert make_radiographs(plan, tmp_path / "set").resumed == 8
    assert files_of(tmp_path / "set") == after
    with pytest.raises(NerfError, match="made otherwise"):
        make_radiographs(small_plan(PhantomSource(phantom, 16)), tmp_path / "set")
    assert files_of(tmp_path / "set") == after


def test_a_folder_that_holds_something_else_is_left_alone(phantom, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(NerfError, match="holds something else"):
        RadiographJob(small_plan(PhantomSource(phantom)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
    job = RadiographJob(small_plan(PhantomSource(phantom)), tmp_path / "new" / "set")
    for _ in range(3):
        job.step()
    (tmp_path / "new" / "set" / "mine.txt").write_text("stays")
    job.discard()
    assert [path.name for path in (tmp_path / "new" / "set").rglob("*")] == ["mine.txt"]


def test_a_ct_is_resampled_projected_and_kept(phantom, tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", phantom.volume((30, 34, 28)))
    source = open_radiograph_source(tmp_path / "ct.nii.gz", 16)
    make_radiographs(small_plan(source, 3), tmp_path / "set")
    data = load_dataset(tmp_path / "set")
    truth = read_ct(tmp_path / "set" / "volume.nii.gz")
    assert truth.shape == (16, 16, 16)
    scale = np.diag([0.001, 0.001, 0.001, 1.0])
    for view in data.splits["train"].views:
        again = project_camera(truth.mu() * 100.0, scale @ truth.affine, view.camera)
        np.testing.assert_allclose(view.line_integral, again, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(truth.bounds / 1000.0, data.bounds, atol=1e-6)


@pytest.fixture
def nerf(capsys):
    """The command, in this process; what it printed."""

    def run(*arguments, code=0):
        assert main([str(argument) for argument in arguments]) == code
        return capsys.readouterr()

    return run


def test_a_trained_field_gives_new_radiographs(nerf, tmp_path):
    """As its line integrals are, from its own rig by default; and from the cameras of a file."""
    asked = ("--views", 12, "--val", 2, "--pixels", 20)
    nerf("drr", "phantom:ellipsoids:1", "--out", tmp_path / "set", *asked)
    small = ("--setting=resolution=24", "--setting=init=none", "--steps", 20, "--device", "cpu")
    nerf("train", tmp_path / "set", "--run", tmp_path / "run", "--method", "xray", *small)
    done = nerf(
        "drr", tmp_path / "run", "--out", tmp_path / "new", "--views", 5, "--val", 0, "--pixels", 24, 16, "--json"
    )
    assert json.loads(done.out.splitlines()[-1])["views"] == 5
    data, known = load_dataset(tmp_path / "new"), load_dataset(tmp_path / "set")
    assert data.xray.source_axis == pytest.approx(known.xray.source_axis) and data.xray.volume is None
    method = load_run(tmp_path / "run", "cpu").method
    for view in data.splits["train"].views:
        assert (view.camera.width, view.camera.height) == (24, 16)
        rays = (part.reshape(-1, 3).astype(np.float32) for part in view.camera.rays())
        np.testing.assert_allclose(view.line_integral.ravel(), method.line_integrals(*rays), rtol=1e-4, atol=1e-5)
    # By cameras of a file: those of the first set.
    nerf("drr", tmp_path / "run", "--out", tmp_path / "again", "--cameras", tmp_path / "set" / "transforms_val.json")
    again = load_dataset(tmp_path / "again").splits["train"].views
    for view, other in zip(again, known.splits["val"].views, strict=True):
        np.testing.assert_allclose(view.camera.c2w, other.camera.c2w, atol=1e-9)
        assert view.line_integral.max() > 0
    for wrong in (
        ("phantom:knee:1", "--cameras", tmp_path / "set" / "transforms.json"),
        (tmp_path / "run", "--grid", 16),
    ):
        assert "--" in nerf("drr", *wrong, "--out", tmp_path / "x", code=2).err


def test_what_is_doubtful_stands_in_a_line_of_its_own(nerf, tmp_path):
    """Voxels that hold no number, and a source that stands in the subject."""
    values = np.linspace(-1000, 1000, 8**3).reshape(8, 8, 8).astype(np.float32)
    values[1, 2, 3] = np.nan
    write_nifti(tmp_path / "ct.nii", Volume(values, np.diag([10.0, 10.0, 10.0, 1.0])))
    asked = ("--views", 2, "--val", 0, "--pixels", 8)
    lines = nerf("drr", tmp_path / "ct.nii", "--out", tmp_path / "out", *asked).out.splitlines()
    assert lines[0] == "ct.nii: 1 voxels hold no number and count as air." and "inside" not in " ".join(lines)
    lines = nerf("drr", tmp_path / "ct.nii", "--out", tmp_path / "in", *asked, "--source-axis", 20).out.splitlines()
    assert any("source stands inside the subject's box in 2 of the 2 views" in line for line in lines)


def test_one_of_several_series_is_chosen(nerf, tmp_path):
    write_series(tmp_path / "ct", (7, 5, 6), placed("axial"), uid="1.2.3.4")
    write_series(tmp_path / "ct" / "more", (5, 7, 6), placed("axial", (1.0, 1.0, 1.0)), uid="1.2.3.5")
    asked = ("drr", tmp_path / "ct", "--out", tmp_path / "set", "--views", 2, "--pixels", 8)
    assert "--series" in nerf(*asked, code=2).err and not (tmp_path / "set").exists()
    nerf(*asked, "--series", "3.5")
    assert read_ct(tmp_path / "set" / "volume.nii.gz").shape == (5, 7, 6)


def test_one_slice_is_a_volume_too(nerf, tmp_path):
    values = np.linspace(-1000, 1000, 64).reshape(8, 8, 1)
    write_nifti(tmp_path / "ct.nii", Volume(values, np.diag([10.0, 10.0, 10.0, 1.0])))
    nerf("drr", tmp_path / "ct.nii", "--out", tmp_path / "set", "--views", 6, "--val", 1, "--pixels", 25)
    small = ("--setting=init=none", "--steps", 2, "--device", "cpu")
    nerf("train", tmp_path / "set", "--run", tmp_path / "run", "--method", "xray", *small)
    nerf("volume", tmp_path / "run", "--out", tmp_path / "found.nii")
    assert read_ct(tmp_path / "found.nii").shape == (8, 8, 1)


def test_line_integrals_that_no_data_set_can_hold_are_told(nerf, tmp_path):
    values = np.full((8, 8, 8), 1e30, np.float32)
    values[0] = -1000.0
    write_nifti(tmp_path / "ct.nii", Volume(values, np.diag([10.0, 10.0, 10.0, 1.0])))
    told = nerf("drr", tmp_path / "ct.nii", "--out", tmp_path / "set", "--views", 2, "--pixels", 8, code=2)
    assert "check its values" in told.err and not (tmp_path / "set" / "transforms.json").exists()


def test_the_command_makes_one_set_or_many(nerf, tmp_path):
    asked = ("--views", 4, "--val", 1, "--pixels", 16, 12, "--grid", 16, "--json")
    done = nerf("drr", "phantom:knee:3", "--out", tmp_path / "one", *asked)
    told = json.loads(done.out.splitlines()[-1])
    assert told["views"] == 5 and told["splits"] == {"train": 4, "val": 1, "test": 0} and told["resumed"] == 0
    assert "ot for diagnosis" in done.err
    view = load_dataset(tmp_path / "one").splits["train"].views[0]
    assert (view.camera.width, view.camera.height) == (16, 12)
    assert np.linalg.norm(view.camera.position) == pytest.approx(0.541)  # the knee's rig, without being told
    done = nerf("drr", "phantom:ellipsoids:1-2", "--out", tmp_path / "many", "--train-views", 2, *asked)
    assert len(json.loads(done.out.splitlines()[-1])["sets"]) == 2
    for seed in (1, 2):
        data = load_dataset(tmp_path / "many" / f"phantom-ellipsoids-{seed}")
        assert {split: len(views) for split, views in data.splits.items()} == {"train": 2, "val": 1, "test": 2}
    assert preset("volume", 200.0).source_axis / 1000 == pytest.approx(data.xray.source_axis)
    picture = Image.open(tmp_path / "one" / "train" / "0000.png")
    assert picture.mode == "RGB" and picture.size == (16, 12)
    for wrong in (("--arc", 0), ("--arc", 720), ("--start", "nan"), ("--arc", "nan")):
        assert "degrees" in nerf("drr", "phantom:knee:3", "--out", tmp_path / "x", *wrong, code=2).err
    few = ("--views", 1, "--val", 4)
    assert "--train-views" in nerf("drr", "phantom:knee:3", "--out", tmp_path / "x", *few, code=2).err
    told = nerf("drr", tmp_path / "none.nii", "--out", tmp_path / "x", code=2).err
    assert "none.nii" in told and not (tmp_path / "x").exists()
    assert "made otherwise" in nerf("drr", "phantom:knee:3", "--out", tmp_path / "one", "--pixels", 8, code=2).err
