"""`nerf render` with samples, lens, crop, linear colour, depth and normals: real files, real pixels."""

import json

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from nerf_core.data.color import srgb_decode
from nerf_core.export.camera_paths import write_cameras

from . import tiny_scene

SIZE = 32


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    path = tmp_path_factory.mktemp("path") / "cameras.json"
    write_cameras(path, [tiny_scene.camera(1, 7, SIZE)])
    return path


def channels(path) -> dict[str, np.ndarray]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: np.asarray(channel.pixels) for name, channel in file.channels().items()}


def test_passes_and_linear_pictures(nerf, trained_run, cameras, tmp_path):
    plain, linear = tmp_path / "plain", tmp_path / "linear"
    nerf("render", trained_run, "--cameras", cameras, "--out", plain, "--device", "cpu")
    asked = ("--color", "linear", "--depth", "z", "--normals", "--device", "cpu", "--json")
    told = json.loads(nerf("render", trained_run, "--cameras", cameras, "--out", linear, *asked).stdout)
    names = ["0000.exr", "0000_depth.exr", "0000_normal.exr", "0000_normal.png"]
    assert sorted(path.name for path in linear.iterdir()) == names and len(told["files"]) == 4
    rgba = np.stack([channels(linear / "0000.exr")[name] for name in "RGBA"], axis=-1)
    straight = np.asarray(Image.open(plain / "0000.png")) / 255.0
    expected = srgb_decode(straight[..., :3]) * straight[..., 3:]
    assert rgba.dtype == np.float32 and (rgba[..., 3] > 0.9).sum() > 100
    np.testing.assert_allclose(rgba[..., :3], expected, atol=0.012)
    solid = rgba[..., 3] > 0.95
    camera = tiny_scene.camera(1, 7, SIZE)
    origins, directions = camera.rays()
    depth = channels(linear / "0000_depth.exr")["Z"]
    points = origins + directions * (depth / (directions @ camera.forward))[..., None]
    away = np.linalg.norm(points - tiny_scene.CENTER, axis=-1)[solid]
    assert np.median(np.abs(away - tiny_scene.RADIUS)) < 0.15
    normal = np.stack([channels(linear / "0000_normal.exr")[name] for name in "XYZ"], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(normal[solid], axis=-1), 1.0, atol=1e-4)
    assert (normal * directions).sum(axis=-1)[solid].mean() < -0.4  # they face the camera
    shown = np.asarray(Image.open(linear / "0000_normal.png")) / 255.0
    np.testing.assert_allclose(shown, 0.5 + 0.5 * normal, atol=3e-3)
    # Our own files are written over, somebody else's are not.
    nerf("render", trained_run, "--cameras", cameras, "--out", linear, *asked)
    (linear / "0000_depth.exr").write_bytes(b"mine")
    refused = nerf("render", trained_run, "--cameras", cameras, "--out", linear, *asked, code=2)
    assert "0000_depth.exr" in refused.stderr and (linear / "0000_depth.exr").read_bytes() == b"mine"


def test_a_crop_and_a_lens(nerf, trained_run, cameras, tmp_path):
    low, high = tiny_scene.CENTER - 1.0, tiny_scene.CENTER + (1.0, 1.0, 0.0)
    common = ("--cameras", cameras, "--device", "cpu", "--background", "transparent")
    nerf("render", trained_run, *common, "--out", tmp_path / "whole", "--rays", 4)
    nerf("render", trained_run, *common, "--out", tmp_path / "half", "--crop", *low, *high)
    nerf("render", trained_run, *common, "--out", tmp_path / "blurred", "--aperture", 0.4, "--focus", 9)
    whole, half, blurred = (
        np.asarray(Image.open(tmp_path / name / "0000.png"))[..., 3] / 255.0 for name in ("whole", "half", "blurred")
    )
    assert 0.2 * whole.sum() < half.sum() < 0.8 * whole.sum()
    soft = [((alpha > 0.1) & (alpha < 0.9)).sum() for alpha in (whole, blurred)]
    assert soft[1] > 2 * soft[0]


def test_what_does_not_fit_is_told(nerf, trained_run, tmp_path):
    cases = [
        (["--aperture", "0.1"], "--focus"),
        (["--aperture", "-1", "--focus", "2"], "above 0"),
        (["--aperture", "0.1", "--focus", "2", "--rays", "1"], "more --rays"),
        (["--rays", "0"], "--rays must be"),
        (["--crop", "1", "0", "0", "0", "1", "1"], "smallest corner first"),
        (["--color", "linear", "--background", "white"], "leave out --background"),
    ]
    for options, words in cases:
        refused = nerf("render", trained_run, "--orbit", 1, "--out", tmp_path / "o", *options, code=2)
        assert words in refused.stderr, options
    for options in (["--depth"], ["--normals"], ["--color", "linear"]):
        refused = nerf("render", trained_run, "--orbit", 1, "--out", tmp_path / "o.mp4", *options, code=2)
        assert options[0] in refused.stderr and "not a video" in refused.stderr
    assert not (tmp_path / "o").exists() and not (tmp_path / "o.mp4").exists()
