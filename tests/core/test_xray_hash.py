"""The method xray with hashed levels: trained through the command line, continued, written, looked into, refused."""

import nibabel
import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.contract.errors import CheckpointError
from nerf_core.contract.xray import hu_to_mu
from nerf_core.methods.base import MethodState
from nerf_core.methods.registry import create
from nerf_core.methods.xray import XrayMethod
from nerf_core.training.load import load_run

from .radiograph_scene import write_radiographs
from .small_training import Recorder, train
from .test_xray_method import train_field, truth_grid, volume_psnr

SETTINGS = {"init": "none", "rays_per_step": 4096, "grid": "hash", "levels": 1, "log2_table_size": 13}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs")
    return folder, write_radiographs(folder)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "hashed"
    train_field(data[0], run, SETTINGS, 200)
    return run


def test_a_phantom_is_found_and_written(data, trained, tmp_path):
    _, truth = data
    run = load_run(trained, "cpu")
    assert run.method.settings.hashed and run.method.grid.shape == (32, 32, 32)
    # A quarter of the finest level's nodes have a row of their own.
    assert run.method.field.layout.rows == 1 << 13
    found = run.method.volume_on(truth_grid())
    assert found.min() == 0.0 and volume_psnr(found, truth) > 20.0
    out = tmp_path / "found.nii.gz"
    assert main(["volume", str(trained), "--out", str(out), "--device", "cpu"]) == 0
    written = np.asarray(nibabel.load(out).dataobj, np.float32)
    np.testing.assert_allclose(100.0 * hu_to_mu(written), found, atol=1e-2)
    assert main(["evaluate", str(trained), "--solvers", "none", "--device", "cpu"]) == 0


def test_novel_radiographs_are_its_line_integrals(data, trained, tmp_path):
    out = tmp_path / "novel"
    assert main(["drr", str(trained), "--out", str(out), "--views", "2", "--pixels", "16"]) == 0
    from nerf_core.data.dataset import load_dataset

    view = load_dataset(out, splits=("train",)).splits["train"].views[1]
    y, x = np.divmod(np.arange(256), 16)
    origins, directions = view.camera.rays(np.stack([x, y], axis=-1) + 0.5)
    p = load_run(trained, "cpu").method.line_integrals(np.broadcast_to(origins, directions.shape), directions)
    np.testing.assert_allclose(view.line_integral.reshape(-1), p, rtol=1e-3, atol=1e-3)


def test_a_trace_adds_up_to_the_picture(trained):
    run = load_run(trained, "cpu")
    origins, directions = run.cameras[0].rays(np.array([[24.5, 24.5], [20.5, 28.5], [0.5, 0.5]]))
    origins = np.broadcast_to(origins, directions.shape)
    trace, colors = run.method.trace_rays(origins, directions), run.method.render_rays(origins, directions)
    np.testing.assert_allclose(trace.rgba, colors.rgba, atol=0.03)
    mine = trace.ray == 0
    np.testing.assert_allclose(
        trace.density[mine], run.method.query_density(trace.position[mine]), rtol=1e-4, atol=1e-3
    )
    grey = run.method.query_color(trace.position[mine], np.tile([0.0, 0.0, 1.0], (mine.sum(), 1)))
    assert 0.3 < grey.max() <= 1.0


def test_a_stopped_run_goes_on_as_if_it_had_not_been(data, tmp_path):
    folder, _ = data
    asked = {"method": "xray", "settings": SETTINGS, "steps": 8}
    train(tmp_path / "whole", folder, **asked)
    train(tmp_path / "halves", folder, Recorder(stop_at=3), **asked)
    again = train(tmp_path / "halves", folder, **{**asked, "settings": {}, "method": None})
    assert again.step == 8
    numbers = [load_run(tmp_path / name, "cpu").method.field.numbers for name in ("whole", "halves")]
    np.testing.assert_allclose(*numbers, atol=1e-5 * np.abs(numbers[0]).max())


def test_torch_reads_what_the_kernels_trained(trained):
    run = load_run(trained, "cpu")
    method = create("xray", run.method.normalisation, "cpu", 0, {"backend": "reference"})
    method.load_state(run.method.state())
    assert method.backend == "reference" and method.settings.hashed
    origins, directions = run.cameras[2].rays(np.array([[24.5, 20.5], [17.5, 30.5]]))
    rays = np.broadcast_to(origins, directions.shape), directions
    np.testing.assert_allclose(method.line_integrals(*rays), run.method.line_integrals(*rays), rtol=1e-3)


def test_broken_checkpoints_are_refused(trained):
    run = load_run(trained, "cpu")
    state = run.method.state()

    def load(arrays=None, **changes):
        settings = {**state.settings["settings"], **changes}
        made = MethodState({**state.arrays, **(arrays or {})}, {**state.settings, "settings": settings})
        XrayMethod.check_state(settings, "cpu", made)
        create("xray", run.method.normalisation, "cpu", 0, settings).load_state(made)

    load()
    wrong = np.zeros(5, np.float32)
    for arrays in ({"params/tables": wrong}, {"adam/second": wrong}, {"params/attenuation": wrong}):
        with pytest.raises(CheckpointError, match=f"'{next(iter(arrays))}' has shape"):
            load(arrays)
    for changes in ({"log2_table_size": 12}, {"levels": 2}, {"grid": "dense"}):
        with pytest.raises(CheckpointError, match="has shape"):
            load(**changes)


def test_what_auto_chooses():
    """Dense as long as each node's number fits; what was kept before there was a choice is dense."""
    from nerf_core.fields.attenuation import AttenuationSettings
    from nerf_core.kernels.attenuation import check_arrays

    assert not AttenuationSettings().with_shape((320, 128, 128)).hashed
    large = AttenuationSettings().with_shape((512, 512, 512))
    assert large.grid == "hash" and large.layout().size < 1 << 24
    assert not AttenuationSettings(grid="dense").with_shape((400, 128, 128)).hashed
    shape = (330, 2, 2)
    old = {key: value for key, value in AttenuationSettings(shape=shape).to_dict().items() if key != "grid"}
    state = MethodState({"params/attenuation": np.zeros(shape, np.float32)}, {})
    XrayMethod.check_state(old, "cpu", state)
    with pytest.raises(CheckpointError):
        check_arrays(state.arrays, AttenuationSettings.from_dict(old))
