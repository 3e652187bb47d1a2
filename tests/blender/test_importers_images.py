"""Frames as Image datablocks and files: every byte and float is the core's."""

import bpy
import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 5, 7


@pytest.fixture
def images(addon_module):
    return addon_module("importers.images")


def premultiplied(seed=0):
    """(frame, straight bytes): a frame whose straight colours are whole bytes."""
    rng = np.random.default_rng(seed)
    straight = rng.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
    straight[..., 3] = np.maximum(straight[..., 3], 1)
    straight[0, 0, 3], straight[1, 1, 3] = 0, 255
    straight[0, 0, :3] = 0  # where nothing is there is no colour
    straight[2, 2] = (255, 128, 1, 1)
    frame = straight.astype(np.float32) / 255
    frame[..., :3] *= frame[..., 3:]
    return frame, straight


def save(images, frame, space, path):
    return images.show_file(images.write_frame(frame, space, path), space)


def pixels(image):
    values = np.empty(4 * image.size[0] * image.size[1], dtype=np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], 4)[::-1]


def test_srgb_frame_keeps_its_bytes_in_the_image_and_in_the_file(images, tmp_path):
    frame, straight = premultiplied()
    image = save(images, frame, "srgb", tmp_path / "renders" / "Würfel 1.png")
    assert image.name == "Würfel 1" and image.colorspace_settings.name == "sRGB" and image.alpha_mode == "STRAIGHT"
    np.testing.assert_array_equal(np.round(pixels(image) * 255).astype(np.uint8), straight)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "renders" / "Würfel 1.png")), straight)
    assert not image.is_dirty
    assert [path.name for path in (tmp_path / "renders").iterdir()] == ["Würfel 1.png"]


@pytest.mark.parametrize("height", [1, 16, 45])
def test_linear_frame_keeps_its_floats(images, tmp_path, height):
    rng = np.random.default_rng(1)
    frame = (rng.random((height, WIDTH, 4), dtype=np.float32) * 4).astype(np.float32)
    frame[..., 3] /= 4
    frame[:20] = 0.5  # so that some blocks are shorter for being deflated, and others are not
    image = save(images, frame, "linear", tmp_path / "a.exr")
    assert image.is_float and image.alpha_mode == "PREMUL"
    assert image.colorspace_settings.name == "Linear Rec.709"
    np.testing.assert_array_equal(pixels(image), frame)
    image.reload()
    np.testing.assert_array_equal(pixels(image), frame)
    assert [path.name for path in tmp_path.iterdir()] == ["a.exr"]


@pytest.mark.parametrize("name", ["a.png", "a.exr"])
def test_a_picture_of_ours_is_known_by_its_mark(images, addon_module, tmp_path, name):
    is_ours = addon_module("importers.encode").is_ours
    assert not is_ours(tmp_path / name)
    save(images, premultiplied()[0], "linear" if name.endswith("exr") else "srgb", tmp_path / name)
    assert is_ours(tmp_path / name)
    Image.new("RGBA", (2, 2)).save(tmp_path / "theirs.png")
    assert not is_ours(tmp_path / "theirs.png")


def test_saving_again_renews_the_same_image_also_in_another_size(images, tmp_path):
    first = save(images, premultiplied(0)[0], "srgb", tmp_path / "a.png")
    other, straight = premultiplied(1)
    second = save(images, other, "srgb", tmp_path / "a.png")
    assert second == first
    np.testing.assert_array_equal(np.round(pixels(second) * 255).astype(np.uint8), straight)
    third = save(images, np.tile(other, (2, 2, 1)), "srgb", tmp_path / "a.png")
    assert third == first and tuple(third.size) == (2 * WIDTH, 2 * HEIGHT)


def test_a_place_that_cannot_be_written_is_one_sentence(images, tmp_path, addon_module):
    error = addon_module("vendor.nerf_core.contract.errors").NerfError
    (tmp_path / "renders").write_text("a file in the way")
    with pytest.raises(error, match="Cannot make the folder .*renders.* in the way"):
        save(images, premultiplied()[0], "srgb", tmp_path / "renders" / "a.png")


@pytest.mark.parametrize("space", ["srgb", "linear"])
def test_preview_is_one_image_in_whatever_size_and_name(images, space):
    frame, straight = premultiplied()
    first = images.show_preview(frame, space)
    assert first.name == "NeRF Preview" and first.is_float == (space == "linear")
    first.name = "What I call it"
    second = images.show_preview(np.tile(frame, (2, 1, 1)), space)
    assert second == first and tuple(second.size) == (WIDTH, 2 * HEIGHT)
    if space == "srgb":
        np.testing.assert_array_equal(np.round(pixels(second) * 255).astype(np.uint8)[:HEIGHT], straight)
    else:
        np.testing.assert_array_equal(pixels(second)[:HEIGHT], frame)
    images.keep_preview()
    assert second.packed_file is not None and not second.is_dirty
    images.show_preview(np.tile(frame, (2, 1, 1)), space)  # and it can be shown on
    other = images.show_preview(frame, "srgb" if space == "linear" else "linear")
    assert len([image for image in bpy.data.images if image.get("nerf_preview")]) == 1
    assert other.is_float != (space == "linear")
