"""The `dataset` request, of a real worker: frames, box and points; what is wrong in one sentence; cancelled."""

from pathlib import Path

import numpy as np
import pytest

from nerf_core.contract.camera import Camera
from nerf_core.contract.messages import CANCELLED, INVALID_PARAMS, USER_ERROR

from . import tiny_scene
from .test_data_colmap import POINTS, ring, write
from .worker_client import Client, RemoteError


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


def test_a_data_set_is_described(core, tmp_path):
    data = tiny_scene.write_dataset(tmp_path / "ünï", train=4, val=2, size=16)
    answer = core.call("dataset", data=str(data), tag="t")
    found = answer.result
    assert (found["kind"], found["color_space"], found["has_alpha"]) == ("nerf-synthetic", "srgb", True)
    assert [frame["split"] for frame in found["frames"]] == ["train"] * 4 + ["val"] * 2
    assert found["bounds"] == tiny_scene.BOUNDS.tolist() and len(answer.arrays["points"]) == 0
    for index, frame in enumerate(found["frames"][:4]):
        assert Path(frame["image"]).is_absolute() and Path(frame["image"]).is_file()
        truth = tiny_scene.camera(index, 4, 16)
        np.testing.assert_allclose(Camera.from_dict(frame["camera"]).c2w, truth.c2w, atol=1e-12)


def test_a_colmap_model_is_described(core, tmp_path):
    answer = core.call("dataset", data=str(write(tmp_path / "d")), orientation="none", scale="normalise")
    assert answer.result["placement"] == {"orientation": "none", "scale": "normalise"}
    assert len(answer.result["frames"]) == 9 and answer.result["kind"] == "colmap"
    points, color = answer.arrays["points"], answer.arrays["color"]
    assert points.dtype == color.dtype == np.float32 and points.shape == color.shape == POINTS.shape
    assert 0 <= color.min() and color.max() <= 1 and color.max() > 0.9
    camera = Camera.from_dict(answer.result["frames"][0]["camera"])
    assert camera.distortion == ring()[0].distortion


def test_what_is_wrong_is_told(core, tmp_path):
    for params, code, words in (
        ({"data": str(tmp_path / "none")}, USER_ERROR, "does not exist"),
        ({"data": str(tmp_path)}, USER_ERROR, "is not a data set"),
        ({"data": 3}, INVALID_PARAMS, "'data'"),
        ({"data": str(tmp_path), "orientation": "sideways"}, USER_ERROR, "sideways"),
    ):
        with pytest.raises(RemoteError, match=words) as caught:
            core.call("dataset", **params)
        assert caught.value.code == code


def test_it_is_cancelled_by_its_tag(core, tmp_path):
    data = tiny_scene.write_dataset(tmp_path / "many", train=200, val=1, size=8)
    ident = core.send("dataset", data=str(data), tag="import")
    core.call("render.cancel", tag="import")
    with pytest.raises(RemoteError) as caught:
        core.wait(ident)
    assert caught.value.code == CANCELLED
