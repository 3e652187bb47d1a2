"""The worker's `render` request: layers, samples, lens and passes; and what it says to wrong ones."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.contract.messages import INVALID_PARAMS, USER_ERROR
from nerf_core.rendering.layers import Layer
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.view import Lens, View
from nerf_core.training.load import load_run

from . import tiny_scene
from .worker_client import LONG, Client, RemoteError, begin_training, is_training

CAMERA = tiny_scene.camera(1, 7, 20)
WIRE = CAMERA.to_dict()
MOVED = np.array([[0.0, -1.5, 0.0, 0.5], [1.5, 0.0, 0.0, -3.0], [0.0, 0.0, 1.5, 0.0], [0.0, 0.0, 0.0, 1.0]])
CROP = np.array([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_scene.write_dataset(tmp_path_factory.mktemp("data"), size=16)


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


@pytest.fixture(scope="module")
def runs(core, data, tmp_path_factory):
    """More runs than the worker keeps without being asked for so many at once."""
    folder = tmp_path_factory.mktemp("runs")
    for index in range(4):
        core.wait(begin_training(core, folder / str(index), data, steps=15 + 5 * index, seed=index))
    return [folder / str(index) for index in range(4)]


def wire(run, matrix=None, crops=()) -> dict:
    layer = {"run": str(run), "crops": [crop.tolist() for crop in crops]}
    return layer if matrix is None else {**layer, "matrix": matrix.tolist()}


def test_one_layer_as_it_was_trained_is_the_run(core, runs):
    plain = core.call("render", run=str(runs[0]), camera=WIRE).arrays
    layered = core.call("render", layers=[wire(runs[0], np.eye(4))], camera=WIRE).arrays
    assert plain["rgba"].any() and set(layered) == {"rgba", "depth"}
    for name, array in plain.items():
        np.testing.assert_array_equal(layered[name], array)


def test_everything_at_once_is_what_the_core_renders(core, runs):
    methods = [load_run(run, "cpu").method for run in runs[:2]]
    poses = [tiny_scene.camera(1, 7, 20), tiny_scene.camera(1, 6, 20)]
    layers = [Layer(methods[0], crops=(CROP,)), Layer(methods[1], matrix=MOVED)]
    later = [layers[1], layers[0]]
    camera, lens = replace(CAMERA, clip_start=1.0, clip_end=9.0), Lens(0.1, 3.0, 5, 0.4, 1.5)
    view = View(camera, tuple(poses), lens, 4, 3, "linear", "z", normals=True, clip=True)
    expected = render_picture(layers, view, shutter_layers=[layers, later])
    first, second = wire(runs[0], crops=[CROP]), wire(runs[1], MOVED)
    answer = core.call(
        "render",
        layers=[first, second],
        camera=camera.to_dict(),
        shutter=[pose.to_dict() for pose in poses],
        layers_shutter=[[first, second], [second, first]],
        lens={"radius": 0.1, "focus": 3.0, "blades": 5, "rotation": 0.4, "ratio": 1.5},
        samples=4,
        seed=3,
        color="linear",
        depth="z",
        passes=["normal"],
        clip=True,
        tag="view",
    )
    assert set(answer.result) == {"width", "height", "seconds", "samples", "cost"} and answer.result["samples"] > 0
    assert answer.arrays["normal"].shape == (20, 20, 3) and expected.rgba[..., 3].max() > 0.05
    for name in ("rgba", "depth", "normal"):
        assert answer.arrays[name].dtype == np.float32
        np.testing.assert_allclose(answer.arrays[name], getattr(expected, name), atol=1e-3, err_msg=name)


def test_all_runs_of_a_picture_are_kept(core, runs):
    def loads() -> int:
        return sum(note.method == "progress" and note.params["task"] == "load" for note in core.notes)

    layers = [wire(run) for run in runs]
    core.call("render", layers=layers, camera=WIRE)
    before = loads()
    again = core.call("render", layers=layers, camera=WIRE)
    assert loads() == before and again.arrays["rgba"].any()


def test_a_run_in_training_is_a_layer_as_it_is_now(core, runs, data, tmp_path):
    run = tmp_path / "live"
    seen = len(core.notes)
    training = begin_training(core, run, data, steps=LONG)
    core.wait_note("progress", is_training, after=seen)
    layers = [wire(run), wire(runs[0], MOVED)]
    first = core.call("render", layers=layers, camera=WIRE).arrays["rgba"]
    step = core.call("status", run=str(run)).result["step"]
    core.wait_note("progress", lambda note: is_training(note) and note.params["step"] > step + 5, after=seen)
    second = core.call("render", layers=layers, camera=WIRE).arrays["rgba"]
    core.call("train.stop")
    core.wait(training)
    assert np.abs(first - second).max() > 1e-4


def test_wrong_pictures_are_told_by_the_parameter_s_name(core, runs):
    run, layer = str(runs[0]), wire(runs[0])
    projective = np.eye(4)
    projective[3, 0] = 0.5
    cases = [
        ({"run": run, "layers": [layer]}, "either 'run' or 'layers'"),
        ({"layers": []}, "at least one layer"),
        ({"layers": [layer] * 17}, "at most 16 layers"),
        ({"layers": "all"}, "'layers'"),
        ({"layers": [7]}, "'layers[0]'"),
        ({"layers": [layer, {"matrix": MOVED.tolist()}]}, "'layers[1].run'"),
        ({"layers": [{**layer, "matrix": [[1, 2], [3, 4]]}]}, "'layers[0].matrix'"),
        ({"layers": [{**layer, "matrix": [[1, 2], [3]]}]}, "'layers[0].matrix'"),
        ({"layers": [{**layer, "matrix": projective.tolist()}]}, "affine"),
        ({"layers": [{**layer, "crops": [CROP.tolist(), "x"]}]}, "'layers[0].crops[1]'"),
        ({"run": run, "samples": 0}, "'samples'"),
        ({"run": run, "samples": 1.5}, "'samples'"),
        ({"run": run, "seed": "x"}, "'seed'"),
        ({"run": run, "color": "red"}, "'color'"),
        ({"run": run, "depth": 3}, "'depth'"),
        ({"run": run, "clip": "yes"}, "'clip'"),
        ({"run": run, "passes": ["normal", "albedo"]}, "'passes'"),
        ({"run": run, "passes": "normal"}, "'passes'"),
        ({"run": run, "shutter": [WIRE, {**WIRE, "w": 21}]}, "shutter[1]"),
        ({"run": run, "shutter": [5]}, "'shutter[0]'"),
        ({"run": run, "shutter": [WIRE], "layers_shutter": []}, "'layers_shutter'"),
        ({"run": run, "shutter": [WIRE], "layers_shutter": [[5]]}, "'layers_shutter[0][0]'"),
        ({"run": run, "lens": {"radius": -1, "focus": 3}}, "'lens.radius'"),
        ({"run": run, "lens": {"radius": 0.1}}, "'lens.focus'"),
        ({"run": run, "lens": {"radius": 0.1, "focus": 3, "blades": 1.5}}, "'lens.blades'"),
        ({"run": run, "lens": {"radius": 0.1, "focus": 3, "ratio": 0}}, "'lens.ratio'"),
        ({"run": run, "lens": {"radius": 0.1, "focus": 3, "f": 0}}, "'f' in 'lens'"),
        ({"run": run, "lens": 3}, "'lens'"),
    ]
    for params, words in cases:
        with pytest.raises(RemoteError) as caught:
            core.call("render", camera=WIRE, **params)
        assert caught.value.code == INVALID_PARAMS and words in str(caught.value), f"{params}: {caught.value}"
    with pytest.raises(RemoteError) as caught:
        core.call("render", camera=WIRE, layers=[layer, wire(runs[0].parent / "gone")])
    assert caught.value.code == USER_ERROR and "gone" in str(caught.value)
