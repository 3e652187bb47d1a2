"""What `python tools/demo.py` leaves behind; NERF_TEST_DEMO names the folder (`.ci/run` makes one)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

FOLDER = os.environ.get("NERF_TEST_DEMO")
pytestmark = pytest.mark.skipif(
    not FOLDER, reason="NERF_TEST_DEMO names no folder that python tools/demo.py --out FOLDER has made"
)


@pytest.fixture(scope="module")
def demo() -> Path:
    assert FOLDER is not None
    return Path(FOLDER)


def test_views_are_captured_as_asked(demo):
    dataset = demo / "run" / "dataset"
    for split, count in (("train", 60), ("val", 10)):
        frames = json.loads((dataset / f"transforms_{split}.json").read_text(encoding="utf-8"))["frames"]
        assert len(frames) == count == len(list((dataset / split).glob("*.png")))


def test_held_out_views_reach_27_db(demo):
    done = subprocess.run(
        [sys.executable, "-m", "nerf_core", "evaluate", str(demo / "run"), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    assert len(result["views"]) == 10
    assert result["psnr"] >= 27.0


def test_comparisons_show_three_pictures(demo):
    pictures = sorted((demo / "held-out").glob("*.png"))
    assert len(pictures) == 10
    for path in pictures:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert pixels.shape[1] >= 600
        truth, nerf = pixels[-200:, :200].astype(float), pixels[-200:, -402:-202].astype(float)
        assert truth.std() > 10 and nerf.std() > 10  # neither black nor blank


def test_turntable_turns(demo):
    frames = iio.imread(demo / "turntable.mp4")
    assert len(frames) == 36
    assert np.abs(frames[0].astype(float) - frames[18]).mean() > 3


def test_points_and_report_and_blend_are_whole(demo):
    header = (demo / "points.ply").read_bytes()[:200].decode("ascii", "replace")
    assert header.startswith("ply") and "element vertex 100000" in header
    report = (demo / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png;base64,") >= 10 and "PSNR" in report and "SSIM" in report
    assert (demo / "demo.blend").read_bytes()[:4] in (b"BLEN", b"\x28\xb5\x2f\xfd")
