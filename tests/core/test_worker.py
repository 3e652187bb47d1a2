"""The worker, as a real process: what it answers, and what it does with wrong requests."""

import os
import subprocess
import sys

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.messages import (
    CANCELLED,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PROTOCOL_VERSION,
    USER_ERROR,
)
from nerf_core.contract.run_folder import RunFolder
from nerf_core.contract.traces import TRACE_ARRAYS
from nerf_core.training.checkpoint import load_checkpoint
from nerf_core.training.load import load_run

from . import tiny_scene
from .worker_client import LONG, Client, RemoteError, begin_training, is_training, patched

CAMERA = tiny_scene.camera(1, 7, 20).to_dict()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("ünï cöde") / "data set", size=16)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """One core for all tests that leave it as it was."""
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


@pytest.fixture(scope="module")
def trained(core, data, tmp_path_factory):
    """A run that has ended."""
    run = tmp_path_factory.mktemp("runs") / "trained"
    core.wait(begin_training(core, run, data, steps=20))
    return run


def fails(client: Client, method: str, /, **params) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        client.call(method, **params)
    return caught.value


def test_hello_tells_versions_devices_and_methods(core):
    hello = core.hello
    assert hello["protocol"] == PROTOCOL_VERSION and hello["methods"] == ["fast", "classic", "xray"]
    assert hello["python"] == ".".join(map(str, sys.version_info[:3])) and hello["versions"]["torch"]
    assert {"kind": "cpu", "name": hello["devices"][-1]["name"]} == hello["devices"][-1]
    assert hello["device"] == hello["devices"][0]["kind"]


def test_another_protocol_is_an_error_that_says_what_to_do(start):
    client = start(greet=False)
    error = fails(client, "status", run="x")
    assert error.code == INVALID_REQUEST and "hello" in str(error)
    error = fails(client, "hello", protocol=PROTOCOL_VERSION + 1, client="test")
    assert error.code == USER_ERROR
    assert f"protocol {PROTOCOL_VERSION + 1} and the core {PROTOCOL_VERSION}" in str(
        error
    ) and "set the core up" in str(error)
    assert fails(client, "status", run="x").code == INVALID_REQUEST  # still not greeted
    assert client.call("hello", protocol=PROTOCOL_VERSION, client="test").result["protocol"] == PROTOCOL_VERSION


def test_a_training_tells_its_progress_and_previews(core, data, tmp_path):
    seen = len(core.notes)
    preview = {"camera": CAMERA, "every_seconds": 0.05}
    ident = begin_training(core, tmp_path / "run", data, steps=60, preview=preview)
    result = core.wait(ident).result
    assert result["step"] == 60 and result["stopped"] is False
    assert result["loss"] > 0 and 3 < result["val_psnr"] < 40 and result["psnr"] > 3
    notes = core.notes[seen:]
    assert all(note.params["run"] == str(tmp_path / "run") for note in notes if note.method != "log")
    tasks = [note.params["task"] for note in notes if note.method == "progress"]
    assert tasks[:10] == ["load"] * 10 and tasks[10] == "warm_up" and set(tasks[11:]) == {"train"}
    last = [note for note in notes if note.method == "progress"][-1].params
    assert last["done"] == 1.0 and last["total"] == 1.0 and last["step"] == 60 and last["seconds_left"] == 0
    assert {"loss", "psnr", "val_psnr", "elapsed", "text"} <= set(last)
    previews = [note for note in notes if note.method == "preview"]
    assert previews and previews[0].arrays["rgba"].shape == (20, 20, 4)
    assert previews[0].params["width"] == previews[0].params["height"] == 20
    assert [note.params["step"] for note in notes if note.method == "saved"][-1] == 60
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors").spent.steps == 60


def test_a_picture_is_that_of_the_checkpoint(core, trained):
    answer = core.call("render", run=str(trained), camera=CAMERA, tag="view")
    assert (answer.result["width"], answer.result["height"]) == (20, 20) and answer.result["samples"] > 0
    frame = load_run(trained, "cpu").render(tiny_scene.camera(1, 7, 20))
    assert answer.arrays["rgba"].dtype == np.float32 and answer.arrays["depth"].shape == (20, 20)
    np.testing.assert_allclose(answer.arrays["rgba"], frame.rgba, atol=1e-5)
    np.testing.assert_allclose(answer.arrays["depth"], frame.depth, atol=1e-4)
    assert frame.rgba[..., 3].max() > 0.05


def test_a_trace_has_all_arrays(core, trained):
    answer = core.call("trace", run=str(trained), camera=CAMERA, pixels=[[10.5, 10.5], [0.5, 0.5], [11, 9]])
    assert answer.result["rays"] == 3 and answer.result["seconds"] > 0
    assert answer.result["sampler"] == {"name": "hierarchical", "samples": None}
    arrays = answer.arrays
    origins, directions = tiny_scene.camera(1, 7, 20).rays(np.array([[10.5, 10.5], [0.5, 0.5], [11, 9]]))
    np.testing.assert_allclose(arrays["origin"], origins, atol=1e-5)
    np.testing.assert_allclose(arrays["direction"], directions, atol=1e-6)
    expected = load_run(trained, "cpu").method.trace_rays(origins.astype("f4"), directions.astype("f4"))
    for name, array in vars(expected).items():
        np.testing.assert_allclose(arrays[name], array, atol=1e-4, err_msg=name)
    assert set(arrays) == {*TRACE_ARRAYS, "origin", "direction", "true_depth"}
    assert arrays["ray"].dtype == np.int32 and set(arrays["stage"]) == {0, 1}


def test_a_trace_through_a_view_of_the_data_set(core, trained, data):
    pixels = [[8.5, 8.5], [0.5, 0.5], [15.9, 3.2]]
    answer = core.call("trace", run=str(trained), view={"split": "val", "index": 1}, pixels=pixels)
    camera = tiny_scene.camera(1, 3, 16)
    assert answer.result["name"].endswith("val/0001")
    np.testing.assert_allclose(Camera.from_dict(answer.result["camera"]).c2w, camera.c2w, atol=1e-6)
    truth = tiny_scene.picture(camera)[[8, 0, 3], [8, 0, 15]] / 255.0
    np.testing.assert_allclose(answer.arrays["truth"], truth, atol=1e-6)
    assert truth[0, 3] == 1 and truth[1, 3] == 0 and not answer.arrays["true_depth"].any()
    same = core.call("trace", run=str(trained), camera=camera.to_dict(), pixels=pixels, true_depth=[2.0, 0, 1.5])
    np.testing.assert_allclose(same.arrays["rgba"], answer.arrays["rgba"], atol=1e-5)
    np.testing.assert_allclose(same.arrays["true_depth"], [2.0, 0, 1.5])
    assert "truth" not in same.arrays and "camera" not in same.result
    # Where the NeRF was moved, the view goes along with it, and so does what it sees.
    place = np.array([[0, -2.0, 0, 3], [2.0, 0, 0, -4], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    moved = core.call(
        "trace", run=str(trained), view={"split": "val", "index": 1}, pixels=pixels, matrix=place.tolist()
    ).arrays
    np.testing.assert_allclose(moved["rgba"], answer.arrays["rgba"], atol=1e-4)
    np.testing.assert_allclose(moved["truth"], truth, atol=1e-6)
    np.testing.assert_allclose(moved["origin"][0], (place @ [*camera.position, 1])[:3], atol=1e-4)
    np.testing.assert_allclose(moved["far"], 2.0 * answer.arrays["far"], rtol=1e-4)


def test_a_trace_through_a_run_that_was_placed_elsewhere(core, trained):
    place = np.array([[2.0, 0.5, 0, 3], [0, 1, 0.2, -4], [0.3, 0, 0.7, 5], [0, 0, 0, 1]])
    camera = tiny_scene.camera(1, 7, 20)
    eye = (place @ [*camera.position, 1])[:3]
    moved = {**CAMERA, "transform_matrix": look_at(eye, (place @ [0, 0, 0, 1])[:3]).tolist()}
    pixels = np.array([[10.5, 10.5], [8.0, 11.5]])
    arrays = core.call("trace", run=str(trained), camera=moved, pixels=pixels.tolist(), matrix=place.tolist()).arrays
    origin, direction, ray = arrays["origin"], arrays["direction"], arrays["ray"]
    np.testing.assert_allclose(origin, np.broadcast_to(eye, (2, 3)), atol=1e-4)
    np.testing.assert_allclose(arrays["position"], origin[ray] + arrays["t"][:, None] * direction[ray], atol=1e-3)
    # The same samples as along the ray that this one is in the training world, there with other lengths.
    inverse = np.linalg.inv(place)
    inner = direction @ inverse[:3, :3].T
    length = np.linalg.norm(inner, axis=1)
    start = (origin @ inverse[:3, :3].T + inverse[:3, 3]).astype("f4")
    expected = load_run(trained, "cpu").method.trace_rays(start, (inner / length[:, None]).astype("f4"))
    assert len(expected.t) == len(ray) > 0
    np.testing.assert_allclose(arrays["t"] * length[ray], expected.t, rtol=1e-3)
    np.testing.assert_allclose(arrays["dt"] * length[ray], expected.dt, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(arrays["weight"], expected.weight, atol=1e-2)
    through = arrays["density"] * arrays["dt"]
    np.testing.assert_allclose(arrays["weight"], arrays["transmittance"] * (1 - np.exp(-through)), atol=2e-3)
    for wrong in (np.zeros((4, 4)), np.diag([1.0, 1, 0, 1])):
        with pytest.raises(RemoteError) as caught:
            core.call("trace", run=str(trained), camera=moved, pixels=pixels.tolist(), matrix=wrong.tolist())
        assert caught.value.code == INVALID_PARAMS and "'trace' wants 'matrix'" in str(caught.value)


def test_points_are_in_the_scene_s_box(core, trained):
    answer = core.call("points", run=str(trained), count=50, threshold=None)
    assert answer.result["count"] == len(answer.arrays["position"]) <= 50 and answer.result["threshold"] > 0
    assert (answer.arrays["position"] >= tiny_scene.BOUNDS[0]).all()
    assert (answer.arrays["position"] <= tiny_scene.BOUNDS[1]).all()
    assert answer.arrays["color"].shape == (answer.result["count"], 3)
    assert (answer.arrays["density"] >= answer.result["threshold"] * 0.999).all()


def test_status_is_run_json_and_where_the_training_is(core, trained):
    status = core.call("status", run=str(trained)).result
    assert status["training"] is False and status["step"] == 20 and status["method"] == "classic"
    assert status["budget"] == RunFolder(trained).read()["budget"]


def test_looking_goes_on_between_the_steps_of_a_training(core, data, tmp_path):
    run = tmp_path / "run"
    seen = len(core.notes)
    ident = begin_training(core, run, data, steps=LONG)
    core.wait_note("progress", is_training, after=seen)
    first = core.call("render", run=str(run), camera=CAMERA, tag="a")
    step = core.call("status", run=str(run)).result["step"]
    core.wait_note("progress", lambda note: is_training(note) and note.params["step"] > step + 5, after=seen)
    second = core.call("render", run=str(run), camera=CAMERA, tag="a")
    assert np.abs(first.arrays["rgba"] - second.arrays["rgba"]).max() > 1e-4  # the live method, not a checkpoint
    assert core.call("trace", run=str(run), camera=CAMERA, pixels=[[10, 10]]).result["rays"] == 1
    assert core.call("points", run=str(run), count=10, threshold=0.0).result["count"] == 10
    assert core.call("status", run=str(run)).result["training"] is True
    busy = fails(core, "train", run=str(tmp_path / "other"), data=str(data), steps=1)
    assert busy.code == USER_ERROR and "already training" in str(busy) and str(run) in str(busy)
    assert ident not in core.answers
    assert core.call("train.stop").result == {}
    result = core.wait(ident).result
    assert result["stopped"] is True and result["step"] > step
    assert load_checkpoint(run / "checkpoint.safetensors").spent.steps == result["step"]
    # And what was left goes on, with nothing but the run's name.
    again = core.send("train", run=str(run))
    core.wait_note("progress", lambda note: is_training(note) and note.params["step"] > result["step"], after=seen)
    core.call("train.stop")
    assert core.wait(again).result["step"] > result["step"]
    assert core.call("status", run=str(run)).result["training"] is False


def test_a_newer_picture_replaces_those_of_its_tag(core, trained):
    large = tiny_scene.camera(1, 7, 900).to_dict()
    running = core.send("render", run=str(trained), camera=large, tag="view")
    core.wait_note("progress", lambda note: note.params["task"] == "render" and note.params["tag"] == "view")
    waiting = core.send("render", run=str(trained), camera=CAMERA, tag="other")
    newest = core.send("render", run=str(trained), camera=CAMERA, tag="view")
    assert core.wait(newest).result["width"] == 20
    with pytest.raises(RemoteError) as caught:
        core.wait(running)
    assert caught.value.code == CANCELLED
    assert core.wait(waiting).result["width"] == 20


def test_a_picture_can_be_cancelled(core, trained):
    seen = len(core.notes)
    large = tiny_scene.camera(1, 7, 900).to_dict()
    running = core.send("render", run=str(trained), camera=large, tag="view")
    core.wait_note("progress", lambda note: note.params["task"] == "render", after=seen)
    behind = core.send("render", run=str(trained), camera=large, tag="queued")
    assert core.call("render.cancel", tag="queued").result == {}
    assert core.call("render.cancel", tag="view").result == {}
    for ident in (running, behind):
        with pytest.raises(RemoteError) as caught:
            core.wait(ident)
        assert caught.value.code == CANCELLED


@pytest.mark.parametrize("kind", ["points", "trace"])
def test_points_and_traces_can_be_cancelled(core, trained, kind):
    asked = {
        "points": {"count": 5_000_000, "threshold": None},
        "trace": {
            "camera": tiny_scene.camera(1, 7, 256).to_dict(),
            "pixels": [[x, y] for x in range(256) for y in range(256)],
        },
    }[kind]
    seen = len(core.notes)
    running = core.send(kind, run=str(trained), tag="task", **asked)
    core.wait_note("progress", lambda note: note.params["task"] == kind, after=seen)
    # One that is read in no time, so that the first is still at work when it is cancelled.
    small = {"points": asked, "trace": {**asked, "pixels": [[1, 1]]}}[kind]
    behind = core.send(kind, run=str(trained), tag="task", **small)
    # A picture replaces the pictures of its tag, and nothing else: the points go on until they are cancelled.
    picture = core.send("render", run=str(trained), camera=CAMERA, tag="task")
    other = core.send("trace", run=str(trained), camera=CAMERA, pixels=[[10, 10]], tag="other")
    status = core.send("status", run=str(trained))
    core.send("render.cancel", tag="task")
    core.wait(status)
    assert not {running, behind} & core.answers.keys()
    for ident in (running, behind, picture):
        with pytest.raises(RemoteError) as caught:
            core.wait(ident)
        assert caught.value.code == CANCELLED
    assert core.wait(other).result["rays"] == 1


def test_a_trace_of_many_rays_is_whole(core, trained):
    camera = tiny_scene.camera(1, 7, 40)
    pixels = [[x + 0.5, y + 0.5] for y in range(40) for x in range(40)]
    arrays = core.call("trace", run=str(trained), camera=camera.to_dict(), pixels=pixels).arrays
    rays = [each.astype("f4") for each in camera.rays(np.array(pixels))]
    expected = load_run(trained, "cpu").method.trace_rays(*rays)
    np.testing.assert_array_equal(arrays["ray"], expected.ray)
    assert arrays["ray"].max() > 1000
    for name, array in vars(expected).items():
        np.testing.assert_allclose(arrays[name], array, atol=1e-4, err_msg=name)


def test_wrong_requests_are_told_and_leave_the_session_alone(core, trained, data, tmp_path):
    run = str(trained)
    cases = [
        ("fly", {}, METHOD_NOT_FOUND, "no method 'fly'"),
        ("render", {"camera": CAMERA}, INVALID_PARAMS, "'run'"),
        ("render", {"run": run}, INVALID_PARAMS, "'camera'"),
        ("render", {"run": run, "camera": {**CAMERA, "w": 60000, "h": 60000}}, INVALID_PARAMS, "too large"),
        ("render", {"run": run, "camera": {**CAMERA, "fl_x": -1}}, USER_ERROR, "fl_x"),
        ("render", {"run": str(tmp_path / "no"), "camera": CAMERA}, USER_ERROR, "not a run folder"),
        ("points", {"run": run, "count": 0, "threshold": None}, INVALID_PARAMS, "'count'"),
        ("trace", {"run": run, "camera": CAMERA, "pixels": [[1, None]]}, INVALID_PARAMS, "'pixels'"),
        ("trace", {"run": run, "camera": CAMERA, "pixels": []}, INVALID_PARAMS, "'pixels'"),
        ("trace", {"run": run, "pixels": [[1, 1]]}, INVALID_PARAMS, "'camera'"),
        ("trace", {"run": run, "pixels": [[1, 1]], "view": {"split": "val"}}, INVALID_PARAMS, "'view'"),
        ("trace", {"run": run, "pixels": [[1, 1]], "view": {"split": "val", "index": 9}}, USER_ERROR, "no view 9"),
        ("trace", {"run": run, "pixels": [[1, 1]], "view": {"split": "test", "index": 0}}, USER_ERROR, "no test split"),
        ("trace", {"run": run, "pixels": [[99, 1]], "view": {"split": "val", "index": 0}}, USER_ERROR, "(99, 1)"),
        ("trace", {"run": run, "camera": CAMERA, "pixels": [[1, 1]], "true_depth": [1, 2]}, INVALID_PARAMS, "'true_d"),
        ("trace", {"run": run, "camera": CAMERA, "pixels": [[1, 1]], "sampler": {"name": "x"}}, USER_ERROR, "'x'"),
        ("status", {"run": 7}, INVALID_PARAMS, "'run'"),
        ("train", {"run": str(tmp_path / "r"), "data": str(tmp_path / "d"), "seconds": 1}, USER_ERROR, "no data set"),
        ("train", {"run": str(tmp_path / "r"), "data": str(data), "seconds": 10**400}, INVALID_PARAMS, "'seconds'"),
        ("status", {"run": str(tmp_path / ("n" * 300))}, USER_ERROR, "run.json': File name too long"),
        ("train", {"run": str(tmp_path / ("n" * 300)), "data": str(data), "steps": 1}, USER_ERROR, "Cannot use '"),
        ("train", {"run": str(tmp_path / "r"), "data": str(data)}, USER_ERROR, "how many seconds"),
    ]
    for method, params, code, words in cases:
        error = fails(core, method, **params)
        assert (error.code, words in str(error)) == (code, True), f"{method} {params}: {error.code} {error}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    error = fails(core, "train", run=str(tmp_path / "mine"), data=str(data), steps=1)
    assert error.code == USER_ERROR and "already holds other files" in str(error)
    assert core.call("status", run=run).result["step"] == 20


def test_a_bug_of_ours_comes_with_its_traceback_and_the_session_goes_on(start, data, tmp_path):
    client = start(
        command=patched(
            "from nerf_core.methods.classic import ClassicMethod\n"
            "def broken(self, *rays): raise ZeroDivisionError('oh')\n"
            "def hungry(*all): raise MemoryError\n"
            "def poor(*all): import a_package_that_is_not_there\n"
            "def wordy(*all): return {'text': 'x' * (1 << 27)}, {}\n"
            "import nerf_core.worker.geometry, nerf_core.worker.datasets\n"
            "nerf_core.worker.geometry.mesh = poor\nnerf_core.worker.datasets.describe = wordy\n"
            "import nerf_core.export.points\n"
            "ClassicMethod.trace_rays = broken\nnerf_core.export.points.extract_points = hungry"
        )
    )
    run = tmp_path / "run"
    client.wait(begin_training(client, run, data, steps=1))
    error = fails(client, "trace", run=str(run), camera=CAMERA, pixels=[[1, 1]])
    assert error.code == INTERNAL_ERROR and str(error) == "ZeroDivisionError: oh"
    assert "in broken" in error.data and "ZeroDivisionError" in client.log_text()
    error = fails(client, "points", run=str(run), count=5, threshold=None)
    assert error.code == USER_ERROR and "out of memory" in str(error)
    error = fails(client, "mesh", run=str(run), resolution=20)
    assert error.code == USER_ERROR and "lacks the package 'a_package_that_is_not_there'; set the core up" in str(error)
    error = fails(client, "dataset", data=str(data))
    assert error.code == USER_ERROR and "too much to be sent" in str(error)
    assert client.call("render", run=str(run), camera=CAMERA).result["width"] == 20


def test_prints_do_not_come_between_messages(start, data, tmp_path):
    client = start(
        command=patched(
            "import os, subprocess, sys\n"
            "from nerf_core.methods.classic import ClassicMethod\n"
            "def noisy(self, should_stop):\n"
            "    print('stray print')\n"
            "    os.write(1, b'stray write\\n')\n"
            "    subprocess.run([sys.executable, '-c', 'print(\"stray child\", input() if False else 0)'])\n"
            "ClassicMethod.warm_up = noisy"
        )
    )
    assert client.wait(begin_training(client, tmp_path / "run", data, steps=3)).result["step"] == 3
    assert client.broken is None
    for words in ("stray print", "stray write", "stray child"):
        assert words in client.log_text()


def test_notifications_and_answers_from_the_other_side_are_passed_over(core, trained):
    from nerf_core.contract.messages import notification, response, write_message

    write_message(core.process.stdin, response(99, {}))
    write_message(core.process.stdin, notification("what.is.this"))
    assert core.call("status", run=str(trained)).result["step"] == 20


def test_a_run_that_another_process_trained_on_is_loaded_anew(core, data, tmp_path):
    run = tmp_path / "run"
    core.wait(begin_training(core, run, data, steps=2))
    before = core.call("render", run=str(run), camera=CAMERA).arrays["rgba"]
    command = [sys.executable, "-m", "nerf_core", "train", "--run", str(run), "--steps", "40", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    after = core.call("render", run=str(run), camera=CAMERA).arrays["rgba"]
    assert np.abs(after - before).max() > 1e-4
    assert core.call("status", run=str(run)).result["step"] == 42
