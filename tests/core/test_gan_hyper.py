"""HyperNeRFGAN: the modulation to the letter, its training's parts, and that the whole learns and comes back."""

import math

import numpy as np
import pytest
import torch

from nerf_core.contract.errors import NerfError
from nerf_core.gan import registry
from nerf_core.gan.base import System
from nerf_core.gan.equalised import Conv, Linear, Mapping
from nerf_core.gan.modulated import HyperNeRF, ModulatedLinear, composited, encoded

from ..seeds import fresh_seed

SMALL = {
    "preset": "tiny",
    "camera": "graf",
    "image_size": 8,
    "batch": 4,
    "samples": 6,
    "depth": 2,
    "width": 16,
    "code_size": 6,
    "style_size": 8,
    "feature_maps": 8,
    "frequencies": 2,
    "r1_interval": 2,
    "coarse_steps": 60,
}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(fresh_seed())


def test_modulation_is_the_published_formula() -> None:
    """W = W_s * (1 + A B / sqrt(10)), rows of length 1: element by element, without the module's own products."""
    rng = seeded()
    layer = ModulatedLinear(inputs=5, outputs=3, style_size=4, rank=10)
    styles = torch.randn(2, 4, generator=rng)
    with torch.no_grad():
        layer.factors.bias.copy_(torch.randn(layer.factors.bias.shape, generator=rng))
        found = layer.weights(styles)
        factors = styles @ (layer.factors.weight / math.sqrt(4)).T + layer.factors.bias
    for subject in range(2):
        a = factors[subject, :30].reshape(3, 10)
        b = factors[subject, 30:].reshape(10, 5)
        for row in range(3):
            expected = [
                layer.shared[row, column] * (1 + sum(a[row, k] * b[k, column] for k in range(10)) / math.sqrt(10))
                for column in range(5)
            ]
            expected = torch.stack(expected)
            assert torch.allclose(found[subject, row], expected / expected.norm(), atol=1e-5)
    assert torch.allclose(found.norm(dim=2), torch.ones(2, 3), atol=1e-6)
    assert not torch.allclose(found[0], found[1])
    # And what it does to points, the bias shared.
    x = torch.randn(2, 7, 5, generator=rng)
    with torch.no_grad():
        layer.bias.copy_(torch.randn(3, generator=rng))
    assert torch.allclose(layer(x, styles)[1], x[1] @ found[1].T + layer.bias, atol=1e-5)


def test_equalised_layers_scale_when_used() -> None:
    rng = seeded()
    slow = Linear(6, 4, multiplier=0.01)
    x = torch.randn(3, 6, generator=rng)
    assert torch.allclose(slow(x), x @ (slow.weight * 0.01 / math.sqrt(6)).T + 0.01 * slow.bias, atol=1e-6)
    assert 50 < slow.weight.std().item() < 200  # begins a hundred times larger, so that it starts like the others
    conv = Conv(3, 2, 3)
    (scaled,) = torch.autograd.grad(conv(torch.ones(1, 3, 3, 3))[0, 0, 1, 1], conv.weight)
    assert torch.allclose(scaled[0], torch.full((3, 3, 3), 1 / math.sqrt(27)))
    mapping = Mapping(6, 5)
    assert len(mapping.layers) == 2 and all(layer.multiplier == 0.01 for layer in mapping.layers)
    assert torch.allclose(mapping(x), mapping(7 * x), atol=1e-5)  # only the code's direction counts


def test_compositing_of_a_uniform_slab() -> None:
    density, color = torch.full((1, 1, 50), 0.8), torch.full((1, 1, 50, 1), 0.5)
    distances = torch.linspace(2.0, 4.0, 51)[:-1].expand(1, 1, 50)
    assert float(composited(density, color, distances, 4.0)) == pytest.approx(0.5 * (1 - math.exp(-1.6)), rel=1e-5)
    assert float(composited(0 * density, color, distances, 4.0)) == 0.0  # the background is black


def test_positional_encoding_has_its_octaves() -> None:
    code = encoded(torch.tensor([[0.25, -0.5]]), 2)
    angles = [math.pi * f * x for f in (1, 2) for x in (0.25, -0.5)]
    expected = [0.25, -0.5, *map(math.sin, angles), *map(math.cos, angles)]
    assert torch.allclose(code[0], torch.tensor(expected), atol=1e-6)


def test_colour_sees_the_direction_only_where_asked() -> None:
    rng = seeded()
    codes, points = torch.randn(1, 6, generator=rng), torch.randn(1, 9, 3, generator=rng)
    one, other = (torch.nn.functional.normalize(torch.randn(1, 9, 3, generator=rng), dim=2) for _ in range(2))
    plain = HyperNeRF(6, 8, 2, 16, 3)
    assert torch.equal(plain(codes, points, one)[1], plain(codes, points, other)[1])
    seeing = HyperNeRF(6, 8, 2, 16, 3, direction_frequencies=2)
    density, color = seeing(codes, points, one)
    assert torch.equal(density, seeing(codes, points, other)[0])
    assert not torch.allclose(color, seeing(codes, points, other)[1])
    assert color.shape == (1, 9, 3) and density.shape == (1, 9) and (density > 0).all()


def blobs(count: int, azimuths: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Radiographs (count, 1, 8, 8) of a bright ball off the axis: seen at x = sin(azimuth)."""
    centre = 0.5 * torch.sin(torch.deg2rad(azimuths))
    axis = (2 * torch.arange(8) + 1) / 8 - 1
    squared = (axis[None, None, :] - centre[:, None, None]).square() + axis[None, :, None].square()
    strength = 0.7 + 0.2 * torch.rand(count, generator=rng)
    return (strength[:, None, None] * torch.exp(-squared / 0.1))[:, None]


@pytest.fixture(scope="module")
def learnt() -> tuple[System, torch.Generator]:
    rng = seeded()
    system = registry.create("hypernerfgan", SMALL | {"ema": 0.9, "augmentation": True}, seed=3)
    for _ in range(80):
        azimuths = 360 * torch.rand(4, generator=rng)
        system.train_step(blobs(4, azimuths, rng), azimuths)
    return system, rng


def test_it_learns_where_a_ball_is_seen(learnt) -> None:
    """From noise to a ball that moves with the angle: nearer to the real views than at the beginning, by far."""
    system, rng = learnt
    azimuths = torch.arange(0.0, 360.0, 45.0)
    truth = blobs(8, azimuths, rng)

    def error(of) -> float:
        codes = of.sample_codes(8, torch.Generator().manual_seed(5))
        views = torch.stack([of.render(code[None].expand(8, -1), of.poses(azimuths)) for code in codes]).mean(dim=0)
        return float((views - truth).square().mean())

    before = registry.create("hypernerfgan", SMALL, seed=3)
    assert error(system) < 0.3 * error(before)


def test_training_goes_on_exactly_from_its_state(learnt) -> None:
    system, rng = learnt
    arrays, facts = system.state()
    arrays = {name: value.clone() for name, value in arrays.items()}
    twin = registry.create("hypernerfgan", SMALL | {"ema": 0.9, "augmentation": True}, seed=9)
    twin.load_state(arrays, facts)
    assert twin.chance.value == system.chance.value
    azimuths = torch.tensor([0.0, 90.0, 180.0, 270.0])
    real = blobs(4, azimuths, rng)
    assert system.train_step(real, azimuths) == twin.train_step(real.clone(), azimuths)
    code = torch.randn(1, 6, generator=rng)
    assert torch.equal(system.render(code, system.poses([30.0])), twin.render(code, twin.poses([30.0])))


def test_paper_preset_is_what_was_published() -> None:
    paper = registry.system_class("hypernerfgan").settings_class.presets()["paper"]
    assert (paper.depth, paper.width, paper.rank, paper.frequencies, paper.samples) == (8, 128, 10, 10, 64)
    assert (paper.batch, paper.image_size, paper.channels, paper.feature_maps) == (4, 64, 3, 512)
    assert paper.learning_rate == 2.5e-3 and 0.1 <= paper.r1 <= 1.0
    assert not paper.view_directions and not paper.told_angle
    assert paper.polar_low == paper.polar_high  # the medical adaptation's
    made = registry.create("hypernerfgan", {**SMALL, "view_directions": True, "channels": 3, "told_angle": False})
    real = torch.rand(4, 1, 8, 8, generator=seeded())
    losses = made.train_step(real, torch.zeros(4))
    assert all(np.isfinite(list(losses.values()))) and "r1" in losses
    assert "r1" not in made.train_step(real, torch.zeros(4))  # lazily, every r1_interval steps


def test_coarse_steps_show_both_players_half_the_pixels() -> None:
    """What the discriminator is given, real and made, has no more detail than pictures of half the side."""
    system = registry.create("hypernerfgan", {**SMALL, "coarse_steps": 1, "told_angle": False}, seed=1)
    seen: list[torch.Tensor] = []
    system.discriminator.register_forward_pre_hook(lambda _network, inputs: seen.append(inputs[0].detach().clone()))
    real = torch.rand(4, 1, 8, 8, generator=seeded())
    for _ in range(2):
        system.train_step(real, torch.zeros(4))
    coarse = torch.nn.functional.avg_pool2d(real, 2)
    enlarged = torch.nn.functional.interpolate(coarse, size=(8, 8), mode="bilinear", align_corners=False)
    assert torch.allclose(seen[0], 2 * enlarged - 1, atol=1e-6)
    assert torch.equal(seen[1], seen[2])  # the two players of a step share what was made
    assert torch.equal(seen[3], 2 * real - 1) and seen[4].shape == (4, 1, 8, 8)

    def detail(pictures: torch.Tensor) -> float:
        smooth = torch.nn.functional.avg_pool2d(pictures, 2)
        again = torch.nn.functional.interpolate(smooth, size=(8, 8), mode="bilinear", align_corners=False)
        return float((pictures - again).square().mean() / pictures.var())

    assert detail(seen[1]) < detail(seen[4])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [({"image_size": 48}, "power of two"), ({"rank": 0}, "'rank' is 0"), ({"width": "x"}, "must be a whole number")],
)
def test_settings_that_will_not_do(wrong: dict, sentence: str) -> None:
    with pytest.raises(NerfError, match=sentence):
        registry.create("hypernerfgan", wrong)
