"""Radiograph data sets in: line integrals from EXR and from pictures, their facts, and what is said of broken ones."""

import json

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.errors import DataError
from nerf_core.contract.transforms import PASS_KEYS, DatasetFacts, FrameRecord, write_transforms
from nerf_core.contract.xray import ConeBeam, XrayFacts
from nerf_core.data import dataset as dataset_module
from nerf_core.data.dataset import load_dataset
from nerf_core.data.one_view import load_view
from nerf_core.data.placement import Placement
from nerf_core.export.exr import write_exr

from ..seeds import fresh_seed

RIG = ConeBeam(2.0, 3.0, (1.0, 0.8), (10, 8))
FACTS = XrayFacts((0.0, 4.0), 2.0, 3.0, (1.0, 0.8), 0.5, volume="volume.nii.gz", noise={"photons": 1e4})
KEY = PASS_KEYS["line_integral"]


@pytest.fixture
def radiographs(tmp_path):
    """Four radiographs, three to train on; and their line integrals, of which the first's are pictures alone."""
    true = np.random.default_rng(fresh_seed()).uniform(0.0, 4.0, (4, 8, 10)).astype(np.float32)
    records = []
    for index, camera in enumerate(RIG.cameras(np.zeros(3), 4)):
        grey = np.round(true[index] / 4.0 * 255).astype(np.uint8)
        Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(tmp_path / f"{index}.png")
        passes = {}
        if index:
            write_exr(tmp_path / f"{index}.exr", {"V": true[index]})
            passes = {KEY: f"{index}.exr"}
        records.append(FrameRecord(f"{index}.png", "val" if index == 3 else "train", camera, passes))
    write_transforms(tmp_path, records, DatasetFacts(np.array([[-1.0] * 3, [1.0] * 3]), "srgb", False, xray=FACTS))
    return tmp_path, true


def edit(folder, change, name="transforms_train.json"):
    document = json.loads((folder / name).read_text())
    change(document)
    (folder / name).write_text(json.dumps(document))


def test_line_integrals_and_facts_come_back(radiographs):
    folder, true = radiographs
    data = load_dataset(folder)
    assert data.xray == FACTS and not data.has_alpha and data.background == (0.0, 0.0, 0.0)
    train, val = data.splits["train"].views, data.splits["val"].views
    for view, expected in zip([*train[1:], *val], true[1:], strict=True):
        assert view.line_integral.dtype == np.float32
        np.testing.assert_array_equal(view.line_integral, expected)
    # From the picture, through the window, to half a step of its bytes.
    error = np.abs(train[0].line_integral - true[0])
    assert 0 < error.max() <= 4.0 / 255 / 2 + 1e-5
    # transforms.json alone says the same.
    assert load_dataset(folder / "transforms.json").xray == FACTS
    single = load_view(folder, "train", 2)
    np.testing.assert_array_equal(single.line_integral, true[2])


def test_shrunk_radiographs_hold_means(radiographs):
    folder, true = radiographs
    views = load_dataset(folder, downscale=2).splits["train"].views
    expected = true[1].reshape(4, 2, 5, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(views[1].line_integral, expected, rtol=1e-6)
    np.testing.assert_allclose(views[0].line_integral, true[0].reshape(4, 2, 5, 2).mean(axis=(1, 3)), atol=0.02)
    assert views[1].camera.width == 5


def test_pictures_of_light_have_none(radiographs):
    folder, _ = radiographs
    for name in ("transforms_train.json", "transforms_val.json"):
        edit(folder, lambda document: document["nerf_toolkit"].pop("xray"), name)
    data = load_dataset(folder)
    assert data.xray is None and data.splits["train"].views[1].line_integral is None


def test_scaling_the_world_leaves_line_integrals(radiographs):
    folder, true = radiographs
    data = load_dataset(folder, placement=Placement(scale="normalise"))
    view = data.splits["train"].views[1]
    np.testing.assert_array_equal(view.line_integral, true[1])
    assert np.linalg.norm(view.camera.position) == pytest.approx(data.xray.source_axis)
    assert data.xray.meters_per_unit * data.xray.source_detector == pytest.approx(0.5 * 3.0)
    assert data.xray.detector[0] / data.xray.source_detector == pytest.approx(1.0 / 3.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["nerf_toolkit"].update(xray=[1]), "not an object"),
        (lambda d: d["nerf_toolkit"]["xray"].update(window=[2, 1]), "window"),
        (lambda d: d["nerf_toolkit"]["xray"].update(quantity="hounsfield"), "quantity"),
        (lambda d: d["frames"][1].update({KEY: "gone.exr"}), "gone.exr"),
        (lambda d: d["frames"][1].update({KEY: 3}), "no file's name"),
        (lambda d: d["frames"][1].update({KEY: "0.png"}), "header"),
    ],
)
def test_broken_ones_are_told_in_a_sentence(radiographs, change, words):
    folder, _ = radiographs
    edit(folder, change)
    with pytest.raises(DataError, match=words) as told:
        load_dataset(folder)
    assert "transforms_train.json" in str(told.value)


def test_numbers_that_are_none_and_other_sizes_are_told(radiographs):
    folder, true = radiographs
    bad = true[1].copy()
    bad[2, 5] = np.nan
    write_exr(folder / "1.exr", {"V": bad})
    with pytest.raises(DataError, match=r"NaN or infinity in 1 pixels, the first at x 5, y 2"):
        load_dataset(folder)
    write_exr(folder / "1.exr", {"V": true[1][:, :-1]})
    with pytest.raises(DataError, match=r"9x8 pixels, but their picture is 10x8"):
        load_dataset(folder)


def test_memory_is_checked_with_line_integrals(radiographs, monkeypatch):
    folder, _ = radiographs
    pixels = 4 * 10 * 8
    monkeypatch.setattr(dataset_module, "free_memory", lambda: 8 * pixels - 1)
    with pytest.raises(DataError, match="of memory"):
        load_dataset(folder)
    monkeypatch.setattr(dataset_module, "free_memory", lambda: 8 * pixels)
    load_dataset(folder)
