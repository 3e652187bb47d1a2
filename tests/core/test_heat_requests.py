"""Heat maps over the worker's pipes and on the command line: real processes, real files, the maps' own numbers."""

import json
from dataclasses import replace

import numpy as np
import OpenEXR
import pytest
from PIL import Image

from nerf_core.contract.heat import HEAT_NAMES, coloured
from nerf_core.contract.messages import INVALID_PARAMS
from nerf_core.export.camera_paths import write_cameras

from . import tiny_scene
from .worker_client import Client, RemoteError

CAMERA = tiny_scene.camera(1, 4, 40)  # of the data set


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    client = Client(tmp_path_factory.mktemp("core") / "core.log")
    yield client
    client.kill()


def test_a_render_gives_maps_numbers_and_what_they_are_measured_against(core, trained_run):
    asked = {"run": str(trained_run), "passes": ["normal", *HEAT_NAMES], "heat_pictures": True}
    answer = core.call("render", camera=CAMERA.to_dict(), color="linear", depth="z", clip=True, **asked)
    assert set(answer.arrays) == {"rgba", "depth", "normal", *HEAT_NAMES, *(f"{name}_picture" for name in HEAT_NAMES)}
    assert answer.result["reference"] == "data" and answer.result["view"] == {"name": "./train/0004", "split": "train"}
    for name in HEAT_NAMES:
        values, told = answer.arrays[name], answer.result["heat"][name]
        assert values.dtype == np.float32 and values.shape == (40, 40)
        assert told["mean"] == pytest.approx(values.mean(), abs=1e-5) and told["most"] == values.max()
        picture = answer.arrays[f"{name}_picture"]
        colours = "magma" if name.endswith("error") else "viridis"
        np.testing.assert_array_equal(picture[:320:8, ::8], coloured(values, told["top"], colours))
    assert {name: told.get("reference") for name, told in answer.result["heat"].items()} == {
        "sample_count": None,
        "captured_weight": None,
        "depth_error": "full",
        "colour_error": "data",
    }
    # By its rows, as Blender asks for it.
    rows = replace(CAMERA, height=8, cy=CAMERA.cy - 16)
    part = core.call("render", camera=rows.to_dict(), color="linear", **{**asked, "heat_pictures": False})
    assert set(part.arrays) == {"rgba", "depth", "normal", *HEAT_NAMES} and part.result["reference"] == "data"
    for name in HEAT_NAMES:
        np.testing.assert_allclose(part.arrays[name], answer.arrays[name][16:24], atol=2e-3, err_msg=name)
    # From elsewhere there is no truth: the run's full sampling is, with which this is the same.
    c2w = CAMERA.c2w.copy()
    c2w[2, 3] += 0.1
    moved = core.call(
        "render", camera=replace(CAMERA, c2w=c2w).to_dict(), run=str(trained_run), passes=["colour_error"]
    )
    assert moved.result["reference"] == "full" and not moved.arrays["colour_error"].any()
    assert "view" not in moved.result
    asked = {"run": str(trained_run), "passes": ["colour_error"], "heat_reference": "full"}
    own = core.call("render", camera=CAMERA.to_dict(), **asked)
    assert own.result["reference"] == "full" and not own.arrays["colour_error"].any()
    wrong = [({"passes": ["heat"]}, "sample_count"), ({"heat_top": {"normal": 1}}, "'normal' in 'heat_top'")]
    for params, words in [*wrong, ({"heat_top": {"depth_error": 0}}, "'heat_top.depth_error'")]:
        with pytest.raises(RemoteError) as caught:
            core.call("render", camera=CAMERA.to_dict(), run=str(trained_run), **params)
        assert caught.value.code == INVALID_PARAMS and words in str(caught.value), caught.value


def values_of(path) -> np.ndarray:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return np.array(file.channels()["Y"].pixels)


def test_the_command_line_writes_numbers_and_pictures(nerf, trained_run, tmp_path):
    cameras, out = tmp_path / "cameras.json", tmp_path / "out"
    c2w = CAMERA.c2w.copy()
    c2w[2, 3] += 0.1
    write_cameras(cameras, [CAMERA, replace(CAMERA, c2w=c2w)])
    asked = ("--cameras", cameras, "--out", out, "--device", "cpu", "--json")
    told = json.loads(nerf("render", trained_run, *asked, "--heat", "colour-error, sample_count").stdout)
    names = ["{}.png", "{}_colour_error.exr", "{}_colour_error.png", "{}_sample_count.exr", "{}_sample_count.png"]
    wanted = [name.format(index) for index in ("0000", "0001") for name in names]
    assert sorted(path.name for path in out.iterdir()) == wanted and len(told["files"]) == 10
    assert [each["colour_error"]["reference"] for each in told["heat"]] == ["data", "full"]
    error, count = values_of(out / "0000_colour_error.exr"), values_of(out / "0000_sample_count.exr")
    shown = np.asarray(Image.open(out / "0000.png")).astype(np.float64) / 255.0
    truth = tiny_scene.picture(CAMERA) / 255.0
    over = [each[..., :3] * each[..., 3:] + 1.0 - each[..., 3:] for each in (shown, truth)]
    np.testing.assert_allclose(error, np.abs(over[0] - over[1]).mean(axis=-1), atol=4e-3)
    assert error.any() and not values_of(out / "0001_colour_error.exr").any()
    assert count.max() == told["heat"][0]["sample_count"]["most"] and (count == np.round(count)).all()
    picture = np.asarray(Image.open(out / "0000_sample_count.png"))
    np.testing.assert_array_equal(
        picture[:320:8, ::8], coloured(count, told["heat"][0]["sample_count"]["top"], "viridis")
    )
    # A scale that is given.
    other = ("--cameras", cameras, "--out", tmp_path / "scaled", "--device", "cpu", "--json")
    more = ("--heat", "sample_count=5,colour_error", "--against", "full")
    told = json.loads(nerf("render", trained_run, *other, *more).stdout)
    assert [each["sample_count"]["top"] for each in told["heat"]] == [5.0, 5.0]
    assert [each["colour_error"]["reference"] for each in told["heat"]] == ["full", "full"]
    picture = np.asarray(Image.open(tmp_path / "scaled" / "0000_sample_count.png"))
    np.testing.assert_array_equal(picture[:320:8, ::8], coloured(count, 5.0, "viridis"))
    for options, words in (
        (("--heat", "sample_count=many"), "above 0, not at 'many'"),
        (("--heat", "warmth"), "no heat map 'warmth'"),
        (("--heat", ""), "no heat map ''"),
    ):
        assert words in nerf("render", trained_run, *asked, *options, code=2).stderr
    refused = nerf("render", trained_run, "--orbit", 1, "--out", tmp_path / "o.mp4", "--heat", "all", code=2)
    assert "--heat makes pictures, not a video" in refused.stderr


def test_evaluating_writes_maps_of_each_view(nerf, trained_run, tmp_path):
    asked = ("evaluate", trained_run, "--views", 1, "--device", "cpu", "--heat", "all")
    told = json.loads(nerf(*asked, "--pictures", tmp_path, "--json").stdout)
    stem = "val_0000"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"{stem}.png", *(f"{stem}_{name}.{kind}" for name in HEAT_NAMES for kind in ("exr", "png"))]
    )
    error = values_of(tmp_path / f"{stem}_colour_error.exr")
    assert told["heat"][0]["colour_error"]["reference"] == "data" and error.max() > 0.0
    assert "--pictures" in nerf(*asked, code=2).stderr
