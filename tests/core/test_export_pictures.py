"""Pictures, videos and whose files they may replace."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nerf_core.contract.errors import NerfError
from nerf_core.export.ownership import MARK, check_writable, is_ours
from nerf_core.export.pictures import heat_map, side_by_side, to_picture, write_png
from nerf_core.export.points import PointCloud, write_ply
from nerf_core.export.video import write_video

ROOT = Path(__file__).resolve().parents[2]


def test_frames_become_bytes_over_a_background_or_with_straight_alpha():
    rgba = np.array([[[0.25, 0.125, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0], [2.0, 0.5, 0.1, 1.0]]], np.float32)
    assert to_picture(rgba, None).tolist() == [[[128, 64, 0, 128], [0, 0, 0, 0], [255, 128, 26, 255]]]
    assert to_picture(rgba, (1.0, 0.0, 0.5)).tolist() == [[[191, 32, 64], [255, 0, 128], [255, 128, 26]]]


def test_the_heat_map_is_black_without_error_and_bright_at_the_top():
    truth = np.zeros((1, 3, 3), np.float32)
    image = truth + np.array([0.0, 0.125, 5.0], np.float32)[None, :, None]
    heat = heat_map(image, truth)
    assert heat[0].tolist() == [[0, 0, 4], [181, 54, 122], [252, 253, 191]]


def test_the_side_by_side_holds_all_three_pictures_under_a_band_with_words():
    rng = np.random.default_rng(0)
    truth, image = rng.random((2, 60, 90, 3)).astype(np.float32)
    sheet = side_by_side(truth, image, "31.20 dB")
    band = sheet.shape[0] - 60
    gap = (sheet.shape[1] - 3 * 90) // 2
    assert 0 < band < 60 and 0 < gap < 10
    for column, picture in enumerate((truth, image)):
        left = column * (90 + gap)
        np.testing.assert_array_equal(sheet[band:, left : left + 90], np.round(picture * 255))
        assert sheet[:band, left : left + 90].max() > 200  # the label
    np.testing.assert_array_equal(sheet[band:, -90:], heat_map(image, truth))


def test_png_is_whole_and_ours(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 4, 4), dtype=np.uint8)
    write_png(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Software"] == MARK
        np.testing.assert_array_equal(np.asarray(image), picture)
    assert is_ours(tmp_path / "a.png") and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("size", [(64, 48), (33, 21)])
def test_video_is_read_back_by_ffmpeg(tmp_path, size):
    import imageio_ffmpeg

    width, height = size
    shades = (40, 120, 200)
    path = tmp_path / "a film é.mp4"
    count = write_video(path, (np.full((height, width, 3), (s, 90, 255 - s), np.uint8) for s in shades), fps=10)
    assert count == 3 and is_ours(path) and len(list(tmp_path.iterdir())) == 1
    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    even = (width + width % 2, height + height % 2)
    assert facts["size"] == even and facts["codec"] == "h264" and facts["pix_fmt"].startswith("yuv420p")
    frames = [np.frombuffer(frame, np.uint8).reshape(even[1], even[0], 3) for frame in reader]
    assert len(frames) == 3
    for frame, shade in zip(frames, shades, strict=True):
        assert np.abs(frame.astype(int).mean(axis=(0, 1)) - (shade, 90, 255 - shade)).max() < 6


def test_a_video_that_fails_leaves_nothing(tmp_path):
    def pictures():
        yield np.zeros((8, 8, 3), np.uint8)
        yield np.zeros((8, 10, 3), np.uint8)

    with pytest.raises(NerfError, match="one size"):
        write_video(tmp_path / "a.mp4", pictures())
    with pytest.raises(NerfError, match="no pictures"):
        write_video(tmp_path / "a.mp4", [])
    with pytest.raises(NerfError, match=r"end in \.mp4"):
        write_video(tmp_path / "a.avi", pictures())
    with pytest.raises(NerfError, match="pictures a second"):
        write_video(tmp_path / "a.mp4", pictures(), fps=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_video_that_does_not_fit_is_one_sentence(tmp_path):
    code = (
        "import resource, sys, numpy as np\n"
        "from nerf_core.export.video import write_video\n"
        "from nerf_core.contract.errors import NerfError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "noise = (np.random.default_rng(i).integers(0, 256, (256, 256, 3), dtype=np.uint8) for i in range(400))\n"
        "try: write_video(sys.argv[1], noise)\n"
        "except NerfError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp4")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert re.fullmatch(r"ffmpeg stopped while it wrote the video '.*a\.mp4'; free some disk space.*\n", done.stdout)
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []


def test_only_our_own_files_may_be_replaced(tmp_path):
    theirs = tmp_path / "holiday.png"
    Image.new("RGB", (2, 2)).save(theirs)
    with pytest.raises(NerfError, match=r"holiday\.png.*--overwrite"):
        check_writable(theirs)
    assert check_writable(theirs, overwrite=True) == theirs
    with pytest.raises(NerfError, match="is a folder"):
        check_writable(tmp_path)
    write_png(tmp_path / "ours.png", np.zeros((2, 2, 3), np.uint8))
    cloud = PointCloud(np.zeros((1, 3), np.float32), np.zeros(1, np.float32), np.zeros((1, 3), np.float32), 0.0)
    write_ply(tmp_path / "ours.ply", cloud)
    for name in ("ours.png", "ours.ply", "new.png"):
        check_writable(tmp_path / name)
