"""StyleGAN2's discriminator, R1 and the augmentation: their numbers, and what must not change."""

import numpy as np
import pytest
import torch

from nerf_core.gan.augment import MOST, AdaptiveChance, augment
from nerf_core.gan.stylegan_discriminator import Discriminator, blur, gradient_penalty, minibatch_deviation, widths

from ..seeds import fresh_seed


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(fresh_seed())


def test_widths_are_stylegan2s() -> None:
    assert widths(128, 512) == [128, 256, 512, 512, 512, 512]
    assert widths(32, 48) == [48, 48, 48, 48]
    with pytest.raises(ValueError, match="halved"):
        Discriminator(48, 8)


def test_blur_keeps_brightness_and_is_the_binomial() -> None:
    spot = torch.zeros(1, 2, 7, 7)
    spot[0, 1, 3, 3] = 1.0
    blurred = blur(spot, stride=1, padding=2)
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    assert torch.allclose(blurred[0, 1, 2:6, 2:6], torch.outer(line, line))
    assert float(blurred[0, 0].abs().sum()) == 0.0 and float(blurred.sum()) == pytest.approx(1.0)


def test_minibatch_deviation_tells_a_batch_of_equals() -> None:
    rng = seeded()
    one = torch.rand(1, 3, 4, 4, generator=rng)
    assert float(minibatch_deviation(one.repeat(4, 1, 1, 1))[:, 3].max()) == pytest.approx(1e-4, rel=0.1)
    different = torch.rand(8, 3, 4, 4, generator=rng)
    found = minibatch_deviation(different)
    # Pictures 0, 2, 4, 6 make one group, 1, 3, 5, 7 the other.
    expected = np.sqrt(different[0::2].numpy().var(axis=0) + 1e-8).mean()
    assert np.allclose(found[0::2, 3].numpy(), expected, atol=1e-6)
    assert found.shape == (8, 4, 4, 4) and torch.equal(found[:, :3], different)
    assert minibatch_deviation(torch.rand(5, 3, 4, 4, generator=rng)).shape == (5, 4, 4, 4)  # no group divides it


def test_r1_is_the_squared_slope() -> None:
    """Against finite differences, pixel by pixel, in float64; and for a score whose slope is known."""
    rng = seeded()
    network = Discriminator(8, 4).double()
    pictures = torch.rand(2, 1, 8, 8, generator=rng, dtype=torch.float64).requires_grad_()
    penalty = gradient_penalty(network(pictures), pictures)
    step, squares = 1e-5, 0.0
    with torch.no_grad():
        for index in range(pictures.numel()):
            offset = torch.zeros(pictures.numel(), dtype=torch.float64)
            offset[index] = step
            offset = offset.reshape(pictures.shape)
            slope = (network(pictures + offset).sum() - network(pictures - offset).sum()) / (2 * step)
            squares += float(slope) ** 2
    assert penalty.item() == pytest.approx(0.5 * squares / 2, rel=1e-3)
    known = (3.0 * pictures).sum(dim=(1, 2, 3))
    assert gradient_penalty(known, pictures).item() == pytest.approx(0.5 * 9 * 64)


def test_a_told_angle_changes_the_score() -> None:
    rng = seeded()
    network = Discriminator(8, 8, with_angle=True)
    pictures = torch.rand(4, 1, 8, 8, generator=rng)
    angles = torch.tensor([0.0, 90.0, 180.0, 270.0])
    assert not torch.allclose(network(pictures, angles), network(pictures, angles + 45))
    assert torch.allclose(network(pictures, angles), network(pictures, angles + 360), atol=1e-4)
    with pytest.raises(ValueError, match="told the angles"):
        network(pictures)


def test_no_chance_changes_nothing() -> None:
    pictures = torch.rand(3, 1, 16, 16, generator=seeded())
    assert augment(pictures, 0.0, torch.Generator()) is pictures
    rng = seeded()
    seldom = augment(pictures.repeat(40, 1, 1, 1), 0.002, rng)
    untouched = (seldom == pictures.repeat(40, 1, 1, 1)).flatten(1).all(dim=1)
    assert untouched.float().mean() > 0.8  # those that are not drawn are bit for bit what they were


def test_augmentation_moves_what_is_there_and_adds_nothing() -> None:
    rng = seeded()
    dark = torch.zeros(64, 1, 16, 16)
    moved = augment(dark, 1.0, rng)
    assert torch.allclose(moved, moved[:, :, :1, :1].expand_as(moved), atol=1e-6)  # only brightness, and that evenly
    pictures = torch.rand(64, 1, 16, 16, generator=rng, requires_grad=True)
    changed = augment(pictures, 0.8, rng)
    assert changed.shape == pictures.shape and not torch.equal(changed, pictures)
    (slope,) = torch.autograd.grad(changed.sum(), pictures)
    assert torch.isfinite(slope).all() and float(slope.abs().sum()) > 0
    state = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert torch.equal(augment(pictures, 0.5, state[0]), augment(pictures, 0.5, state[1]))


def test_flips_and_quarter_turns_are_exact() -> None:
    """What only flips or turns by quarters has the same pixels in another order."""
    from nerf_core.gan import augment as module

    pictures = torch.rand(1, 1, 8, 8, generator=seeded())
    flip = module._scaled(torch.tensor([-1.0]), torch.tensor([1.0]))
    turn = module._turned(torch.tensor([np.pi / 2]))
    for matrix, expected in ((flip, pictures.flip(3)), (turn, torch.rot90(pictures, 1, (2, 3)))):
        grid = torch.nn.functional.affine_grid(matrix[:, :2], [1, 1, 8, 8], align_corners=False)
        found = torch.nn.functional.grid_sample(pictures, grid, align_corners=False)
        assert torch.allclose(found, expected, atol=1e-5)


def test_the_chance_follows_the_scores() -> None:
    chance = AdaptiveChance(target=0.6, images=1000.0)
    for _ in range(100):
        chance.update(torch.ones(32))  # sure of every real picture
    assert chance.value == MOST
    high = chance.value
    for _ in range(100):
        chance.update(torch.tensor([1.0, -1.0] * 16))
    assert chance.value < high and abs(chance.sign) < 0.1
    for _ in range(1000):
        chance.update(-torch.ones(32))
    assert chance.value == 0.0
