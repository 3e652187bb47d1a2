"""What one session in a real window left behind: pictures, points, samples, files, and no process."""

import os
from pathlib import Path

import numpy as np
import pytest

CUBE_HALF = 1.0  # the default scene's cube
pytestmark = pytest.mark.timeout(1200)


def surface_distance(points, half=CUBE_HALF):
    """Distance of points to the surface of the axis-aligned cube at the origin."""
    outside = np.linalg.norm(np.maximum(np.abs(points) - half, 0.0), axis=1)
    inside = half - np.abs(points).max(axis=1)
    return np.where(inside > 0, inside, outside)


def test_installs_and_enables(installed, session):
    assert "Error" not in installed and "error:" not in installed
    assert session.result["enabled"]
    assert session.result["tab"] == "NeRF"


def test_capture_and_train_by_one_click(session):
    assert session.result["views"] == 28
    assert (session.folder / "run" / "dataset" / "transforms.json").is_file()
    assert session.result["training"]["phase"] == "finished"
    assert session.result["training"]["val_psnr"] > 24.0
    assert (session.folder / "run" / "checkpoint.safetensors").is_file()


def test_esc_stops_the_capture_and_a_second_click_goes_on(session):
    stopped = session.result["stopped_capture"]
    assert 5 <= stopped["views"] < 28
    assert stopped["settings_kept"] and not stopped["trains"]
    assert session.result["taken_again"] == 0


def test_training_stops_continues_and_goes_on_for_more(session):
    stopped, continued, more = (session.result[f"{name}_training"] for name in ("stopped", "continued", "more"))
    assert stopped["phase"] == "stopped" and stopped["elapsed"] < 29.0
    assert continued["phase"] == "finished" and 29.5 < continued["elapsed"] < 32.0
    assert more["phase"] == "finished" and 33.5 < more["elapsed"] < 36.0


def test_scene_holds_what_it_held(session):
    assert session.result["objects_after_capture"] == session.result["objects_before"]
    # And the NeRF beside, with its box about the cube, which reaches from -1 to 1.
    assert len(session.result["nerfs"]) == 1
    rest = np.reshape(session.result["nerfs"][0], (4, 4))
    assert (np.diag(rest)[:3] >= 1.0).all() and (np.diag(rest)[:3] < 1.2).all()
    np.testing.assert_allclose(rest[:3, 3], 0.0, atol=1e-3)


def test_live_preview_shows_the_cube(session):
    height, width = session.result["preview"]["size"]
    assert min(height, width) > 16
    assert 0.02 < session.result["preview"]["covered"] < 0.6


def test_novel_view_agrees_with_cycles(session):
    view, truth = np.load(session.folder / "view.npy"), np.load(session.folder / "truth.npy")
    assert list(session.result["view"]["size"]) == [160, 90]
    assert Path(session.result["view"]["file"]).is_file()
    premultiplied = [image[..., :3] * image[..., 3:] for image in (view, truth)]
    error = np.mean((premultiplied[0] - premultiplied[1]) ** 2)
    assert -10.0 * np.log10(error) > 22.0
    alpha = [image[..., 3] > 0.5 for image in (view, truth)]
    assert (alpha[0] & alpha[1]).sum() / (alpha[0] | alpha[1]).sum() > 0.93


def test_density_points_lie_on_the_cube(session):
    points = np.load(session.folder / "points.npz")
    assert len(points["position"]) == 6000
    assert np.median(surface_distance(points["position"])) < 0.02 * 2 * CUBE_HALF
    assert np.all(points["density"] > 0)
    assert points["color"].shape == (6000, 4) and np.ptp(points["color"][:, :3]) > 0.01


def test_points_can_be_seen_in_the_viewport(session):
    assert 0.005 < session.result["points_cover"] < 0.5


def test_samples_lie_on_their_rays(session):
    samples = np.load(session.folder / "samples.npz")
    assert session.result["sample_attributes"] == ["color", "density", "stage", "t", "transmittance", "weight"]
    distance = np.linalg.norm(samples["position"] - samples["eye"], axis=1)
    np.testing.assert_allclose(distance, samples["t"], rtol=1e-3)
    assert np.all((samples["weight"] >= 0) & (samples["weight"] <= 1.0 + 1e-5))
    assert np.all((samples["transmittance"] >= 0) & (samples["transmittance"] <= 1.0 + 1e-5))
    # What stops the light lies on the cube.
    heavy = samples["position"][samples["weight"] > 0.3]
    assert len(heavy) and np.median(surface_distance(heavy)) < 0.1


def test_nothing_is_left_running(session):
    assert session.exit_code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(session.result["core_pid"], 0)
