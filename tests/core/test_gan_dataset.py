"""What generative systems learn from: instances in folders, angles from cameras or from order, sizes, and refusals."""

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.camera import look_at
from nerf_core.contract.errors import Cancelled, DataError
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms
from nerf_core.gan import dataset
from nerf_core.gan.dataset import load_radiographs

from .gan_data import RIG, radiograph, write_pictures, write_posed


def test_folders_of_pictures_are_instances_at_even_angles(tmp_path):
    data = load_radiographs(write_pictures(tmp_path / "data", instances=2, views=12), 16)
    assert data.names == ["patient 0", "patient 1"] and len(data) == 24 and data.size == 16
    assert data.field_of_view is None
    images, azimuths = data.of(1)
    assert azimuths.tolist() == [30.0 * view for view in range(12)]  # view_10 after view_9
    for view in (0, 2, 10, 11):
        np.testing.assert_allclose(images[view], radiograph(1, 30.0 * view, 16) / 255.0, atol=1e-6)
    alone = load_radiographs(tmp_path / "data" / "patient 1", 16)
    np.testing.assert_array_equal(alone.images, images)
    swapped = data.only([1, 0])
    assert swapped.names == ["patient 1", "patient 0"]
    np.testing.assert_array_equal(swapped.of(0)[0], images)


def test_cameras_give_angles_and_field_of_view(tmp_path):
    folder = write_posed(tmp_path / "data" / "one", views=6, start=20.0)
    data = load_radiographs(folder, 16)
    np.testing.assert_allclose(data.azimuths, 20.0 + 60.0 * np.arange(6), atol=1e-4)
    assert data.field_of_view == pytest.approx(2.0 * np.degrees(np.arctan(3.2 / 8.0)), abs=1e-6)
    for image, azimuth in zip(data.images, data.azimuths, strict=True):
        np.testing.assert_allclose(image, radiograph(0, float(azimuth), 16) / 255.0, atol=1.01 / 255.0)
    write_posed(tmp_path / "data" / "two", instance=1)
    both = load_radiographs(tmp_path / "data", 16)
    assert both.names == ["one", "two"] and len(both) == 12


def test_images_shrink_by_area(tmp_path):
    folder = write_pictures(tmp_path / "data", instances=1, views=2, size=24)
    data = load_radiographs(folder, 8)
    full = radiograph(0, 180.0, 24).astype(np.float64) / 255.0
    np.testing.assert_allclose(data.images[1], full.reshape(8, 3, 8, 3).mean(axis=(1, 3)), atol=1e-6)


def test_what_cannot_be_learned_from_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="There is no data set"):
        load_radiographs(tmp_path / "nowhere", 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither pictures nor radiograph"):
        load_radiographs(tmp_path / "empty", 16)
    folder = write_pictures(tmp_path / "data", instances=1, views=2)
    with pytest.raises(DataError, match="fewer than the 32 asked for"):
        load_radiographs(folder, 32)
    with pytest.raises(Cancelled):
        load_radiographs(folder, 16, should_stop=lambda: True)
    Image.new("L", (16, 20)).save(folder / "patient 0" / "view_9.png")
    with pytest.raises(DataError, match=r"view_9.png' is 16x20 pixels; radiographs must be square"):
        load_radiographs(folder, 16)
    monkeypatch.setattr(dataset, "free_memory", lambda: 1000)
    with pytest.raises(DataError, match="GB of memory"):
        load_radiographs(folder, 16)


def test_cameras_must_turn_about_one_axis(tmp_path):
    folder = write_posed(tmp_path / "data")
    Image.new("L", (16, 16)).save(folder / "train" / "above.png")
    cameras = [RIG.camera(np.zeros(3), 0.0), RIG.camera(np.zeros(3), 90.0)]
    tilted = cameras[0].__class__(16, 16, 20.0, 20.0, 8.0, 8.0, look_at((0.0, -4.0, 2.0), np.zeros(3)))
    frames = [FrameRecord("train/above.png", "train", camera) for camera in (*cameras, tilted)]
    write_transforms(tmp_path / "data", frames, DatasetFacts(has_alpha=False))
    with pytest.raises(DataError, match="do not turn about one upright axis"):
        load_radiographs(tmp_path / "data", 16)


def test_instances_of_two_rigs_are_refused(tmp_path):
    write_posed(tmp_path / "data" / "one")
    write_pictures(tmp_path / "more", instances=1)
    (tmp_path / "more" / "patient 0").rename(tmp_path / "data" / "two")
    with pytest.raises(DataError, match="different fields of view"):
        load_radiographs(tmp_path / "data", 16)
