"""What the explainer asks of the worker: a view's own picture, shrunk, and pictures bound into a video."""

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.camera import Camera
from nerf_core.contract.messages import INVALID_PARAMS, USER_ERROR
from nerf_core.training.snapshots import list_snapshots

from . import tiny_scene
from .worker_client import Client, RemoteError


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


def fails(core, method, **params):
    with pytest.raises(RemoteError) as caught:
        core.call(method, **params)
    return caught.value


def test_a_view_is_what_the_data_set_shows(core, trained_run):
    answer = core.call("view", run=str(trained_run), view={"split": "train", "index": 5}, side=4096)
    camera = tiny_scene.camera(5, 16, 40)
    np.testing.assert_allclose(Camera.from_dict(answer.result["camera"]).c2w, camera.c2w, atol=1e-9)
    true = tiny_scene.picture(camera) / 255.0
    true[..., :3] *= true[..., 3:]
    np.testing.assert_allclose(answer.arrays["rgba"], true, atol=1e-6)
    assert answer.result["name"].endswith("0005.png") or answer.result["name"].endswith("0005")
    assert answer.result["snapshots"] == [
        {"step": spent.steps, "seconds": spent.seconds} for spent in list_snapshots(trained_run)
    ]
    assert answer.result["spent"]["steps"] == 300 and answer.result["method"] == "fast"
    small = core.call("view", run=str(trained_run), view={"split": "train", "index": 5}, side=10).arrays["rgba"]
    np.testing.assert_allclose(small, true.reshape(10, 4, 10, 4, 4).mean(axis=(1, 3)), atol=1e-5)


def test_a_wrong_view_is_a_sentence(core, trained_run):
    run = str(trained_run)
    assert fails(core, "view", run=run, view={"split": "train"}, side=10).code == INVALID_PARAMS
    assert fails(core, "view", run=run, view={"split": "train", "index": 0}, side=0).code == INVALID_PARAMS
    missing = fails(core, "view", run=run, view={"split": "train", "index": 99}, side=10)
    assert missing.code == USER_ERROR and "there is no view 99" in str(missing)


def write(folder, count, size=(48, 32)):
    paths = []
    for i in range(count):
        picture = np.full((size[1], size[0], 3), 20 * i % 256, np.uint8)
        picture[:, : i % size[0]] = (200, 60, 40)
        paths.append(folder / f"{i:03}.png")
        Image.fromarray(picture).save(paths[-1])
    return paths


def test_pictures_become_a_video_in_their_order(core, tmp_path):
    paths, out = write(tmp_path, 11), tmp_path / "made" / "video.mp4"
    answer = core.call("bind", pictures=[str(path) for path in paths], out=str(out), fps=12)
    assert answer.result == {"frames": 11, "out": str(out)}
    reader = imageio_ffmpeg.read_frames(str(out))
    facts = next(reader)
    assert facts["fps"] == 12 and facts["size"] == (48, 32)
    frames = [np.frombuffer(data, np.uint8).reshape(32, 48, 3).astype(int) for data in reader]
    assert len(frames) == 11
    for i, frame in enumerate(frames):
        assert np.abs(frame[16, 40] - 20 * i).max() < 12
    assert any(note.params["task"] == "video" for note in core.notes if note.method == "progress")


def test_what_cannot_be_bound_leaves_no_video(core, tmp_path):
    paths, out = [str(path) for path in write(tmp_path, 3)], tmp_path / "video.mp4"
    (tmp_path / "001.png").write_bytes(b"no picture")
    broken = fails(core, "bind", pictures=paths, out=str(out), fps=24)
    assert broken.code == USER_ERROR and "Cannot read the picture" in str(broken) and "001.png" in str(broken)
    Image.new("RGB", (20, 20)).save(tmp_path / "001.png")
    assert "must have one size" in str(fails(core, "bind", pictures=paths, out=str(out), fps=24))
    assert fails(core, "bind", pictures=[], out=str(out), fps=24).code == INVALID_PARAMS
    assert fails(core, "bind", pictures=[3], out=str(out), fps=24).code == INVALID_PARAMS
    assert "must end in .mp4" in str(fails(core, "bind", pictures=paths, out=str(tmp_path / "a.avi"), fps=24))
    out.write_bytes(b"somebody's")
    assert fails(core, "bind", pictures=paths, out=str(out), fps=24).code == USER_ERROR
    assert out.read_bytes() == b"somebody's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.png", "001.png", "002.png", "video.mp4"]
