"""The `video` request: MP4 and PNG files with the core's own pictures, cancelled, refused, and between views."""

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.messages import CANCELLED, INVALID_PARAMS, USER_ERROR
from nerf_core.data.color import over, to_bytes, unpremultiply
from nerf_core.training.load import load_run

from . import tiny_scene
from .worker_client import Client, RemoteError, begin_training

SIZE = 48
COUNT = 6
GROUND = (0.2, 0.4, 0.6)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


@pytest.fixture(scope="module")
def trained(core, tmp_path_factory):
    data = tiny_scene.write_dataset(tmp_path_factory.mktemp("data") / "set", size=16)
    run = tmp_path_factory.mktemp("runs") / "trained"
    core.wait(begin_training(core, run, data, steps=60))
    return run


def frames(count=COUNT, size=SIZE):
    return [{"camera": tiny_scene.camera(i, count, size).to_dict()} for i in range(count)]


def decoded(path):
    """Facts of a video, and its pictures as (N, H, W, 3) bytes."""
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    width, height = facts["size"]
    return facts, np.stack([np.frombuffer(data, np.uint8).reshape(height, width, 3) for data in reader])


def psnr(a, b):
    return -10 * np.log10(np.mean((a.astype(float) - b.astype(float)) ** 2) / 255**2)


def truth(run, index, count=COUNT, size=SIZE):
    return load_run(run, "cpu").render(tiny_scene.camera(index, count, size)).rgba


def test_a_video_and_its_pictures_are_the_core_s_own(core, trained, tmp_path):
    folder = tmp_path / "Drehung – 回転"
    seen = len(core.notes)
    names = [str(folder / f"{i:04d}.png") for i in range(COUNT)]
    answer = core.call(
        "video", shared={"run": str(trained)}, frames=frames(), out=str(folder / "turn.mp4"), pictures=names,
        fps=12, background=list(GROUND), tag="film",
    )  # fmt: skip
    assert answer.result["frames"] == COUNT and (answer.result["width"], answer.result["height"]) == (SIZE, SIZE)
    assert sorted(path.name for path in folder.iterdir()) == [f"{i:04d}.png" for i in range(COUNT)] + ["turn.mp4"]
    facts, shown = decoded(folder / "turn.mp4")
    assert facts["fps"] == 12 and len(shown) == COUNT and facts["codec"].startswith("h264")
    for index in range(COUNT):
        expected = to_bytes(over(truth(trained, index), np.float32(GROUND)))
        written = np.asarray(Image.open(names[index]))
        assert written.shape == (SIZE, SIZE, 3) and np.abs(written.astype(int) - expected).max() <= 1
        assert psnr(shown[index], expected) > 30
        assert psnr(shown[index], to_bytes(over(truth(trained, (index + 1) % COUNT), np.float32(GROUND)))) < 29
    told = [n.params for n in core.notes[seen:] if n.method == "progress" and n.params["task"] == "video"]
    assert told[-1]["done"] == told[-1]["total"] == COUNT and told[-1]["seconds_left"] == 0
    assert [t["done"] for t in told] == sorted(t["done"] for t in told) and told[0]["tag"] == "film"
    looks = [n for n in core.notes[seen:] if n.method == "video.frame"]
    assert looks[0].params["index"] == 0 and looks[-1].params["index"] == COUNT - 1
    assert looks[-1].arrays["rgba"].shape == (SIZE, SIZE, 4)
    np.testing.assert_allclose(looks[-1].arrays["rgba"][0, 0], (*GROUND, 1), atol=0.02)


def test_pictures_alone_keep_their_alpha(core, trained, tmp_path):
    name = tmp_path / "one.png"
    ground = {"background": list(GROUND), "transparent": True}  # which a video beside them would have
    core.call("video", shared={"run": str(trained)}, frames=frames()[:1], pictures=[str(name)], **ground)
    written = np.asarray(Image.open(name))
    assert written.shape == (SIZE, SIZE, 4) and written[..., 3].min() < 40 and written[..., 3].max() > 90
    assert np.abs(written.astype(int) - to_bytes(unpremultiply(truth(trained, 0)))).max() <= 1


def test_a_cancelled_video_leaves_its_pictures_and_no_half_file(core, trained, tmp_path):
    count, seen = 400, len(core.notes)
    names = [str(tmp_path / f"{i:04d}.png") for i in range(count)]
    running = core.send(
        "video", shared={"run": str(trained)}, frames=frames(count, 64), out=str(tmp_path / "a.mp4"), pictures=names,
        tag="film",
    )  # fmt: skip
    core.wait_note("progress", lambda n: n.params["task"] == "video" and n.params["done"] >= 2, after=seen)
    # A view that somebody looks at meanwhile does not wait for the end.
    view = core.call("render", run=str(trained), camera=tiny_scene.camera(0, 4, 16).to_dict(), tag="view")
    assert view.result["width"] == 16 and running not in core.answers
    core.call("render.cancel", tag="film")
    with pytest.raises(RemoteError) as caught:
        core.wait(running)
    assert caught.value.code == CANCELLED
    left = sorted(path.name for path in tmp_path.iterdir())
    assert 2 <= len(left) < count and left == [f"{i:04d}.png" for i in range(len(left))]
    assert all(Image.open(tmp_path / name).size == (64, 64) for name in left)


def test_the_end_of_the_session_leaves_no_half_file(trained, tmp_path):
    client = Client(tmp_path / "core.log")
    try:
        (tmp_path / "out").mkdir()
        client.send("video", shared={"run": str(trained)}, frames=frames(400, 64), out=str(tmp_path / "out" / "a.mp4"))
        client.wait_note("progress", lambda n: n.params["task"] == "video" and n.params["done"] >= 1)
        client.close_stdin()
        client.ended()
        assert not list((tmp_path / "out").iterdir())
    finally:
        client.kill()


def test_what_is_wrong_is_told_before_anything_is_written(core, trained, tmp_path):
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"somebody's")
    shared = {"run": str(trained)}
    mixed = [*frames()[:1], *frames(2, 20)[:1]]
    cases = [
        ({"frames": []}, INVALID_PARAMS, "'frames'"),
        ({"frames": frames()[:1]}, INVALID_PARAMS, "'out', 'pictures' or both"),
        ({"frames": [{}], "out": str(tmp_path / "a.mp4")}, INVALID_PARAMS, "'camera'"),
        ({"frames": frames()[:1], "out": str(tmp_path / "a.avi")}, USER_ERROR, "must end in .mp4"),
        ({"frames": frames()[:1], "out": str(tmp_path / "a.mp4"), "fps": 9000}, USER_ERROR, "0.1 to 240"),
        ({"frames": frames()[:1], "out": str(tmp_path / "a.mp4"), "background": [2, 0, 0]}, INVALID_PARAMS, "0 to 1"),
        ({"frames": frames()[:1], "out": str(tmp_path / "a.mp4"), "background": "red"}, INVALID_PARAMS, "'background'"),
        ({"frames": mixed, "out": str(tmp_path / "a.mp4")}, USER_ERROR, "one size"),
        ({"frames": frames()[:2], "pictures": [str(mine)]}, INVALID_PARAMS, "'pictures'"),
        ({"frames": frames()[:1], "pictures": [str(tmp_path / "a.jpg")]}, INVALID_PARAMS, ".png"),
        ({"frames": frames()[:1], "pictures": [str(mine)]}, USER_ERROR, "was not made by NeRF Toolkit"),
        ({"frames": [{**frames()[0], "run": str(tmp_path)}], "out": str(tmp_path / "a.mp4")}, USER_ERROR, "run folder"),
    ]
    for params, code, words in cases:
        with pytest.raises(RemoteError) as caught:
            core.call("video", **{"shared": shared, **params})
        assert (caught.value.code, words in str(caught.value)) == (code, True), f"{params}: {caught.value}"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.png"] and mine.read_bytes() == b"somebody's"
