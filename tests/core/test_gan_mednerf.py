"""MedNeRF: DAG's transforms and losses, the discriminator, schedules, and that each player trains itself alone."""

import math

import pytest
import torch

from nerf_core.contract.errors import CheckpointError, NerfError
from nerf_core.gan import dag
from nerf_core.gan.mednerf_discriminator import PatchDiscriminator
from nerf_core.gan.mednerf_settings import MedNerfSettings
from nerf_core.gan.registry import create

from ..seeds import fresh_seed
from .gan_data import TINY, radiograph


def real(count: int = 2, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    angles = [90.0 * index for index in range(count)]
    images = [torch.from_numpy(radiograph(index % 2, angle, size)) for index, angle in enumerate(angles)]
    return torch.stack(images)[:, None] / 255.0, torch.tensor(angles)


def test_transforms_can_be_undone_and_differ():
    images = torch.rand(2, 3, 6, 6)
    made = [dag.transform(images, index) for index in range(4)]
    for index, picture in enumerate(made):
        torch.testing.assert_close(dag.inverse(picture, index), images, atol=0.0, rtol=0.0)
        assert all(not torch.equal(picture, other) for other in made[:index])
    torch.testing.assert_close(made[1][..., 0], images[..., -1])
    torch.testing.assert_close(made[2][..., 0, :], images[..., -1, :])
    torch.testing.assert_close(made[3][..., -1, 0], images[..., 0, 0])  # counter-clockwise: top left goes down
    torch.testing.assert_close(dag.all_transforms(images), torch.cat(made))


def test_heads_weigh_one_and_a_fifteenth():
    assert dag.head_weights() == pytest.approx([1.0, 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert dag.head_weights(1) == [1.0]
    losses = [torch.tensor(value) for value in (1.0, 10.0, 20.0, 30.0)]
    assert dag.weighted(losses).item() == pytest.approx(1.0 + 60.0 * 0.2 / 3)


def test_hinge_values():
    rng = torch.Generator().manual_seed(fresh_seed())
    values = torch.tensor([2.0, 0.5, -4.0])
    assert dag.soft_hinge(values, True, rng, 0.0).item() == pytest.approx((0.0 + 0.5 + 5.0) / 3)
    assert dag.soft_hinge(values, False, rng, 0.0).item() == pytest.approx((3.0 + 1.5 + 0.0) / 3)
    # With margins from 0.8 to 1 a value of 0 costs their mean.
    zeros = torch.zeros(20_000)
    assert dag.soft_hinge(zeros, True, rng).item() == pytest.approx(0.9, abs=0.01)
    for real_side in (True, False):
        costs = torch.tensor([dag.soft_hinge(torch.zeros(1), real_side, rng).item() for _ in range(200)])
        assert 0.8 <= costs.min() < 0.83 and 0.97 < costs.max() <= 1.0


@pytest.mark.parametrize("side", [16, 32, 64])
def test_discriminator_shapes(side):
    network = PatchDiscriminator(side, channels=1, width=4)
    judged = network.body(torch.rand(3, 1, side, side))
    assert judged.top.shape[-2:] == (4, 4)
    assert judged.middle.shape == (3, 8, side // 2, side // 2) and judged.low.shape == (3, 16, side // 4, side // 4)
    assert len(network.links) == len(network.blocks) - 1
    for head in range(4):
        assert network.judge(judged.top, head).shape == (3,)
    told = PatchDiscriminator(side, channels=1, width=4, told_angle=True).eval()
    patches = torch.rand(3, 1, side, side)
    values = [told(patches, torch.full((3,), angle)) for angle in (0.0, 100.0, 360.0)]
    torch.testing.assert_close(values[0], values[2], atol=1e-4, rtol=0.0)
    assert not torch.allclose(values[0], values[1], atol=1e-3)
    for picture in network.reconstruct(judged):
        assert picture.shape == (3, 1, side, side) and 0.0 <= picture.min() and picture.max() <= 1.0


def test_discriminator_layers_have_spectral_norm_one():
    torch.manual_seed(fresh_seed())
    network = PatchDiscriminator(16, channels=1, width=4)
    for _ in range(200):  # power iterations, of every head too
        top = network.body(torch.rand(1, 1, 16, 16)).top
        for head in range(4):
            network.judge(top, head)
    network.eval()
    judging = [*network.stem.modules(), *network.blocks.modules(), *network.links.modules(), *network.heads.modules()]
    layers = [layer for layer in judging if isinstance(layer, torch.nn.Conv2d)]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert len(norms) == 1 + 2 * 3 + 2 + 4 * 2
    assert norms == pytest.approx([1.0] * len(norms), abs=0.1)


def test_a_link_weighs_channels_by_the_earlier_map():
    network = PatchDiscriminator(16, channels=1, width=4)
    link = network.links[0]
    early, late = torch.rand(2, 4, 16, 16), torch.rand(2, 16, 4, 4)
    gates = link(early, late) / late
    torch.testing.assert_close(gates, gates[..., :1, :1].expand_as(gates))
    assert 0.0 < gates.min() and gates.max() < 1.0
    assert not torch.allclose(link(early * 0.0, late), link(early, late))


def test_schedules_are_the_published_ones():
    paper = MedNerfSettings.from_mapping({"preset": "paper"})
    assert (paper.generator_rate, paper.discriminator_rate, paper.batch, paper.ema) == (5e-4, 1e-4, 8, 0.999)
    assert (paper.depth, paper.width, paper.skip, paper.shape_code, paper.appearance_code) == (8, 256, 4, 128, 128)
    assert (paper.samples, paper.patch_size, paper.image_size, paper.steps) == (64, 32, 128, 100_000)
    halvings = {0: 1.0, 49_999: 1.0, 50_000: 0.5, 99_999: 0.5, 100_000: 0.25, 200_000: 0.125}
    assert {step: paper.rate_factor(step) for step in halvings} == halvings
    assert [paper.noise(step) for step in (0, 1250, 5000, 9000)] == [1.0, 0.75, 0.0, 0.0]


def test_wrong_settings_are_one_sentence():
    for words, given in (
        ("'preset' 'huge'|preset 'huge' of MedNeRF", {"preset": "huge"}),
        ("MedNeRF has no setting 'colour'; it has image_size", {"colour": 1}),
        ("'batch' is 'many'; it must be a whole number", {"batch": "many"}),
        ("'ema' is 2.0; it must be from 0 to 0.99999", {"ema": 2}),
        ("'camera' is 'wide'; use one of graf, data", {"camera": "wide"}),
        ("'optimiser' is 'sgd'; use one of rmsprop, adam", {"optimiser": "sgd"}),
        ("'patch_size' is 20; use one of 16, 32", {"patch_size": 20}),
        ("'patch_size' is 32, larger than 'image_size', 16", {"patch_size": 32, "image_size": 16}),
        ("'near' is 12.5, above 'far', 12.5", {"near": 12.5, "far": 12.5}),
        ("'channels' is 2; use 1 or 3", {"channels": 2}),
        ("'dag' is 1; it must be true or false", {"dag": 1}),
    ):
        with pytest.raises(NerfError, match=words):
            MedNerfSettings.from_mapping(given)
    with pytest.raises(NerfError, match="system 'stylegan' is not known; use one of mednerf, hypernerfgan"):
        create("stylegan")
    assert MedNerfSettings.from_mapping({}, "cuda") == MedNerfSettings.from_mapping({"preset": "paper"})
    assert MedNerfSettings.from_mapping({}).samples < 64
    whole = MedNerfSettings.from_mapping({"batch": 3})
    assert MedNerfSettings.from_mapping(whole.to_dict()) == whole


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_each_player_trains_itself_alone_and_the_mean_follows():
    system = create("mednerf", {**TINY, "ema": 0.75}, seed=fresh_seed())
    images, azimuths = real()
    generator, judge = weights(system.generator), weights(system.discriminator)
    assert set(system.discriminator_step(images, azimuths)) == {"discriminator"}
    assert torch.equal(weights(system.generator), generator)
    after = weights(system.discriminator)
    assert not torch.equal(after, judge)
    system.generator_step()
    assert torch.equal(weights(system.discriminator), after)
    moved = weights(system.generator)
    assert not torch.equal(moved, generator)
    assert torch.equal(weights(system.generator_ema), generator)
    system.update_ema()
    torch.testing.assert_close(weights(system.generator_ema), 0.75 * generator + 0.25 * moved)
    assert all(parameter.requires_grad for parameter in system.discriminator.parameters())


def test_both_optimisers_follow_the_halvings():
    system = create("mednerf", {**TINY, "halve_at": 10}, seed=1)
    system.step = 20
    system.train_step(*real())
    rates = {name: optimiser.param_groups[0]["lr"] for name, optimiser in system.optimisers.items()}
    own = system.settings
    assert rates == pytest.approx({"generator": own.generator_rate / 4, "discriminator": own.discriminator_rate / 4})
    assert system.step == 21


def test_the_discriminator_learns_to_tell_and_the_generator_to_please():
    told = {"batch": 4, "discriminator_width": 8, "noise_steps": 0, "told_angle": False}
    # One seed, and the best of some steps: how a short training goes differs much from seed to seed, and step to step.
    system = create("mednerf", {**TINY, **told}, seed=0)
    images, azimuths = real()
    judged = [system.discriminator_step(images, azimuths)["discriminator"] for _ in range(41)]
    assert judged[0] == pytest.approx(2.0 * 0.9 * 1.2, abs=0.5)  # all values near 0
    assert min(judged[-10:]) < 0.5 * judged[0]
    losses = [system.generator_step()["generator"] for _ in range(60)]
    assert sum(losses[-10:]) / 10 < sum(losses[:3]) / 3


def test_the_decoders_learn_the_real_patches():
    system = create("mednerf", {**TINY, "reconstruction": 1.0, "reconstruction_every": 1}, seed=0)
    images, azimuths = real()
    told = [system.discriminator_step(images, azimuths)["reconstruction"] for _ in range(25)]
    assert sum(told[-3:]) < 0.9 * sum(told[:3])
    system.step = 1
    lazy = create("mednerf", {**TINY, "reconstruction": 1.0, "reconstruction_every": 3}, seed=0)
    lazy.step = 2
    assert "reconstruction" not in lazy.discriminator_step(images, azimuths)


def test_pictures_come_at_any_size_and_gradients_reach_the_codes():
    system = create("mednerf", TINY, seed=0)
    codes = system.sample_codes(3, torch.Generator().manual_seed(1))
    assert codes.shape == (3, 40)
    poses = system.poses([0.0, 90.0, 200.0])
    pictures = system.render(codes, poses)
    assert pictures.shape == (3, 1, 16, 16) and 0.0 <= pictures.min() and pictures.max() <= 1.0
    torch.testing.assert_close(system.render(codes, poses, rays_at_once=7), pictures)
    # The same rays, whatever the resolution: every third pixel of a larger picture.
    torch.testing.assert_close(system.render(codes, poses, 48)[..., 1::3, 1::3], pictures, atol=1e-5, rtol=0.0)
    codes.requires_grad_(True)
    system.render_rays(codes, poses, 8).sum().backward()
    assert torch.isfinite(codes.grad).all() and codes.grad.abs().min() > 0.0


def test_state_goes_back_to_where_it_was_taken():
    images, azimuths = real()
    one, other = create("mednerf", TINY, seed=3), create("mednerf", TINY, seed=4)
    one.train_step(images, azimuths)
    arrays, facts = one.state()
    arrays = {name: value.clone() for name, value in arrays.items()}
    other.load_state(arrays, facts)
    for _ in range(3):
        assert one.train_step(images, azimuths) == other.train_step(images, azimuths)
    assert torch.equal(weights(one.generator_ema), weights(other.generator_ema))
    for name in ("generator/density.weight", "optimiser/generator/0/square_avg"):
        broken = {**arrays, name: torch.zeros(3)}
        with pytest.raises(CheckpointError, match="does not fit"):
            other.load_state(broken, facts)


def test_without_dag_one_head_judges():
    system = create("mednerf", {**TINY, "dag": False})
    assert len(system.discriminator.heads) == 1
    losses = system.train_step(*real())
    assert all(math.isfinite(value) for value in losses.values())
