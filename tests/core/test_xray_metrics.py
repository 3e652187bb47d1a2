"""PSNR and SSIM of volumes and radiographs: by hand, and beside scikit-image."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from nerf_core.contract.errors import DataError
from nerf_core.xray.metrics import peak_of, radiograph_psnr, radiograph_ssim, volume_psnr, volume_ssim

from ..seeds import fresh_seed


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(fresh_seed())
    truth = np.zeros((24, 30, 20), np.float32)
    truth[4:20, 5:25, 3:17] = rng.uniform(5.0, 40.0, (16, 20, 14))
    return truth + rng.normal(0.0, 2.0, truth.shape).astype(np.float32), truth


def test_psnr_by_hand():
    truth = np.zeros((2, 2, 2))
    truth[0, 0, 0] = 40.0
    assert volume_psnr(truth + 4.0, truth) == pytest.approx(20.0)
    assert volume_psnr(truth, truth) == 100.0
    # The unit does not matter, and values above the peak or below 0 are not cut.
    assert volume_psnr(100.0 * (truth - 4.0), 100.0 * truth) == pytest.approx(20.0)
    where = np.zeros(truth.shape, bool)
    where[0] = True
    spoilt = truth.copy()
    spoilt[1] = 1000.0
    assert volume_psnr(spoilt, truth, where) == 100.0


def test_ssim_is_that_of_slices(pair):
    """Away from the border it is what scikit-image says of each slice."""
    volume, truth = pair
    peak = truth.max()
    means = []
    for axis in range(3):
        values = []
        for one, other in zip(np.moveaxis(volume, axis, 0), np.moveaxis(truth, axis, 0), strict=True):
            if other.max() <= 0:
                continue
            padded = [np.pad(each.astype(np.float64) / peak, 5) for each in (one, other)]
            _, whole = structural_similarity(
                *padded, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
            )
            values.append(whole[5:-5, 5:-5].mean())
        means.append(np.mean(values))
    assert volume_ssim(volume, truth) == pytest.approx(np.mean(means), abs=1e-4)
    assert volume_ssim(truth, truth) == pytest.approx(1.0, abs=1e-5)
    assert volume_ssim(truth[:10], truth[:10]) is None


def test_radiographs_have_one_range(pair):
    volume, truth = pair
    truths, images = truth.sum(axis=2), volume.sum(axis=2)
    peak = peak_of([truths, 0.5 * truths])
    assert peak == truths.max()
    expected = 20.0 * np.log10(peak / np.sqrt(np.mean((images - truths) ** 2)))
    assert radiograph_psnr(images, truths, peak) == pytest.approx(expected, abs=1e-4)
    assert radiograph_psnr(images, truths, 2.0 * peak) == pytest.approx(expected + 6.0206, abs=1e-3)
    assert radiograph_ssim(truths, truths, peak) == pytest.approx(1.0, abs=1e-5)
    assert radiograph_ssim(images, truths, peak) < 1.0
    assert radiograph_ssim(images[:5], truths[:5], peak) is None


def test_refusals(pair):
    volume, truth = pair
    with pytest.raises(DataError, match="cannot be measured"):
        volume_psnr(volume[1:], truth)
    with pytest.raises(DataError, match="nowhere above 0"):
        volume_ssim(volume, np.zeros_like(truth))
    with pytest.raises(DataError, match="no line integral"):
        peak_of([np.zeros((3, 3))])
