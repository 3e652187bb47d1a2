"""`load_dataset` on real folders: pixels, cameras, splits, bounds, and errors that name the file."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import Cancelled, DataError
from nerf_core.data import dataset as dataset_module
from nerf_core.data.bounds import box_from_cameras, visual_hull_box
from nerf_core.data.dataset import load_dataset
from nerf_core.data.memory import free_memory
from nerf_core.data.views import View

from . import tiny_scene


@pytest.fixture
def folder(tmp_path):
    return tiny_scene.write_dataset(tmp_path / "data", train=6, val=2, size=24)


def edit(folder, change, names=("transforms_train.json", "transforms_val.json", "transforms.json")):
    for name in names:
        document = json.loads((folder / name).read_text())
        change(document)
        (folder / name).write_text(json.dumps(document))


def test_pixels_cameras_and_facts(folder):
    told = []
    dataset = load_dataset(folder, progress=lambda done, total: told.append((done, total)))
    assert {split: len(views) for split, views in dataset.splits.items()} == {"train": 6, "val": 2}
    assert told == [(i, 8) for i in range(1, 9)]
    assert (dataset.color_space, dataset.has_alpha, dataset.background) == ("srgb", True, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(dataset.bounds, tiny_scene.BOUNDS)
    for i, view in enumerate(dataset.splits["train"].views):
        camera = tiny_scene.camera(i, 6, 24)
        np.testing.assert_allclose(view.camera.c2w, camera.c2w, atol=1e-12)
        np.testing.assert_array_equal(view.rgba, tiny_scene.picture(camera))
    single = load_dataset(folder / "transforms.json")
    assert {split: len(views) for split, views in single.splits.items()} == {"train": 6, "val": 2}


def test_downscale_shrinks_images_and_cameras_alike(folder):
    view = load_dataset(folder, downscale=5, splits=["val"]).splits["val"].views[0]
    assert view.rgba.shape == (5, 5, 4) and (view.camera.width, view.camera.height) == (5, 5)
    assert view.camera.fl_x == pytest.approx(1.2 * 5) and view.camera.cx == pytest.approx(2.5)


def test_opaque_images_have_a_black_background(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    dataset = load_dataset(folder)
    assert not dataset.has_alpha and dataset.background == (0.0, 0.0, 0.0)
    assert (dataset.splits["train"].views[0].rgba[..., 3] == 255).all()


def test_the_same_image_twice_is_fine(folder):
    edit(folder, lambda d: d["frames"].append(d["frames"][0]), ["transforms_train.json"])
    assert len(load_dataset(folder).splits["train"]) == 7


def test_errors_name_the_file(folder):
    def fails(told, **options):
        with pytest.raises(DataError, match=told) as caught:
            load_dataset(folder, **options)
        assert "\n" not in str(caught.value)

    fails("'later' is not a split", splits=["later"])
    fails("no test split; it has train, val", splits=["test"])
    fails("downscale must be 1 or more", downscale=0)
    picture = folder / "train/0003.png"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    fails(r"0003\.png.*truncated or broken")
    Image.new("RGBA", (24, 25)).save(picture)
    fails(r"0003\.png' is 24x25 pixels, but.*transforms_train\.json' says 24x24")
    picture.unlink()
    fails(r"train/0003' named by.*transforms_train\.json' does not exist")
    picture.write_bytes(whole)
    assert len(load_dataset(folder).splits["train"]) == 6
    truncated = (folder / "transforms_train.json").read_text()[:300]
    (folder / "transforms_train.json").write_text(truncated)
    fails(r"transforms_train\.json' is not valid JSON")


def test_an_empty_train_split_is_refused(folder):
    for split in ("train", "val"):
        (folder / f"transforms_{split}.json").unlink()
    edit(folder, lambda d: d.update(train_filenames=[]), ["transforms.json"])
    with pytest.raises(DataError, match="empty train split"):
        load_dataset(folder)
    assert len(load_dataset(folder, splits=["val"]).splits["val"]) == 2


def test_exr_and_png_together_are_refused_and_exr_alone_is_linear(folder):
    import OpenEXR

    def to_exr(path):
        straight = np.asarray(Image.open(path)).astype(np.float32) / 255
        linear = np.where(straight <= 0.04045, straight / 12.92, ((straight + 0.055) / 1.055) ** 2.4)
        linear[..., :3] *= straight[..., 3:]
        linear[..., 3] = straight[..., 3]
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGBA": linear.astype(np.float32)}).write(str(path.with_suffix(".exr")))
        path.unlink()

    truth = load_dataset(folder).splits["train"].views[2].rgba
    for path in (folder / "train").glob("*.png"):
        to_exr(path)
    with pytest.raises(DataError, match="mixes EXR with other images"):
        load_dataset(folder)
    for path in (folder / "val").glob("*.png"):
        to_exr(path)
    dataset = load_dataset(folder)
    assert dataset.color_space == "linear" and dataset.splits["val"].color_space == "linear"
    np.testing.assert_array_equal(dataset.splits["train"].views[2].rgba, truth)


def test_loading_can_be_stopped(folder):
    with pytest.raises(Cancelled):
        load_dataset(folder, should_stop=lambda: True)


def test_images_that_do_not_fit_the_memory_are_not_read(folder, monkeypatch):
    needed = 8 * 24 * 24 * 4
    assert free_memory() is None or free_memory() > needed
    monkeypatch.setattr(dataset_module, "free_memory", lambda: needed // 8)
    with pytest.raises(DataError, match=r"need 0\.0 GB.*downscale of 4"):
        load_dataset(folder)
    assert load_dataset(folder, downscale=4).splits["val"].views[0].camera.width == 6


def test_nothing_is_written(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    load_dataset(folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def without_bounds(document):
    del document["nerf_toolkit"]


def test_bounds_from_masks_are_tight(tmp_path):
    folder = tiny_scene.write_dataset(tmp_path / "data", train=24, val=1, size=48)
    edit(folder, without_bounds)
    low, high = load_dataset(folder).bounds
    assert (low < tiny_scene.CENTER - tiny_scene.RADIUS).all() and (high > tiny_scene.CENTER + tiny_scene.RADIUS).all()
    assert (high - low < 2 * tiny_scene.RADIUS * 1.5).all()


def test_bounds_from_aabb_scale_and_from_cameras(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    edit(folder, without_bounds)
    low, high = load_dataset(folder).bounds
    np.testing.assert_allclose(0.5 * (low + high), tiny_scene.CENTER, atol=0.05)
    farthest = max(np.linalg.norm(tiny_scene.camera(i, 6, 24).position - tiny_scene.CENTER) for i in range(6))
    np.testing.assert_allclose(high - low, 2 * farthest, rtol=1e-3)
    edit(folder, lambda d: d.update(aabb_scale=2, scale=0.5))
    np.testing.assert_allclose(load_dataset(folder).bounds, [[-2] * 3, [2] * 3])


def test_boxes_from_odd_camera_layouts():
    def camera(place, target):
        return Camera(8, 8, 8.0, 8.0, 4.0, 4.0, look_at(np.array(place, float), np.array(target, float)))

    alone = box_from_cameras([camera((0, -2, 0), (0, 0, 0))])
    np.testing.assert_allclose(alone, [[-1, -2, -1], [1, 0, 1]], atol=1e-12)
    outward = [camera((0.1 * x, 0.1 * y, 0), (x, y, 0)) for x, y in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    np.testing.assert_allclose(box_from_cameras(outward), [[-0.4] * 3, [0.4] * 3], atol=1e-6)
    empty = [View("a", camera((3, 0, 0), (0, 0, 0)), np.zeros((8, 8, 4), np.uint8))]
    assert visual_hull_box(empty, np.array([[-0.5] * 3, [0.5] * 3])) is None


def test_lego(tmp_path_factory):
    """The real data set, where it is given."""
    import os

    path = os.environ.get("NERF_TEST_LEGO")
    if not path:
        pytest.skip("NERF_TEST_LEGO does not name the NeRF-synthetic lego folder")
    low, high = load_dataset(path, downscale=2, splits=["train"]).bounds
    truth = np.array([[-0.64, -1.15, -0.45], [0.64, 1.18, 1.0]])
    assert (low < truth[0]).all() and (high > truth[1]).all()
    assert (truth[0] - low < 0.3).all() and (high - truth[1] < 0.3).all()


def test_a_copied_folder_reads_the_same(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "Ωcopy of data")
    first, second = load_dataset(folder), load_dataset(copied)
    np.testing.assert_array_equal(first.splits["val"].views[1].rgba, second.splits["val"].views[1].rgba)
