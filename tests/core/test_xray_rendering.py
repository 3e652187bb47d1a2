"""Attenuation fields in pictures: other windows of the same line integrals, and the integrals themselves; as NIfTI."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.contract.camera import look_at
from nerf_core.contract.errors import NerfError
from nerf_core.contract.xray import mu_to_hu
from nerf_core.data.color import srgb_decode
from nerf_core.data.dataset import load_dataset
from nerf_core.methods.base import Normalisation
from nerf_core.methods.registry import create
from nerf_core.rendering.layers import Layer
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.radiographs import line_integral_picture, windowed
from nerf_core.rendering.view import View
from nerf_core.training.load import load_run
from nerf_core.worker import geometry
from nerf_core.worker.params import ParamError, Params
from nerf_core.worker.render_params import wanted_picture

from .radiograph_scene import write_radiographs

SIDE = 24


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A field of few steps; how good it is does not matter here."""
    folder = tmp_path_factory.mktemp("radiographs")
    write_radiographs(folder / "data", views=6, held_out=1, pixels=SIDE, voxels=16)
    asked = ["train", str(folder / "data"), "--run", str(folder / "run"), "--method", "xray", "--device", "cpu"]
    assert main([*asked, "--steps", "40", "--setting=init=none", "--setting=rays_per_step=2048"]) == 0
    return load_run(folder / "run", "cpu"), load_dataset(folder / "data", splits=("val",)).splits["val"].views[0].camera


def truth_of(run, camera) -> np.ndarray:
    origins, directions = camera.rays()
    return run.method.line_integrals(origins.reshape(-1, 3), directions.reshape(-1, 3)).reshape(SIDE, SIDE)


def test_another_window_shows_the_same_line_integrals(run):
    run, camera = run
    p = truth_of(run, camera)
    assert p.max() > 0.5
    for window in ((0.0, 0.5 * p.max()), (0.2 * p.max(), 0.6 * p.max())):
        shown = render_picture([Layer(windowed(run.method, window))], View(camera)).rgba[..., 0]
        np.testing.assert_allclose(shown, np.clip((p - window[0]) / (window[1] - window[0]), 0, 1), atol=1e-5)
    own = render_picture([Layer(windowed(run.method, None))], View(camera)).rgba[..., 0]
    low, high = run.method.facts.window
    np.testing.assert_allclose(own, np.clip((p - low) / (high - low), 0, 1), atol=1e-5)


@pytest.mark.parametrize("clip", [False, True])
def test_scene_linear_pictures_look_over_black_as_the_radiographs_do(run, clip):
    run, camera = run
    shown = render_picture([Layer(run.method)], View(camera)).rgba
    linear = render_picture([Layer(run.method)], View(camera, color="linear", clip=clip)).rgba
    np.testing.assert_allclose(linear[..., :3], srgb_decode(shown[..., :3]), atol=2e-5)
    np.testing.assert_allclose(linear[..., 3], shown[..., 3], atol=2e-5)
    assert 0.2 < shown[..., 0].max() <= 1.0


def test_line_integrals_come_whole_and_add_up_over_layers(run):
    run, camera = run
    p = truth_of(run, camera)
    view = View(camera, color="linear", depth="z", normals=True)
    np.testing.assert_allclose(line_integral_picture([Layer(run.method)], view), p, rtol=1e-6, atol=1e-7)
    twice = line_integral_picture([Layer(run.method), Layer(run.method)], view)
    np.testing.assert_allclose(twice, 2 * p, rtol=1e-6, atol=1e-7)
    # Moved, turned and scaled as one with the camera: nothing changes, as with any NeRF.
    matrix = np.eye(4)
    matrix[:3, :3] = 2.0 * np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])
    matrix[:3, 3] = (1.0, -2.0, 0.5)
    c2w = np.eye(4)
    c2w[:3, :3] = matrix[:3, :3] / 2.0 @ camera.c2w[:3, :3]
    c2w[:3, 3] = matrix[:3, :3] @ camera.position + matrix[:3, 3]
    moved = replace(view, camera=replace(camera, c2w=c2w))
    np.testing.assert_allclose(
        line_integral_picture([Layer(run.method, matrix=matrix)], moved), p, rtol=1e-3, atol=1e-4
    )
    half = np.eye(4)
    half[:3, :3] *= 10.0
    half[2, 3] = run.bounds.mean(axis=0)[2] + 10.0  # the upper half alone
    cropped = line_integral_picture([Layer(run.method, crops=(half,))], view)
    assert cropped[: SIDE // 3].sum() > 0.9 * p[: SIDE // 3].sum() and cropped[-SIDE // 3 :].max() < 0.02 * p.max()


def test_a_nerf_of_light_has_no_line_integrals(run):
    _, camera = run
    light = create("fast", Normalisation(np.array([[-1.0] * 3, [1.0] * 3])), "cpu", 0, {})
    camera = replace(camera, c2w=look_at((3.0, 0.0, 0.0), (0.0, 0.0, 0.0)))
    with pytest.raises(NerfError, match="None of these NeRFs was trained on radiographs"):
        line_integral_picture([Layer(light)], View(camera))
    assert windowed(light, (0.0, 1.0)) is light


def test_a_request_names_its_window(run):
    _, camera = run
    asked = {"camera": camera.to_dict(), "passes": ["line_integral"]}
    wanted = wanted_picture(Params("render", {**asked, "layers": [{"run": "a", "window": [0, 2]}, {"run": "b"}]}))
    assert [layer.window for layer in wanted.layers] == [(0.0, 2.0), None] and wanted.line_integral
    assert wanted_picture(Params("render", {**asked, "run": "a", "window": [1, 3]})).layers[0].window == (1.0, 3.0)
    for bad in ([1], [2, 1], "ab", [float("nan"), 1], [0, 1e300], 3, [None, 1]):
        with pytest.raises(ParamError, match="window"):
            wanted_picture(Params("render", {**asked, "layers": [{"run": "a", "window": bad}]}))


def test_the_worker_writes_nifti_and_overwrites_only_when_told(run, tmp_path):
    run, _ = run
    out = tmp_path / "new" / "field.nii.gz"
    watch = (lambda: False, lambda part: None)
    told, arrays = geometry.volume(run, Params("volume", {"run": "a", "out": str(out)}), watch)
    image = nibabel.load(out)
    assert not arrays and told["shape"] == [16, 16, 16] == list(image.shape)
    # A voxel's middle in RAS millimetres is where the field has that attenuation, in metres.
    at = image.affine @ (8, 7, 9, 1)
    density = run.method.query_density(at[None, :3] / 1000.0)[0]
    assert image.get_fdata()[8, 7, 9] == pytest.approx(float(mu_to_hu(density / 100.0)), abs=2.0)
    with pytest.raises(NerfError, match="exists already"):
        geometry.volume(run, Params("volume", {"run": "a", "out": str(out), "resolution": 8}), watch)
    asked = {"run": "a", "out": str(out), "resolution": 8, "overwrite": True}
    assert geometry.volume(run, Params("volume", asked), watch)[0]["shape"] == [8, 8, 8]
