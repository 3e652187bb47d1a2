"""`nerf trace`: the rays of pixels in words and as JSON, under one sampler or two."""

import json
import re

import numpy as np
import pytest

from nerf_core.cli import main
from nerf_core.contract.camera import Camera
from nerf_core.contract.traces import TRACE_ARRAYS
from nerf_core.export.camera_paths import write_cameras
from nerf_core.training.load import load_run

from . import tiny_scene
from .test_cli import one_json_line


@pytest.fixture(scope="module")
def cameras(tmp_path_factory):
    path = tmp_path_factory.mktemp("cameras") / "path.json"
    write_cameras(path, [tiny_scene.camera(i, 5, 40) for i in range(3)])
    return path


def test_json_has_every_array_and_adds_up_to_the_picture(nerf, trained_run, cameras):
    pixels = ("--pixel", "20,20", "--pixel", "20.0,20.0", "--pixel", "0,0")
    found = one_json_line(nerf("trace", trained_run, "--camera", cameras, "--frame", 2, *pixels, "--json"))
    camera = tiny_scene.camera(2, 5, 40)
    assert found["pixels"] == [[20.5, 20.5], [20, 20], [0.5, 0.5]] and found["view"] is None
    np.testing.assert_allclose(Camera.from_dict(found["camera"]).c2w, camera.c2w, atol=1e-6)
    (trace,) = found["traces"]
    assert list(trace) == ["rays", "sampler", "seconds", *TRACE_ARRAYS, "origin", "direction", "true_depth"]
    assert trace["rays"] == 3 and trace["sampler"] == {"name": "occupancy", "samples": None}
    run = load_run(trained_run, "cpu")
    origins, directions = (each.astype("f4") for each in camera.rays(np.array(found["pixels"])))
    expected = run.method.trace_rays(origins, directions)
    for name in TRACE_ARRAYS:
        np.testing.assert_allclose(np.array(trace[name]).reshape(getattr(expected, name).shape),
                                   getattr(expected, name), rtol=1e-4, atol=1e-5, err_msg=name)  # fmt: skip
    colors = run.method.render_rays(origins, directions)
    np.testing.assert_allclose(trace["rgba"], colors.rgba, atol=1e-4)
    assert trace["rgba"][0][3] > 0.9


def test_words_through_a_view_of_the_data_set(trained_run, capsys):
    def told(*more):
        assert main(["trace", str(trained_run), "--view", "val:1", "--pixel", "20,20", *more]) == 0
        return capsys.readouterr().out

    found = json.loads(told("--json"))
    assert found["view"] == "./val/0001" and len(found["traces"][0]["truth"]) == 1
    lines = told("--compare", "occupancy").splitlines()
    assert lines[0].startswith("view './val/0001', 40x40, step ")
    assert sum(line == "  occupancy" for line in lines) == 2
    trace = found["traces"][0]
    assert any("; the data set has " in line and " off)" in line for line in lines)
    assert (
        f"    cost     {trace['full'][0]} full, {trace['density_only'][0]} density only, 0 proposal evaluations"
        in lines
    )
    assert any(re.match(r"    end      at \d+\.\d+ of .*: nothing more comes through", line) for line in lines)
    rows = [line for line in lines if re.match(r"    [* ]     \d ", line)]
    assert len(rows) == 2 * len(trace["t"])
    weights = [float(row.split()[-4]) for row in rows if row.startswith("    *")]
    assert sum(weights) / 2 == pytest.approx(trace["rgba"][0][3], abs=1e-3)
    brief = told("--brief")
    assert f"    samples  {len(rows) // 2}" in brief and "stage" not in brief


def test_what_cannot_be_traced_is_one_sentence(trained_run, cameras, capsys):
    for options, words in (
        (("--view", "val:1", "--pixel", "20"), "'20'"),
        (("--view", "val:1", "--pixel", "20,x"), "'20,x'"),
        (("--view", "val:1", "--pixel=-1,3"), "outside the picture, which has 40x40"),
        (("--view", "val:1", "--pixel", "3,40"), "outside the picture"),
        (("--view", "val", "--pixel", "3,4"), "test:0"),
        (("--view", "val:9", "--pixel", "3,4"), "no view 9"),
        (("--view", "val:1", "--pixel", "3,4", "--frame", 1), "--frame"),
        (("--camera", cameras, "--frame", 3, "--pixel", "3,4"), "no --frame 3"),
        (("--camera", cameras, "--pixel", "3,4", "--samples", 3), "--sampler"),
        (("--camera", cameras, "--pixel", "3,4", "--compare", "fast"), "'fast'"),
        (("--camera", cameras, "--pixel", "3,4", "--compare", "uniform:x"), "'uniform:x'"),
        (("--camera", cameras, "--pixel", "3,4", "--snapshot", 999), "no snapshot of step 999"),
    ):
        assert main(["trace", str(trained_run), *map(str, options)]) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("nerf: ") and said.err.count("\n") == 1
        assert words in said.err, options
