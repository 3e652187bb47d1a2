"""Phantoms: line integrals against numbers found otherwise, voxels against line integrals, patients that differ."""

import numpy as np
import pytest

from nerf_core.contract.errors import NerfError
from nerf_core.contract.xray import MATERIALS, hu_to_mu
from nerf_core.ct.phantoms import KINDS, Phantom, ellipsoid_phantom, parse_phantom

from ..seeds import fresh_seed


def sampled_mu(phantom: Phantom, points: np.ndarray) -> np.ndarray:
    """The attenuation at points, 1 / cm, by asking each ellipsoid."""
    local = np.einsum("nij,npi->npj", phantom.rotations, points[None] - phantom.centers[:, None])
    inside = (np.square(local / phantom.half_axes[:, None]).sum(axis=-1) < 1.0).T
    if phantom.painted:
        first = inside.argmax(axis=1)
        mu = np.where(inside.any(axis=1), phantom.mu[first], 0.0)
    else:
        mu = inside @ phantom.mu
    in_box = ((points > phantom.bounds[0]) & (points < phantom.bounds[1])).all(axis=1)
    return np.where(in_box, mu, 0.0)


def random_rays(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    origins = rng.normal(size=(count, 3))
    origins *= 500.0 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.uniform(-80.0, 80.0, (count, 3)) - origins
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_the_chord_of_a_sphere():
    phantom = Phantom(
        np.array([[10.0, 0.0, 0.0]]),
        np.full((1, 3), 30.0),
        np.eye(3)[None],
        np.array([0.2]),
        np.array([[-100.0] * 3, [100.0] * 3]),
        "ball",
    )
    origins = np.array([[10.0, -500.0, 0.0], [28.0, -500.0, 0.0], [41.0, -500.0, 0.0], [10.0, 0.0, 0.0]])
    p = phantom.line_integrals(origins, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(p, [1.2, 2 * 24.0 * 0.02, 0.0, 0.6], atol=1e-12)  # the last begins in the middle


@pytest.mark.parametrize("kind", KINDS)
def test_line_integrals_are_those_of_many_samples(kind):
    rng = np.random.default_rng(fresh_seed())
    phantom = ellipsoid_phantom(kind, int(rng.integers(1000)))
    origins, directions = random_rays(rng, 4)
    steps = np.arange(250.0, 750.0, 0.25) + 0.125
    exact = phantom.line_integrals(origins, directions)
    for ray in range(len(origins)):
        mu = sampled_mu(phantom, origins[ray] + steps[:, None] * directions[ray])
        assert exact[ray] == pytest.approx(mu.sum() * 0.025, abs=0.06)
    assert exact.max() > 0.5
    assert (exact >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_voxels_hold_what_rays_measure(kind):
    phantom = ellipsoid_phantom(kind, 3)
    volume = phantom.volume(64)
    np.testing.assert_allclose(volume.bounds, phantom.bounds, atol=1e-9)
    mu, steps = volume.mu().astype(np.float64), volume.spacing
    # All of it: voxels against a fine bundle of parallel rays.
    x, z = (np.linspace(*phantom.bounds[:, axis], 301) for axis in (0, 2))
    x, z = 0.5 * (x[1:] + x[:-1]), 0.5 * (z[1:] + z[:-1])
    grid = np.stack(np.meshgrid(x, [-500.0], z, indexing="ij"), axis=-1)
    mean = phantom.line_integrals(grid, np.array([0.0, 1.0, 0.0])).mean()
    sides = phantom.bounds[1] - phantom.bounds[0]
    assert mu.sum() * np.prod(steps) / sides[0] / sides[2] / 10 == pytest.approx(mean, rel=2e-3)
    # A voxel that no surface cuts has the attenuation of its middle.
    index = np.argwhere(np.ptp(np.lib.stride_tricks.sliding_window_view(mu, (3, 3, 3)), axis=(3, 4, 5)) < 1e-6) + 1
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    some = np.random.default_rng(0).choice(len(points), 500)
    np.testing.assert_allclose(mu[tuple(index[some].T)], sampled_mu(phantom, points[some]), atol=1e-5)


def test_what_stands_out_of_the_box_is_cut():
    phantom = ellipsoid_phantom("chest", 1)
    above = np.array([[-500.0, 0.0, 165.0], [-500.0, 0.0, 155.0]])
    p = phantom.line_integrals(above, np.array([1.0, 0.0, 0.0]))
    assert p[0] == 0.0 and p[1] > 3.0
    down = phantom.line_integrals(np.array([60.0, -10.0, 900.0]), np.array([0.0, 0.0, -1.0]))
    assert down < MATERIALS["soft tissue"] * 32.0


def test_patients_differ_and_keep_their_anatomy():
    seed = fresh_seed() % 100000
    volumes = {kind: [ellipsoid_phantom(kind, seed + n).volume(48) for n in range(3)] for kind in KINDS}
    for kind, some in volumes.items():
        again = ellipsoid_phantom(kind, seed).volume(48)
        np.testing.assert_array_equal(again.values, some[0].values)
        assert np.ptp([v.values for v in some], axis=0).max() > 50
        for volume in some:
            np.testing.assert_array_equal(volume.affine, again.affine)
            mu = hu_to_mu(volume.values)
            assert mu.min() == 0.0 and 0.25 < mu.max() < 3.3
    for chest in volumes["chest"]:
        body = chest.values > -300
        x = np.flatnonzero(body[:, :, 24].any(axis=1))
        assert 290 < (np.ptp(x) + 1) * chest.spacing[0] < 380
        lung = (chest.values > -900) & (chest.values < -500)
        assert 2.0 < lung.sum() * np.prod(chest.spacing) / 1e6 < 7.0  # litres
        # Before the spine, on the height of the heart, there is more soft tissue on the left, which is -x.
        middle = np.argwhere(chest.values[:, :18] > 250)[:, 0].mean()
        y, z = ((np.array([0.0, 60.0]) + 150.0) / chest.spacing[1]).astype(int), int((-50.0 + 160.0) / chest.spacing[2])
        soft = (chest.values[:, y[0] : y[1], z] > 0) & (chest.values[:, y[0] : y[1], z] < 200)
        x = np.argwhere(soft)[:, 0] - middle
        x = x[np.abs(x) < 100.0 / chest.spacing[0]]
        assert (x < 0).sum() > 1.1 * (x > 0).sum()
        assert (chest.values[20:28, : chest.shape[1] // 2] > 200).sum() > (chest.values[20:28, 25:] > 200).sum()


def test_names_of_phantoms():
    assert parse_phantom("scan.nii.gz") is None
    assert parse_phantom("phantom:knee:7").name == "phantom:knee:7"
    assert parse_phantom("phantom:knee").name == "phantom:knee:0"
    for wrong in ("phantom:", "phantom:head:1", "phantom:knee:-1", "phantom:knee:x", "phantom:knee:9999999999"):
        with pytest.raises(NerfError, match="phantom"):
            parse_phantom(wrong)
    for shape in (0, 100000, (3, 3)):
        with pytest.raises(NerfError, match="voxels"):
            ellipsoid_phantom("ellipsoids").volume(shape)


def test_the_head_of_shepp_and_logan():
    head = ellipsoid_phantom("shepp-logan").volume(64)
    mu = head.mu()
    x, y, z = np.round((np.array([[0, 0, 20], [22, 0, 0], [0, 90.5, 0], [99, 99, 99]]) + 100) / 3.125 - 0.5).T.astype(
        int
    )
    np.testing.assert_allclose(mu[x, y, z][[0, 1, 3]], [0.1, 0.0, 0.0], atol=1e-3)
    assert mu[x, y, z][2] > 0.25
