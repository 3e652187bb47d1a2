"""The generators' camera, patches and compositing against the one camera model, full images and analytic integrals."""

import math

import numpy as np
import pytest
import torch

from nerf_core.contract.xray import ConeBeam
from nerf_core.gan import camera, graf, patch
from nerf_core.gan.dataset import Radiographs
from nerf_core.gan.mednerf_settings import MedNerfSettings
from nerf_core.gan.settings import Settings

from ..seeds import fresh_seed


def test_rays_are_those_of_the_cone_beam():
    rng = np.random.default_rng(fresh_seed())
    rig = ConeBeam(float(rng.uniform(2.0, 9.0)), 10.0, (4.0, 4.0), (12, 12))
    angles = rng.uniform(0.0, 360.0, 3)
    settings = Settings(polar_low=90.0, polar_high=90.0, radius_low=rig.source_axis, radius_high=rig.source_axis)
    poses = camera.fixed_poses(torch.tensor(angles, dtype=torch.float32), settings)
    points = camera.pixel_points(12)[None].expand(3, -1, -1)
    origins, directions = camera.rays(poses, points, 2.0 * math.degrees(math.atan(2.0 / 10.0)))
    for index, angle in enumerate(angles):
        true_origins, true_directions = rig.camera(np.zeros(3), angle).rays()
        np.testing.assert_allclose(origins[index], true_origins.reshape(-1, 3), atol=1e-5)
        np.testing.assert_allclose(directions[index], true_directions.reshape(-1, 3), atol=1e-6)


def test_training_poses_are_those_of_the_paper():
    settings = MedNerfSettings.from_mapping({"preset": "paper"})
    poses = camera.random_poses(4000, settings, torch.Generator().manual_seed(fresh_seed()))
    assert settings.field_of_view == 10.0 and (settings.near, settings.far) == (7.5, 12.5)
    azimuths, polar, radius = poses.unbind(dim=-1)
    assert 0.0 <= azimuths.min() < 10.0 and 350.0 < azimuths.max() <= 360.0
    assert 69.99 <= polar.min() < 71.0 and 84.0 < polar.max() <= 85.01
    assert 9.5 <= radius.min() < 9.6 and 10.4 < radius.max() <= 10.5
    # Even on the sphere: half of the cosines lie below the middle one.
    middle = 0.5 * (math.cos(math.radians(70.0)) + math.cos(math.radians(85.0)))
    assert abs((torch.cos(torch.deg2rad(polar)) < middle).float().mean() - 0.5) < 0.05


def test_the_camera_of_a_data_set_keeps_the_published_width(tmp_path):
    empty = np.zeros((0, 8, 8), np.float32)
    data = Radiographs(empty, np.zeros(0), np.zeros(0, np.int64), [], 30.0, tmp_path)
    found = camera.camera_of_data(MedNerfSettings.from_mapping({"preset": "tiny"}), data)
    half = found.radius_low * math.tan(math.radians(found.field_of_view / 2.0))
    assert found.field_of_view == 30.0 and half == pytest.approx(10.0 * math.tan(math.radians(5.0)))
    assert found.polar_low == found.polar_high == 90.0 and found.radius_low == found.radius_high
    corner = math.sqrt(2.0) * half  # of the square that the image spans, seen along its diagonal
    assert found.near == pytest.approx(found.radius_low - corner) and found.far == pytest.approx(
        found.radius_low + corner
    )
    paper = MedNerfSettings.from_mapping({"preset": "paper"})
    assert camera.camera_of_data(paper, data) is paper


class Cloud(torch.nn.Module):
    """A ball of even density with one colour."""

    def __init__(self, radius: float, density: float, color: float) -> None:
        super().__init__()
        self.radius, self.density, self.color = radius, density, color

    def forward(self, positions, directions, codes):
        inside = positions.norm(dim=-1) < self.radius
        return self.density * inside.to(positions.dtype), torch.full((*positions.shape[:-1], 1), self.color)

    def activated(self, raw):
        return raw


def test_compositing_is_the_integral_through_a_ball():
    radius, density, color = 0.3, 2.0, 0.8
    poses = torch.tensor([[33.0, 80.0, 10.0]])
    points = camera.pixel_points(9)[None]
    told = {"field_of_view": 10.0, "near": 7.5, "far": 12.5, "samples": 4000}
    # Positions are halved by (far - near) / 2 = 2.5: the ball has radius 0.75 in the world.
    shown = graf.render_field(Cloud(radius, density, color), torch.zeros(1, 1), poses, points, **told)
    origins, directions = camera.rays(poses, points, 10.0)
    along = -(origins * directions).sum(dim=-1)
    chord = 2.0 * ((2.5 * radius) ** 2 - (origins.square().sum(dim=-1) - along**2)).clamp_min(0.0).sqrt()
    expected = color * (1.0 - torch.exp(-density * chord))
    assert (chord > 0).any() and (chord == 0).any()
    torch.testing.assert_close(shown[..., 0], expected, atol=4e-3, rtol=0.0)


def test_samples_are_stratified_and_the_last_reaches_the_end():
    rng = torch.Generator().manual_seed(fresh_seed())
    t = graf.stratified((3, 50), 8, 2.0, 4.0, rng)
    borders = 2.0 + 0.25 * torch.arange(9)
    assert (t >= borders[:-1]).all() and (t <= borders[1:]).all() and t.std(dim=1).min() > 0.0
    torch.testing.assert_close(graf.stratified((1, 1), 4, 0.0, 4.0, None)[0, 0], torch.tensor([0.5, 1.5, 2.5, 3.5]))
    poses, points = torch.tensor([[0.0, 90.0, 10.0]]), torch.zeros(1, 1, 2)
    told = {"field_of_view": 10.0, "near": 8.0, "far": 12.0, "samples": 4}
    shown = graf.render_field(Cloud(9.0, 0.3, 1.0), torch.zeros(1, 1), poses, points, **told)
    # From the first sample, in the middle of its interval, to `far`.
    assert shown.item() == pytest.approx(1.0 - math.exp(-0.3 * 3.5), abs=1e-6)


def test_a_coded_layer_is_one_layer_over_both():
    torch.manual_seed(fresh_seed())
    layer = graf.CodedLinear(5, 3, 7)
    features, code = torch.randn(2, 4, 5), torch.randn(2, 3)
    weight = torch.cat([layer.of_features.weight, layer.of_code.weight], dim=1)
    both = torch.cat([features, code[:, None].expand(-1, 4, -1)], dim=-1)
    expected = torch.nn.functional.linear(both, weight, layer.of_features.bias)
    torch.testing.assert_close(layer(features, code), expected)


def test_the_field_has_the_published_shape_and_listens_to_both_codes():
    torch.manual_seed(fresh_seed())
    field = graf.ConditionalField()
    assert field.first.of_features.weight.shape == (256, 63) and field.first.of_code.weight.shape == (256, 128)
    assert len(field.trunk) == 7 and field.branch.of_code.weight.shape == (128, 128)
    assert field.of_direction.weight.shape == (128, 27)
    positions, directions = torch.rand(2, 5, 6, 3) - 0.5, torch.nn.functional.normalize(torch.randn(2, 5, 3), dim=-1)
    codes = torch.randn(2, 256)
    density, color = field(positions, directions, codes)
    assert density.shape == (2, 5, 6) and color.shape == (2, 5, 6, 3)
    other = codes.clone()
    other[:, 128:] += 1.0  # appearance alone
    same_density, other_color = field(positions, directions, other)
    torch.testing.assert_close(same_density, density)
    assert not torch.allclose(other_color, color)
    other = codes.clone()
    other[:, :128] += 1.0
    assert not torch.allclose(field(positions, directions, other)[0], density)
    turned = field(positions, -directions, codes)
    torch.testing.assert_close(turned[0], density)
    assert not torch.allclose(turned[1], color)


def test_patches_meet_the_pixels_of_the_full_image():
    rng = np.random.default_rng(fresh_seed())
    size, side = 24, 8
    image = torch.rand(1, 1, size, size)
    whole = patch.patch_points(size, torch.ones(1), torch.zeros(1, 2))
    torch.testing.assert_close(whole[0], camera.pixel_points(size))
    torch.testing.assert_close(patch.sample_patches(image, whole), image)
    left, top = (int(rng.integers(0, size - side + 1)) for _ in range(2))
    shift = torch.tensor([[(2.0 * place + side) / size - 1.0 for place in (left, top)]])
    points = patch.patch_points(side, torch.tensor([side / size]), shift)
    torch.testing.assert_close(
        patch.sample_patches(image, points), image[..., top : top + side, left : left + side], atol=1e-5, rtol=0.0
    )
    # Three times as wide: every third pixel's centre, starting with the second.
    spread = patch.patch_points(side, torch.ones(1), torch.zeros(1, 2))
    torch.testing.assert_close(patch.sample_patches(image, spread), image[..., 1::3, 1::3], atol=1e-5, rtol=0.0)
    half = patch.patch_points(side, torch.tensor([side / size]), shift * 0.0 + torch.tensor([[1.0 / size, 0.0]]))
    aligned = patch.sample_patches(image, half)
    corner = (size - side) // 2
    rows = image[..., corner : corner + side, :]
    torch.testing.assert_close(
        aligned, 0.5 * (rows[..., corner : corner + side] + rows[..., corner + 1 : corner + side + 1])
    )


def test_random_patches_stay_within_the_image():
    rng = torch.Generator().manual_seed(fresh_seed())
    points = patch.random_patches(500, 16, 0.4, rng)
    assert points.shape == (500, 256, 2) and points.abs().max() < 1.0
    widths = (points[:, -1] - points[:, 0]) / (15.0 / 8.0)
    torch.testing.assert_close(widths[:, 0], widths[:, 1])
    assert 0.4 <= widths.min() < 0.45 and 0.95 < widths.max() <= 1.0
    centres = points.mean(dim=1)
    assert (centres.abs() <= 1.0 - widths + 1e-5).all() and centres.min() < -0.3 and centres.max() > 0.3


def test_the_smallest_scale_falls_as_published():
    settings = MedNerfSettings.from_mapping({"preset": "paper"})
    published = {0: 0.9, 999: 0.9, 14_999: 0.9, 15_000: math.exp(-0.1125), 100_000: math.exp(-0.75), 400_000: 0.25}
    for step, expected in published.items():
        found = patch.lowest_scale(step, settings.scale_floor, settings.scale_rate, settings.scale_every)
        assert found == pytest.approx(expected), step
