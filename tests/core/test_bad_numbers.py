"""NaN and infinity in what is read: found at loading, and the sentence names the file and the frame."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.camera import Camera
from nerf_core.contract.errors import CheckpointError, DataError
from nerf_core.contract.lens import Distortion
from nerf_core.data.dataset import load_dataset
from nerf_core.fields.hash_grid import FastSettings
from nerf_core.kernels.cpu.backend import CpuBackend

from . import tiny_scene
from .fast_field import NORMALISATION, SMALL

BAD = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)


@pytest.fixture
def folder(tmp_path):
    return tiny_scene.write_dataset(tmp_path / "données 球", train=4, val=1, size=12)


@pytest.fixture
def exr_folder(folder):
    """The same with EXR pictures, which can hold what PNG and JPEG cannot."""
    for path in folder.rglob("*.png"):
        write_exr(path.with_suffix(".exr"), np.asarray(Image.open(path)).astype(np.float32) / 255)
        path.unlink()
    for path in folder.glob("*.json"):
        path.write_text(path.read_text(encoding="utf-8").replace(".png", ".exr"), encoding="utf-8")
    return folder


def write_exr(path, rgba) -> None:
    openexr = pytest.importorskip("OpenEXR")
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"RGBA": rgba}).write(str(path))


def edit(folder, change) -> None:
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document)
        path.write_text(json.dumps(document), encoding="utf-8")


def refused(folder) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@BAD
@pytest.mark.parametrize("half", [False, True], ids=["float", "half"])
@pytest.mark.parametrize("channel", range(4), ids="RGBA")
def test_in_a_channel_of_an_exr(exr_folder, bad, half, channel):
    assert load_dataset(exr_folder).color_space == "linear"
    rgba = np.ones((12, 12, 4), np.float16 if half else np.float32)
    rgba[7, 5, channel] = bad
    write_exr(exr_folder / "train/0002.exr", rgba)
    sentence = refused(exr_folder)
    assert "The frame './train/0002' of" in sentence and "transforms_train.json" in sentence
    assert "0002.exr' holds NaN or infinity in 1 pixels, the first at x 5, y 7" in sentence


@pytest.mark.filterwarnings("error")
def test_what_a_float_holds_is_no_infinity(exr_folder):
    """The largest numbers are clipped like any that are too bright, on the way through a downscale too."""
    rgba = np.full((12, 12, 4), 3e38, np.float32)
    rgba[..., 3] = 1
    write_exr(exr_folder / "train/0002.exr", rgba)
    for downscale in (1, 5):
        view = load_dataset(exr_folder, downscale).splits["train"].views[2]
        assert (view.rgba == 255).all()


@BAD
@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 3), (3, 3)])
def test_in_a_matrix(folder, bad, place):
    def change(document):
        document["frames"][0]["transform_matrix"][place[0]][place[1]] = bad

    edit(folder, change)
    sentence = refused(folder)
    assert "The transform_matrix of frame './train/0000' of" in sentence and "transforms_train.json" in sentence
    assert "holds NaN or infinity" in sentence


@BAD
@pytest.mark.parametrize("key", ["fl_x", "fl_y", "cx", "cy", "k1", "k2", "p1", "p2", "w", "h"])
@pytest.mark.parametrize("of_frame", [False, True], ids=["of the document", "of the frame"])
def test_in_intrinsics(folder, bad, key, of_frame):
    edit(folder, lambda document: (document["frames"][0] if of_frame else document).update({key: bad}))
    sentence = refused(folder)
    assert f"'{key}' of the frame './train/0000' of" in sentence and "transforms_train.json" in sentence


@BAD
def test_in_angles_and_bounds(folder, bad):
    def only_angle(document):
        for key in ("fl_x", "fl_y"):
            document.pop(key, None)
        document["camera_angle_x"] = bad

    edit(folder, lambda document: document["nerf_toolkit"]["bounds"][1].__setitem__(2, bad))
    assert "bounds" in refused(folder) and "transforms_train.json" in refused(folder)
    edit(folder, lambda document: document["nerf_toolkit"].pop("bounds"))
    edit(folder, lambda document: document.update(aabb_scale=bad))
    assert "'aabb_scale'" in refused(folder)
    edit(folder, lambda document: document.pop("aabb_scale"))
    edit(folder, only_angle)
    assert "'camera_angle_x' of the frame './train/0000'" in refused(folder)


@BAD
def test_in_a_camera(bad):
    good = {"width": 8, "height": 8, "fl_x": 9.0, "fl_y": 9.0, "cx": 4.0, "cy": 4.0}
    Camera(**good)
    for key in ("fl_x", "fl_y", "cx", "cy"):
        with pytest.raises(DataError, match="not usable numbers"):
            Camera(**{**good, key: bad})
    with pytest.raises(DataError, match="lens distortion"):
        Camera(**good, distortion=Distortion(k2=bad))


@BAD
@pytest.mark.parametrize("name", ["params/table", "params/density_0", "adam/second/color_1", "occupancy/values"])
def test_in_a_checkpoint_of_the_fast_method(bad, name):
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0, threads=1)
    arrays = backend.arrays()
    backend.check_arrays(arrays)
    arrays[name].reshape(-1)[-3] = bad
    with pytest.raises(CheckpointError, match=f"'{name}' holds NaN or infinity"):
        backend.check_arrays(arrays)


def test_counters_of_a_checkpoint_that_no_training_reaches():
    backend = CpuBackend(SMALL, NORMALISATION.unit_bounds, 0, threads=1)
    assert isinstance(backend.settings, FastSettings)
    for key, value in (("step", -1), ("step", "7"), ("step", [1]), ("rays", 0), ("rays", 1e3), ("rays", 10**12)):
        with pytest.raises(CheckpointError, match=f"count of {key}"):
            backend.load_counters({"step": 3, "rays": 100, key: value})
    backend.load_counters({"step": 3, "rays": 100})
    assert backend.counters() == {"step": 3, "rays": 100}


@pytest.mark.parametrize("scale", [1, 2.0, 16, 128])
def test_aabb_scale_reaches_the_data_set(folder, scale):
    """instant-ngp's unit cube is ``world * scale + offset``; the scene reaches `aabb_scale` times as far."""
    edit(folder, lambda document: document.update(aabb_scale=scale, scale=0.5, offset=[0.5, 0.0, 1.0]))
    found = load_dataset(folder)
    assert found.aabb_scale == scale and isinstance(found.aabb_scale, int)
    np.testing.assert_allclose(found.unit_cube, [[-1, 0, -2], [1, 2, 0]])
    np.testing.assert_array_equal(found.bounds, tiny_scene.BOUNDS)  # our own bounds say more than another's cube


def test_no_aabb_scale(folder):
    found = load_dataset(folder)
    assert found.aabb_scale is None and found.unit_cube is None


@pytest.mark.parametrize("scale", [0, 3, 0.5, 12, 256, -2, "4", True, [4]])
def test_aabb_scales_that_instant_ngp_does_not_know(folder, scale):
    edit(folder, lambda document: document.update(aabb_scale=scale))
    sentence = refused(folder)
    assert "'aabb_scale'" in sentence and "transforms_train.json" in sentence
