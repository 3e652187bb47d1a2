"""CTs and meshes in one place: the higher priority replaces the other, to the exact surface."""

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.xray import ConeBeam
from nerf_core.ct import Volume
from nerf_core.ct.phantoms import ellipsoid_phantom
from nerf_core.xray.mesh_integrals import MeshSource, Solid
from nerf_core.xray.overlap import OverlapSource
from nerf_core.xray.projector import MODELS, project_between, project_volume
from nerf_core.xray.sources import PhantomSource, SumSource, VolumeSource

from ..seeds import fresh_seed
from .test_xray_meshes import CUBE, CUBE_FACES, box_chords

# The world is metres: a body of 20 cm, a cube of 6 cm within it.
HALF = 0.03
MATRIX = np.array([[0.8, -0.6, 0, 0.01], [0.6, 0.8, 0, 0], [0, 0, 1, -0.02], [0, 0, 0, 1]])


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def water(cells=(20, 18, 16), hu=0.0):
    """A block of one attenuation about the origin, in voxels of 10 mm."""
    affine = np.diag([10.0, 10.0, 10.0, 1.0])
    affine[:3, 3] = -10.0 * (np.array(cells) - 1) / 2
    return Volume(np.full(cells, hu, np.float32), affine, "block")


def cube(half=HALF, mu=50.0, priority=0, name="cube"):
    return Solid(name, CUBE * half, CUBE_FACES, mu, priority)


def camera_of(generator):
    beam = ConeBeam(0.5, 0.8, (0.4, 0.4), (40, 40))
    return beam.camera(generator.uniform(-0.01, 0.01, 3), float(generator.uniform(0, 360)))


def chords(camera, half=HALF):
    origins, directions = (part.reshape(-1, 3) for part in camera.rays())
    return box_chords(origins, directions, half).reshape(camera.height, camera.width)


@pytest.mark.parametrize("model", MODELS)
def test_a_mesh_in_a_ct_takes_the_tissues_place(generator, model):
    ct, camera = VolumeSource(water(), MATRIX, model=model), camera_of(generator)
    together = OverlapSource([(ct, 0)], [cube()])
    mu = 100.0 * water().mu().max()
    expected = ct.line_integrals(camera) + (50.0 - mu) * chords(camera)
    np.testing.assert_allclose(together.line_integrals(camera), expected, atol=2e-5)
    assert chords(camera).max() > 0.05 and together.patients() == ct.patients()
    # Of air it takes nothing; twice, one in the other, it takes the tissue once.
    hollow = OverlapSource([(ct, 0)], [cube(mu=0.0), cube(half=0.02, mu=0.0, priority=1)])
    np.testing.assert_allclose(hollow.line_integrals(camera), expected - 50.0 * chords(camera), atol=2e-5)
    apart = OverlapSource([(ct, 0)], [Solid("far", CUBE * 0.01 + 1.0, CUBE_FACES, 50.0)])
    np.testing.assert_array_equal(apart.line_integrals(camera), ct.line_integrals(camera))


def test_a_mesh_in_a_phantom_is_exact(generator):
    phantom = PhantomSource(ellipsoid_phantom("ellipsoids", int(generator.integers(100))), None, MATRIX, 1.0)
    camera = camera_of(generator)
    origins, directions = (part.reshape(-1, 3) for part in camera.rays())
    found = OverlapSource([(phantom, 0)], [cube()]).line_integrals(camera)
    # By its values at places along the rays.
    t = np.linspace(0.35, 0.65, 6001)
    hit = np.flatnonzero(chords(camera).reshape(-1) > 0.01)
    for ray in generator.choice(hit, 12, replace=False):
        inside = (np.abs(origins[ray] + t[:, None] * directions[ray]) < HALF).all(axis=1)
        ends = t[inside][[0, -1]]
        lost = phantom.between(origins[[ray]], directions[[ray]], ends[:1], ends[1:])[0]
        whole = phantom.line_integrals(camera).reshape(-1)[ray]
        expected = whole - lost + 50.0 * box_chords(origins[[ray]], directions[[ray]], HALF)[0]
        assert found.reshape(-1)[ray] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("model", MODELS)
def test_stretches_that_follow_one_another_add_up(generator, model):
    values = generator.uniform(0, 2, (9, 11, 13)).astype(np.float32)
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(generator.normal(size=(3, 3)))[0] * 0.1
    matrix[:3, 3] = generator.uniform(-0.5, 0.5, 3)
    middle = matrix[:3, :3] @ (4.0, 5.0, 6.0) + matrix[:3, 3]
    origins = middle + 3.0 * generator.normal(size=(300, 3))
    aims = middle + generator.uniform(-0.5, 0.5, (300, 3))
    origins[:50] = aims[:50]  # from within it
    directions = middle + generator.uniform(-0.4, 0.4, (300, 3)) - origins
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cuts = np.sort(generator.uniform(0, 12, (300, 5)), axis=1)
    cuts[:, 0], cuts[:, -1] = -1.0, 40.0
    parts = [project_between(values, matrix, origins, directions, cuts[:, i], cuts[:, i + 1], model) for i in range(4)]
    whole = project_volume(values, matrix, origins, directions, model)
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, atol=1e-5)
    assert (whole > 0.1).mean() > 0.5 and min(part.max() for part in parts) > 0


def test_what_has_the_higher_priority_counts(generator):
    """A block of water in a basin of oil, and a screw through both."""
    ct, camera = VolumeSource(water((10, 10, 10))), camera_of(generator)
    oil, screw = cube(0.08, 15.0, -1, "oil"), cube(0.02, 300.0, 5, "screw")
    mu = 100.0 * water().mu().max()
    block, core = chords(camera, 0.05), chords(camera, 0.02)
    found = OverlapSource([(ct, 0)], [oil, screw]).line_integrals(camera)
    expected = 15.0 * (chords(camera, 0.08) - block) + mu * (block - core) + 300.0 * core
    # Joseph's samples fade out within half a voxel of the block's faces; the middle is exact.
    full = np.abs(ct.line_integrals(camera) - mu * block) < 1e-4
    assert full.mean() > 0.3
    np.testing.assert_allclose(found[full], expected[full], atol=3e-4)
    # The same oil before the CT: nothing of the block is left.
    drowned = OverlapSource([(ct, -2)], [oil, screw]).line_integrals(camera)
    alone = MeshSource([oil, screw]).line_integrals(camera)
    np.testing.assert_allclose(drowned, alone, atol=2e-3 * alone.max())


def test_cts_of_one_priority_add_up_and_of_two_replace(generator):
    camera = camera_of(generator)
    large, small = VolumeSource(water()), VolumeSource(water((6, 6, 6), 1000.0))
    sums = SumSource([large, small]).line_integrals(camera)
    np.testing.assert_allclose(
        OverlapSource([(large, 1), (small, 1)], [cube(0.001, 0.0)]).line_integrals(camera)[0], sums[0], atol=1e-4
    )
    mu = 100.0 * water().mu().max()
    replaced = OverlapSource([(large, 0), (small, 1)], []).line_integrals(camera)
    np.testing.assert_allclose(replaced, sums - mu * chords(camera, 0.03), atol=2e-5)


def test_a_source_within_the_mesh_sees_what_is_beyond(generator):
    ct = VolumeSource(water((40, 40, 40)))
    inside = Camera(8, 8, 8.0, 8.0, 4.0, 4.0, look_at(np.zeros(3), np.array([0.0, 1.0, 0.0])))
    found = OverlapSource([(ct, 0)], [cube(mu=0.0)]).line_integrals(inside)
    mu = 100.0 * water().mu().max()
    np.testing.assert_allclose(found, mu * (chords(inside, 0.2) - chords(inside)), atol=2e-2 * found.max())
