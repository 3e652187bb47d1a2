"""Quality on the real lego, where it is given: a training by steps, so that slow machines are judged alike."""

import json
import os

import pytest

STEPS, DOWNSCALE, FLOOR = 250, 2, 24.0  # dB on held-out pixels; 25.4 when this was written


def test_lego_after_a_few_steps(nerf, tmp_path):
    path = os.environ.get("NERF_TEST_LEGO")
    if not path:
        pytest.skip("NERF_TEST_LEGO does not name the NeRF-synthetic lego folder")
    asked = ("--steps", STEPS, "--downscale", DOWNSCALE, "--device", "cpu", "--json")
    done = nerf("train", path, "--run", tmp_path / "run", *asked)
    result = json.loads(done.stdout.splitlines()[-1])
    print(f"lego at 1/{DOWNSCALE}: {result['val_psnr']:.2f} dB held out after {result['step']} steps")
    assert result["step"] == STEPS and result["val_psnr"] > FLOOR
