"""Image files in: every kind's exact bytes, and a sentence for every way in which a file can be wrong."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.errors import DataError
from nerf_core.data.images import MAX_PIXELS, downscaled_size, read_header, read_image

OpenEXR = pytest.importorskip("OpenEXR")


def read(path, downscale=1, size=None):
    header = read_header(path)
    return read_image(header, size or (header.width, header.height), downscale)


def write_exr(path, channels, **header):
    OpenEXR.File({"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}, channels).write(
        str(path)
    )


def png(path, width, height, depth, color_type, rows):
    """A PNG made by hand: what Pillow does not write (16-bit colour)."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return path


def test_rgba_png_arrives_as_it_is(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), rgba)


def test_grey_palette_and_transparent_palette(tmp_path):
    Image.fromarray(np.full((2, 3), 77, np.uint8)).save(tmp_path / "grey.png")
    assert read(tmp_path / "grey.png")[1, 2].tolist() == [77, 77, 77, 255]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    palette.save(tmp_path / "p.png")
    assert read(tmp_path / "p.png")[0].tolist() == [[10, 20, 30, 255], [40, 50, 60, 255]]
    palette.save(tmp_path / "t.png", transparency=0)
    assert read(tmp_path / "t.png")[0].tolist() == [[10, 20, 30, 0], [40, 50, 60, 255]]


def test_sixteen_bit_colour_and_grey(tmp_path):
    rgba = [struct.pack(">4H", 0x0102, 0x8080, 0xFFFF, 0x4040)]
    assert read(png(tmp_path / "c.png", 1, 1, 16, 6, rgba))[0, 0].tolist() == [1, 128, 255, 64]
    assert read(png(tmp_path / "g.png", 2, 1, 16, 0, [struct.pack(">2H", 0x8080, 0xFFFF)]))[0].tolist() == [
        [128, 128, 128, 255],
        [255, 255, 255, 255],
    ]


def test_jpeg_is_opaque_and_near(tmp_path):
    Image.new("RGB", (16, 16), (200, 100, 50)).save(tmp_path / "a.jpg", quality=98)
    found = read(tmp_path / "a.jpg")
    assert (found[..., 3] == 255).all()
    assert np.abs(found[..., :3].astype(int) - (200, 100, 50)).max() <= 2


def test_exif_orientation_is_passed_over_unless_only_the_turned_size_fits(tmp_path):
    picture = Image.new("RGB", (16, 8), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 8, 8))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright after a quarter turn clockwise
    picture.save(tmp_path / "a.jpg", quality=98, exif=exif)
    header = read_header(tmp_path / "a.jpg")
    assert (header.width, header.height, header.turned) == (16, 8, True)
    stored = read(tmp_path / "a.jpg")
    assert stored.shape == (8, 16, 4) and stored[4, 2, 0] > 240 and stored[4, 13, 0] < 15
    upright = read(tmp_path / "a.jpg", size=(8, 16))
    assert upright.shape == (16, 8, 4) and upright[2, 4, 0] > 240 and upright[13, 4, 0] < 15


def test_exr_becomes_straight_srgb(tmp_path):
    rgba = np.zeros((2, 2, 4), np.float32)
    rgba[0, 0] = (0.5, 0.25, 0.125, 1.0)
    rgba[0, 1] = (0.25, 0.125, 0.0625, 0.5)  # the same colour, half covered, premultiplied
    rgba[1, 0] = (40.0, -1.0, 0.0, 1.0)
    write_exr(tmp_path / "a.exr", {"RGBA": rgba})
    found = read(tmp_path / "a.exr")
    assert found.tolist() == [[[188, 137, 99, 255], [188, 137, 99, 128]], [[255, 0, 0, 255], [0, 0, 0, 0]]]


def test_exr_of_blender_layers_half_floats_and_windows(tmp_path):
    full = np.full((2, 3), 1.0, np.float16)
    names = {f"ViewLayer.Combined.{key}": full * k for key, k in (("R", 1), ("G", 0), ("B", 1), ("A", 1))}
    write_exr(tmp_path / "layers.exr", {**names, "ViewLayer.Depth.Z": np.full((2, 3), 7.0, np.float32)})
    assert read(tmp_path / "layers.exr")[1, 2].tolist() == [255, 0, 255, 255]
    window = {
        "dataWindow": (np.array([1, 1], np.int32), np.array([2, 1], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([3, 2], np.int32)),
    }
    write_exr(tmp_path / "window.exr", {"RGBA": np.ones((1, 2, 4), np.float32)}, **window)
    alpha = read(tmp_path / "window.exr")[..., 3]
    assert alpha.tolist() == [[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 0, 0]]


def test_nan_in_an_exr_is_found_and_named(tmp_path):
    rgba = np.ones((4, 5, 4), np.float32)
    rgba[2, 3, 1] = np.nan
    write_exr(tmp_path / "bad.exr", {"RGBA": rgba})
    with pytest.raises(DataError, match=r"bad\.exr.*NaN.* 1 pixels.*x 3, y 2"):
        read(tmp_path / "bad.exr")


def test_downscaling_averages_premultiplied_colour(tmp_path):
    rgba = np.zeros((2, 4, 4), np.uint8)
    rgba[:, 0] = (200, 100, 0, 255)  # beside transparent green, which must not bleed in
    rgba[:, 1] = (0, 255, 0, 0)
    rgba[:, 2] = (255, 255, 255, 255)
    rgba[:, 3] = (55, 55, 55, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png", 2).tolist() == [[[200, 100, 0, 128], [155, 155, 155, 255]]]
    assert downscaled_size((5, 3), 2) == (2, 2) and downscaled_size((1, 1), 8) == (1, 1)


def test_a_header_that_claims_too_much_is_not_decoded(tmp_path):
    for side in (9000, 60000, 2**31 - 1):
        bomb = png(tmp_path / "bomb.png", side, side, 8, 6, [])
        with pytest.raises(DataError, match=rf"bomb\.png.*{MAX_PIXELS // 1000000} million"):
            read_header(bomb)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.exr"])
def test_truncated_files_name_themselves(tmp_path, name):
    rng = np.random.default_rng(1)
    if name.endswith("exr"):
        write_exr(tmp_path / name, {"RGBA": rng.random((64, 64, 4)).astype(np.float32)})
    else:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for part in (0, 3, 12, len(whole) // 2, len(whole) - 60):
        (tmp_path / name).write_bytes(whole[:part])
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_what_is_no_image_says_so(tmp_path):
    (tmp_path / "a.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"a\.png.*not a PNG, JPEG or EXR"):
        read_header(tmp_path / "a.png")
