"""The attenuation field as a method: trained on a phantom's radiographs, looked at, kept, continued, written."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.contract.errors import CheckpointError, DataError, NerfError
from nerf_core.contract.samplers import SamplerChoice
from nerf_core.contract.xray import NOT_FOR_DIAGNOSIS, hu_to_mu
from nerf_core.data.dataset import load_dataset
from nerf_core.data.views import Views
from nerf_core.evaluation.metrics import psnr
from nerf_core.methods.base import MethodState, Normalisation
from nerf_core.methods.registry import create
from nerf_core.methods.xray import XrayMethod
from nerf_core.training.load import load_run
from nerf_core.training.snapshots import list_snapshots
from nerf_core.xray.grid import Grid
from nerf_core.xray.truth import truth_grid as grid_of_truth

from . import tiny_scene
from .radiograph_scene import write_radiographs
from .small_training import Recorder, train

STEPS = 300
SETTINGS = {"init": "none", "rays_per_step": 4096}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs")
    return folder, write_radiographs(folder)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A run through the command line, with a held-out split."""
    run = tmp_path_factory.mktemp("runs") / "phantom"
    train_field(data[0], run, SETTINGS, STEPS)
    return run


def train_field(data, run, settings, steps):
    """As a person trains one, through the command line."""
    told = [f"--setting={name}={value}" for name, value in settings.items()]
    asked = ["train", str(data), "--run", str(run), "--method", "xray", "--device", "cpu"]
    assert main([*asked, "--steps", str(steps), *told]) == 0


def volume_psnr(found: np.ndarray, truth: np.ndarray) -> float:
    """With the truth's largest attenuation as the range."""
    return -10.0 * np.log10(np.mean((found - truth) ** 2) / truth.max() ** 2)


def truth_grid() -> Grid:
    """The phantom's voxels in metres."""
    return Grid.of_bounds(np.array([[-0.1] * 3, [0.1] * 3]), 32)


def test_a_phantom_is_found_from_its_radiographs(data, trained):
    folder, truth = data
    run = load_run(trained, "cpu")
    assert run.method.grid.shape == (32, 32, 32), "the truth's voxels"
    found = run.method.volume_on(truth_grid())
    assert volume_psnr(found, truth) > 22.0
    held_out = load_dataset(folder, splits=("val",)).splits["val"]
    for view in held_out.views:
        frame = run.render(view.camera)
        assert psnr(frame.rgba[..., :3], view.rgba[..., :3] / 255.0) > 30.0


def test_pictures_are_line_integrals_through_the_window(data, trained):
    folder, _ = data
    dataset = load_dataset(folder, splits=("val",))
    run = load_run(trained, "cpu")
    view = dataset.splits["val"].views[1]
    y, x = np.divmod(np.arange(48 * 48), 48)
    origins, directions = view.camera.rays(np.stack([x, y], axis=-1) + 0.5)
    p = run.method.line_integrals(np.broadcast_to(origins, directions.shape), directions).reshape(48, 48)
    low, high = dataset.xray.window
    rgba = run.render(view.camera).rgba
    np.testing.assert_allclose(rgba, np.repeat(np.clip((p - low) / (high - low), 0, 1)[..., None], 4, -1), atol=1e-5)
    assert np.sqrt(np.mean((p - view.line_integral) ** 2)) < 0.04 * high
    assert rgba[0, 0].max() == 0.0, "black where nothing is"


def test_a_trace_adds_up_to_the_picture(data, trained):
    run = load_run(trained, "cpu")
    camera = run.cameras[0]
    pixels = np.array([[24.5, 24.5], [20.5, 28.5], [0.5, 0.5]])
    origins, directions = camera.rays(pixels)
    origins = np.broadcast_to(origins, directions.shape)
    trace = run.method.trace_rays(origins, directions)
    colors = run.method.render_rays(origins, directions)
    p = run.method.line_integrals(origins, directions)
    np.testing.assert_allclose(trace.rgba, colors.rgba, atol=0.02)
    np.testing.assert_allclose(trace.expected_depth, colors.depth, rtol=0.02)
    for ray in range(2):
        mine = trace.ray == ray
        np.testing.assert_allclose(trace.optical_depth[mine].sum(), p[ray], atol=0.05)
        behind = trace.transmittance[mine][-1] * np.exp(-trace.optical_depth[mine][-1])
        np.testing.assert_allclose(behind, np.exp(-p[ray]), rtol=0.05)
    mine = trace.ray == 0
    np.testing.assert_allclose(
        trace.density[mine], run.method.query_density(trace.position[mine]), rtol=1e-4, atol=1e-3
    )
    with pytest.raises(NerfError, match="'uniform'"):
        run.method.render_rays(origins, directions, sampler=SamplerChoice("surface"))
    few = run.method.render_rays(origins, directions, sampler=SamplerChoice("uniform", 200))
    np.testing.assert_allclose(few.rgba, colors.rgba, atol=0.02)
    assert few.evaluations.tolist() == [200, 200, 0]


def test_density_is_per_world_unit_and_nothing_outside(trained):
    run = load_run(trained, "cpu")
    grid = run.method.grid
    nodes = np.array([[16, 16, 16], [3, 4, 5], [20, 11, 9]])
    points = grid.bounds[0] + (nodes + 0.5) * grid.spacing
    at_nodes = run.method.field.values[tuple(nodes.T)] / grid.cell
    np.testing.assert_allclose(run.method.query_density(points), at_nodes, rtol=1e-4, atol=1e-4)
    assert run.method.query_density(np.array([[0.0, 0.0, 0.1001], [5.0, 0.0, 0.0]])).tolist() == [0.0, 0.0]
    grey = run.method.query_color(points, np.tile([0.0, 0.0, 1.0], (3, 1)))
    assert grey.shape == (3, 3) and (np.ptp(grey, axis=1) == 0).all() and grey.max() <= 1.0


def test_a_coarser_grid_is_given_means(trained):
    method = load_run(trained, "cpu").method
    fine = method.volume_on(truth_grid())
    coarse = method.volume_on(Grid.of_bounds(truth_grid().bounds, 16))
    means = fine.reshape(16, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarse, means, atol=1e-3 * fine.max())


def test_nifti_lies_where_the_truth_lies(data, trained, tmp_path, capsys):
    folder, truth = data
    out = tmp_path / "found.nii.gz"
    assert main(["volume", str(trained), "--out", str(out), "--device", "cpu"]) == 0
    assert NOT_FOR_DIAGNOSIS in capsys.readouterr().out
    image, known = nibabel.load(out), nibabel.load(folder / "volume.nii.gz")
    np.testing.assert_allclose(image.affine, known.affine, atol=1e-4)
    assert image.shape == known.shape and image.header.get_xyzt_units()[0] == "mm"
    hu = np.asarray(image.dataobj, np.float32)
    np.testing.assert_allclose(100.0 * hu_to_mu(hu), load_run(trained, "cpu").method.volume_on(truth_grid()), atol=1e-2)
    # Every voxel where it belongs: a turned or mirrored volume would be far off.
    assert volume_psnr(100.0 * hu_to_mu(hu), truth) > 22.0
    assert (
        main(["volume", str(trained), "--out", str(tmp_path / "a.nii"), "--resolution", "16", "--device", "cpu"]) == 0
    )
    coarse = nibabel.load(tmp_path / "a.nii")
    assert coarse.shape == (16, 16, 16)
    np.testing.assert_allclose(np.diag(coarse.affine)[:3], 12.5)


def test_a_truth_with_sheared_axes_is_no_grid_for_a_field(data, tmp_path):
    """As a NIfTI may have it: the field then takes nodes of its own."""
    folder, _ = data
    facts = load_dataset(folder, splits=("val",)).xray
    image = nibabel.load(folder / "volume.nii.gz")
    for name, shear in (("straight", 0.0), ("sheared", 0.3)):
        affine = image.affine.copy()
        affine[0, 1] = shear * affine[1, 1]
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), affine), tmp_path / name / "volume.nii.gz")
    bounds = truth_grid().bounds
    assert grid_of_truth(tmp_path / "straight", facts, bounds).shape == (32, 32, 32)
    assert grid_of_truth(tmp_path / "sheared", facts, bounds) is None


def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, tmp_path):
    folder, _ = data
    asked = {"method": "xray", "settings": SETTINGS, "steps": 12}
    whole = train(tmp_path / "whole", folder, **asked)
    train(tmp_path / "halves", folder, Recorder(stop_at=5), **asked)
    again = train(tmp_path / "halves", folder, **{**asked, "settings": {}, "method": None})
    assert (whole.step, again.step) == (12, 12)
    values = [load_run(tmp_path / name, "cpu").method.field.values for name in ("whole", "halves")]
    np.testing.assert_allclose(*values, atol=1e-5 * values[0].max())
    snapshots = list_snapshots(tmp_path / "whole")
    assert len(snapshots) > 2
    early = load_run(tmp_path / "whole", "cpu", snapshots[0].steps).method.field.values
    assert np.abs(early - values[0]).max() > 0.01 * values[0].max()


def test_seeds_decide_alone(data, tmp_path):
    folder, _ = data
    made = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tmp_path / name, folder, method="xray", settings=SETTINGS, steps=4, seed=seed)
        made.append(load_run(tmp_path / name, "cpu").method.field.values)
    np.testing.assert_array_equal(made[0], made[1])
    assert np.abs(made[0] - made[2]).max() > 0


def test_torch_reads_what_the_kernels_trained(data, trained):
    run = load_run(trained, "cpu")
    method = create("xray", run.method.normalisation, "cpu", 0, {"backend": "reference"})
    method.load_state(run.method.state())
    assert method.backend == "reference" and run.method.backend == "cpu"
    origins, directions = run.cameras[2].rays(np.array([[24.5, 20.5], [17.5, 30.5]]))
    rays = np.broadcast_to(origins, directions.shape), directions
    np.testing.assert_allclose(method.line_integrals(*rays), run.method.line_integrals(*rays), rtol=1e-4)


@pytest.mark.parametrize("views", [1, 2])
def test_one_and_two_views_train(data, views, tmp_path):
    """Each ray ends up with what it should find; what lies along it stays unknown."""
    folder, _ = data
    dataset = load_dataset(folder, splits=("train",))
    few = Views(dataset.splits["train"].views[:views], dataset.color_space, dataset.has_alpha)
    method = create("xray", Normalisation(dataset.bounds), "cpu", 0, SETTINGS)
    method.load_facts(replace(dataset, splits={"train": few}))
    method.load_views(few)
    errors = [method.train_step(step / 200).mse for step in range(200)]
    assert errors[-1] < 0.01 * errors[0]


def test_views_that_were_scaled_one_by_one(tmp_path, capsys):
    """Their factors are learnt: the radiographs are explained far better than one scale for all explains them."""
    folder = tmp_path / "data"
    write_radiographs(folder, per_view=True)
    events = Recorder()
    train(tmp_path / "run", folder, events, method="xray", settings=SETTINGS, steps=STEPS)
    assert any("gain and offset" in text for text in events.logs)
    assert any(NOT_FOR_DIAGNOSIS in text for text in events.logs)
    method = load_run(tmp_path / "run", "cpu").method
    wanted = 0.7 + 0.6 * np.arange(12) / 11
    wanted /= np.exp(np.log(wanted).mean())
    np.testing.assert_allclose(method.field.affine[:, 0], wanted, rtol=0.05)
    assert main(["volume", str(tmp_path / "run"), "--out", str(tmp_path / "found.nii"), "--device", "cpu"]) == 0
    assert "up to a factor" in capsys.readouterr().out


def test_rays_that_few_photons_came_through_weigh_little(data):
    """The noise that a data set tells of, by the names that `nerf drr` writes, weighs its rays."""
    folder, _ = data
    told = {"kind": "poisson", "photons": 1e4, "readout": 10.0, "seed": 0}
    dataset = load_dataset(folder, splits=("train",))
    slopes = {}
    for name, noise in (("clean", None), ("noisy", told), ("shares", {**told, "kind": "r2-gaussian"})):
        method = create("xray", Normalisation(dataset.bounds), "cpu", 0, {**SETTINGS, "tv": 0.0})
        method.load_facts(replace(dataset, xray=replace(dataset.xray, noise=noise)))
        method.load_views(dataset.splits["train"])
        assert method.field.radiographs is not None
        kept = method.field.radiographs.noise
        assert (kept.photons > 0) == (noise is not None)
        method.field.set_values(np.zeros((32, 32, 32), np.float32))
        slopes[name] = np.abs(method.field.gradients(method.field.radiographs.chosen)[0])
    seen = slopes["clean"] > 0
    noisy, shares = (slopes[name][seen] / slopes["clean"][seen] for name in ("noisy", "shares"))
    # What is behind several mean free paths everywhere counts less than what some rays reach easily; in shares of the
    # largest line integral, all of it is behind one at most.
    assert noisy.min() < 0.3 * np.quantile(noisy, 0.99)
    assert noisy.min() / np.quantile(noisy, 0.99) < shares.min() / np.quantile(shares, 0.99)


def test_other_data_sets_and_methods(data, tmp_path):
    pictures = tmp_path / "pictures"
    tiny_scene.write_dataset(pictures)
    with pytest.raises(DataError, match="nerf drr"):
        train(tmp_path / "run", pictures, method="xray", settings={}, steps=1)
    # Radiographs are pictures to the other methods.
    train(tmp_path / "classic", data[0], steps=2)
    with pytest.raises(NerfError, match="knows no attenuation"):
        from nerf_core.export.attenuation_volume import export_grid

        export_grid(load_run(tmp_path / "classic", "cpu"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"resolution": 4}, "'resolution'"),
        ({"tv": -1}, "'tv'"),
        ({"init": "magic"}, "'init'"),
        ({"rays_per_step": 2.5}, "'rays_per_step'"),
        ({"layers": 3}, "no setting 'layers'"),
        ({"grid": "sparse"}, "'grid'"),
        ({"levels": 0}, "'levels'"),
        ({"log2_table_size": 40}, "'log2_table_size'"),
        ({"shape": [4, 4]}, "'shape'"),
        ({"shape": [1000, 1000, 1000], "grid": "dense"}, "memory"),
        ({"tv": True}, "'tv'"),
    ],
)
def test_settings_are_checked(settings, words):
    with pytest.raises(NerfError, match=words):
        create("xray", Normalisation(np.array([[0.0] * 3, [1.0] * 3])), "cpu", 0, settings)


def test_broken_checkpoints_are_refused(trained):
    run = load_run(trained, "cpu")
    state = run.method.state()

    def load(arrays=None, **settings):
        method = create("xray", run.method.normalisation, "cpu", 0, state.settings["settings"])
        made = MethodState({**state.arrays, **(arrays or {})}, {**state.settings, **settings})
        XrayMethod.check_state(made.settings["settings"], "cpu", made)
        method.load_state(made)

    load()
    wrong = np.zeros((2, 2, 2), np.float32)
    for arrays, words in (
        ({"params/attenuation": wrong}, "shape"),
        ({"adam/first": wrong}, "shape"),
        ({"params/attenuation": -np.ones((32, 32, 32), np.float32)}, "below zero"),
        ({"params/other": wrong}, "does not know"),
        ({"adam/first": np.full((32, 32, 32), np.nan, np.float32)}, "NaN"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load(arrays)
    with pytest.raises(CheckpointError, match="radiographs were made"):
        load(xray={"window": [2.0, 1.0]})
    with pytest.raises(CheckpointError, match="steps"):
        load(step=-1)
    with pytest.raises(CheckpointError, match="how many nodes"):
        load({"params/attenuation": np.zeros((), np.float32)}, settings={**state.settings["settings"], "shape": []})


def test_the_lung_is_dark_in_the_middle(tmp_path: Path):
    """A chest: trained field and truth agree where the lungs, the spine and the air beside the body are."""
    folder = tmp_path / "chest"
    truth = write_radiographs(folder, "chest", seed=3, views=16, held_out=1)
    train(tmp_path / "run", folder, method="xray", settings=SETTINGS, steps=STEPS)
    method = load_run(tmp_path / "run", "cpu").method
    found = method.field.values / method.grid.cell
    assert np.corrcoef(found.ravel(), truth.ravel())[0, 1] > 0.9
    for axis in range(3):
        assert np.corrcoef(np.flip(found, axis).ravel(), truth.ravel())[0, 1] < 0.95
