"""PSNR and SSIM against their formulas, and the evaluation of a trained run against a by-hand one."""

import math

import numpy as np
import pytest

from nerf_core.contract.errors import NerfError
from nerf_core.data.dataset import load_dataset
from nerf_core.evaluation.evaluate import evaluate_run, evaluate_views, spread, truth_image
from nerf_core.evaluation.metrics import psnr, ssim
from nerf_core.training.load import load_run

from . import tiny_scene


def test_psnr_by_its_formula():
    truth = np.full((4, 5, 3), 0.5)
    assert psnr(truth + 0.1, truth) == pytest.approx(20.0)
    one = truth.copy()
    one[0, 0, 0] = 1.0
    assert psnr(one, truth) == pytest.approx(-10 * math.log10(0.25 / 60))
    assert psnr(truth, truth) == 100.0
    assert psnr(truth + 9.0, truth) == pytest.approx(-10 * math.log10(0.25))  # clipped to 1


def ssim_by_hand(a, b):
    """Wang et al. 2004, equation 13, at one place: the middle of an 11x11 picture."""
    x = np.arange(11) - 5
    g = np.exp(-(x**2) / (2 * 1.5**2))
    w = np.outer(g, g) / np.outer(g, g).sum()
    ma, mb = (w * a).sum(), (w * b).sum()
    va, vb, cov = (w * a * a).sum() - ma**2, (w * b * b).sum() - mb**2, (w * a * b).sum() - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    return (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


def test_ssim_by_its_formula():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 11, 11, 3))
    expected = np.mean([ssim_by_hand(a[..., k], b[..., k]) for k in range(3)])
    assert ssim(a, b) == pytest.approx(expected, abs=1e-9)  # only the middle has the whole window inside
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a[:10], b[:10]) is None


def test_a_trained_run_shows_its_held_out_views(trained_run, ball_dataset):
    told, seen = [], []
    evaluation = evaluate_run(
        trained_run, device="cpu", progress=told.append, on_view=lambda *arguments: seen.append(arguments)
    )
    assert [view.name for view in evaluation.views] == ["./val/0000", "./val/0001", "./val/0002"]
    assert evaluation.psnr > 20 and evaluation.ssim > 0.8
    assert told == sorted(told) and told[-1] == pytest.approx(1.0)
    run = load_run(trained_run, "cpu")
    dataset = load_dataset(ball_dataset, splits=["val"])
    for view, (given, truth, image, result) in zip(dataset.splits["val"].views, seen, strict=True):
        alpha = view.rgba[..., 3:] / 255.0
        np.testing.assert_allclose(truth, view.rgba[..., :3] / 255.0 * alpha + 1 - alpha, atol=1e-6)
        origins, directions = view.camera.rays()
        rgba = run.method.render_rays(
            origins.reshape(-1, 3).astype(np.float32), directions.reshape(-1, 3).astype(np.float32)
        ).rgba.reshape(*truth.shape[:2], 4)
        by_hand = np.clip(rgba[..., :3] + 1 - rgba[..., 3:], 0, 1)
        assert result.psnr == pytest.approx(-10 * np.log10(np.mean((by_hand - truth) ** 2)), abs=1e-3)
        np.testing.assert_allclose(image, by_hand, atol=1e-3)
        assert given.name == view.name
    assert evaluation.psnr == pytest.approx(np.mean([view.psnr for view in evaluation.views]))
    assert list(evaluation.to_dict())[-2:] == ["psnr", "ssim"]


def test_the_background_is_the_runs(trained_run, ball_dataset):
    views = load_dataset(ball_dataset, splits=["val"]).splits["val"]
    assert truth_image(views.views[0], (0.0, 0.5, 1.0))[0, 0].tolist() == [0.0, 0.5, 1.0]
    run = load_run(trained_run, "cpu")
    white, black = (evaluate_views(run.method, views, background).psnr for background in ((1, 1, 1), (0, 0, 0)))
    assert white != black and min(white, black) > 18


def test_what_is_not_there_is_said(trained_run, tmp_path):
    with pytest.raises(NerfError, match="no test split; it has train, val"):
        evaluate_run(trained_run, split="test")
    with pytest.raises(NerfError, match="name the data set"):
        evaluate_run(trained_run, data=tmp_path / "gone")
    with pytest.raises(NerfError, match="no run.json"):
        evaluate_run(tmp_path)


def test_views_are_chosen_evenly():
    views = tiny_scene.views(10, 8)
    assert [view.name for view in spread(views, 3).views] == ["0000.png", "0003.png", "0006.png"]
    assert len(spread(views, 99)) == 10 and spread(views, None) is views
    with pytest.raises(NerfError, match="at least 1, not 0"):
        spread(views, 0)
