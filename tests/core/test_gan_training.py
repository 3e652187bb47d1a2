"""The training of generative systems as runs: what they leave, exact resumption, refusals; and the command line."""

import json
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

from nerf_core.cli import main
from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.gan.checkpoint import load
from nerf_core.gan.dataset import load_radiographs
from nerf_core.gan.events import GanEvents
from nerf_core.gan.prepare import GanRequest
from nerf_core.gan.run import load_gan_run
from nerf_core.gan.train import GanTrainer

from .gan_data import TINY, write_pictures, write_posed


class StopAfter(GanEvents):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def train(run, data=None, events=None, **asked):
    told = {"settings": TINY, "device": "cpu", "measures": 0, "grids": 1, **asked}
    return GanTrainer(GanRequest(run, data, **told), events).run()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pictures(tmp_path_factory.mktemp("gan") / "phantoms", instances=2, views=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    run = tmp_path_factory.mktemp("gan") / "run"
    train(run, data, steps=6, grids=2, measures=1, fakes=4)
    return run


@pytest.mark.parametrize("system", ["mednerf", "hypernerfgan"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path, data, system):
    settings = TINY if system == "mednerf" else {"preset": "tiny", "image_size": 16, "batch": 2, "samples": 4}
    told = {"system": system, "settings": settings}
    train(tmp_path / "whole", data, steps=5, **told)
    # One question before each of the 16 images and each step.
    stopped = train(tmp_path / "parts", data, StopAfter(16 + 2), steps=5, **told)
    assert stopped.stopped and stopped.step == 2
    assert train(tmp_path / "parts", events=None, **told).step == 5
    one, other = (
        load(tmp_path / "whole" / "checkpoint.safetensors"),
        load(tmp_path / "parts" / "checkpoint.safetensors"),
    )
    assert one.arrays.keys() == other.arrays.keys() and one.facts == other.facts
    for name, value in one.arrays.items():
        assert torch.equal(value, other.arrays[name]), name
    assert {"rng", "optimiser/generator/0/step"} <= one.arrays.keys()


def test_a_run_holds_what_it_was_made_with(trained, data):
    facts = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    assert facts["kind"] == "gan" and facts["system"] == "mednerf" and facts["spent"]["steps"] == 6
    assert facts["instances"] == ["patient 0", "patient 1"] and facts["images"] == 16
    assert facts["settings"]["width"] == 16 and facts["not_for_diagnosis"].startswith("Not for diagnosis")
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[-1]["event"] == "ended" and {"discriminator", "generator", "step"} <= lines[-1].keys()
    measured = [line for line in lines if line.get("event") == "fid"]
    assert [line["step"] for line in measured] == [0, 6]  # what it came down from, and the end
    assert all(line["fid"] > 0.0 and (line["real"], line["fake"]) == (16, 4) and line["label"] for line in measured)
    assert sorted(path.name for path in (trained / "samples").iterdir()) == ["0.png", "3.png", "6.png"]
    # 2 real rows and 6 codes, 8 angles; a pixel of 16 becomes 6 x 6 in a tile of 96.
    picture = np.asarray(Image.open(trained / "samples" / "6.png"))
    assert picture.shape == (8 * 98 - 2, 8 * 98 - 2, 3)
    first = np.asarray(Image.open(data / "patient 0" / "view_0.png"))
    np.testing.assert_array_equal(picture[:96:6, :96:6, 0], first)
    np.testing.assert_array_equal(picture[:96, :96, 0], np.repeat(np.repeat(first, 6, 0), 6, 1))
    run = load_gan_run(trained, "cpu")
    assert run.spent.steps == 6 and run.system.step == 6 and len(run.load_data()) == 16


def test_more_steps_come_on_top(tmp_path, data):
    train(tmp_path / "run", data, steps=2)
    with pytest.raises(NerfError, match="has ended; say how many seconds or steps more"):
        train(tmp_path / "run")
    assert train(tmp_path / "run", steps=3).step == 5
    assert train(tmp_path / "bare", data, steps=1, grids=0).step == 1
    assert not (tmp_path / "bare" / "samples").exists()
    assert train(tmp_path / "new", data, settings={**TINY, "steps": 3}).step == 3  # the setting is the budget


def test_what_is_refused(tmp_path, trained, data):
    mine = tmp_path / "holiday"
    mine.mkdir()
    (mine / "photo.txt").write_text("mine")
    with pytest.raises(NerfError, match="already holds other files"):
        train(mine, data, steps=1)
    assert [path.name for path in mine.iterdir()] == ["photo.txt"]
    for words, asked in (
        ("not both", {"steps": 1, "seconds": 1.0}),
        ("no data set", {"data": tmp_path / "nowhere"}),
        ("Say which data set", {"data": None}),
        ("'gan' is not known", {"system": "gan"}),
        ("whole number from 0", {"seed": -1}),
        ("fewer than the 64", {"settings": {"image_size": 64}}),
        ("number of grids", {"grids": -1}),
        ("2 to 100000 samples", {"measures": 1, "fakes": 1}),
    ):
        with pytest.raises(NerfError, match=words):
            train(tmp_path / "run", **{"data": data, **asked})
        assert not (tmp_path / "run").exists(), words
    with pytest.raises(NerfError, match="was trained with width=16; choose another run folder"):
        train(trained, settings={"width": 32}, steps=1)
    with pytest.raises(NerfError, match="was not trained with the preset 'paper'"):
        train(trained, settings={"preset": "paper"}, steps=1)
    with pytest.raises(NerfError, match="is of the system 'mednerf'"):
        train(trained, system="hypernerfgan", settings={}, steps=1)
    with pytest.raises(NerfError, match="has other instances"):
        train(trained, write_pictures(tmp_path / "more", instances=3), steps=1)


def test_broken_checkpoints_are_one_sentence(tmp_path, trained):
    with pytest.raises(CheckpointError, match="not a run folder"):
        load_gan_run(tmp_path, "cpu")
    whole = (trained / "checkpoint.safetensors").read_bytes()
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(CheckpointError, match="not trained long enough"):
        load(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="cut off or damaged"):
        load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="is damaged"):
        load(path)
    path.write_bytes(whole.replace(b"nerf_toolkit.gan_checkpoint", b"nerf_toolkit.fan_checkpoint"))
    with pytest.raises(CheckpointError, match="not a checkpoint of a generative system"):
        load(path)
    path.write_bytes(whole.replace(b'\\"width\\": 16', b'\\"width\\": 17'))
    with pytest.raises(CheckpointError, match="cannot be used: The checkpoint's generator does not fit"):
        load(path).make(path, "cpu")


def call(capsys, *arguments, code: int = 0):
    """The command line in this process: another one would spend seconds on its imports."""
    assert main([str(argument) for argument in arguments]) == code
    return capsys.readouterr()


def test_fields_and_generative_systems_keep_out_of_each_others_runs(tmp_path, trained, capsys):
    told = call(capsys, "render", trained, "--orbit", "2", "--out", tmp_path / "out", code=2).err
    assert "is a run of a generative system; use 'nerf gan', or choose another run" in told
    told = call(capsys, "train", write_posed(tmp_path / "data"), "--run", trained, "--steps", "1", code=2).err
    assert "is a run of a generative system" in told


def test_samples_as_grid_turntable_and_folders(tmp_path, trained, capsys):
    import imageio.v3 as iio

    few = ("--count", "2", "--views", "3")
    told = call(capsys, "gan", "sample", trained, "--out", tmp_path / "grid.png", *few, "--json").out
    assert json.loads(told)["pictures"] == 6
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (2 * 98 - 2, 3 * 98 - 2, 3)
    call(capsys, "gan", "sample", trained, "--out", tmp_path / "folder", *few)
    files = sorted(path.relative_to(tmp_path / "folder").as_posix() for path in (tmp_path / "folder").rglob("*.png"))
    assert files[0] == "sample_0000/view_0000.png" and len(files) == 6
    single = np.asarray(Image.open(tmp_path / "folder" / "sample_0001" / "view_0002.png"))
    np.testing.assert_array_equal(grid[98::6, 196::6][:16, :16], single)
    again = load_radiographs(tmp_path / "folder", 16)  # what it writes is a data set
    np.testing.assert_array_equal(np.round(again.of(1)[0][2] * 255.0), single[..., 0])
    assert again.azimuths.tolist() == [0.0, 120.0, 240.0] * 2
    call(capsys, "gan", "sample", trained, "--out", tmp_path / "turn.mp4", "--count", "3", "--views", "4", "--size", 32)
    assert iio.imread(tmp_path / "turn.mp4").shape == (4, 194, 194, 3)
    (tmp_path / "mine.png").write_bytes(b"mine")
    told = call(capsys, "gan", "sample", trained, "--out", tmp_path / "mine.png", code=2).err
    assert "was not made by NeRF Toolkit" in told and (tmp_path / "mine.png").read_bytes() == b"mine"
    told = call(capsys, "gan", "sample", trained, "--out", tmp_path / "x.png", "--views", "0", code=2).err
    assert "--views must be" in told


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_saves_and_the_run_goes_on(tmp_path, data, nerf):
    given = [word for key, value in TINY.items() if key != "preset" for word in ("--setting", f"{key}={value}")]
    command = ["gan", "train", data, "--run", tmp_path / "run", "--preset", "tiny", *given, "--measures", "0"]
    process = nerf.start(*command, "--seconds", "200", "--device", "cpu", "--json")
    metrics = tmp_path / "run" / "metrics.jsonl"
    give_up = time.monotonic() + 120
    while not metrics.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    result = json.loads(out)
    assert result["stopped"] and result["step"] > 0 and "Not for diagnosis" in err
    before = load(tmp_path / "run" / "checkpoint.safetensors").spent.steps
    assert before == result["step"]
    assert train(tmp_path / "run", more=True, steps=2).step == before + 2
