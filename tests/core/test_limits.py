"""Rays that are only looked along from one distance to another, on every backend."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.kernels.cpu.backend import CpuBackend
from nerf_core.kernels.reference.backend import ReferenceBackend
from nerf_core.methods.classic import ClassicMethod

from .fast_field import NORMALISATION, SMALL, fresh_seed, random_parameters, random_rays, state_arrays

BOX = NORMALISATION.unit_bounds
# No thresholds: then what pieces of a ray give is exactly what the whole ray gives.
BOUNDED = replace(SMALL, scene="bounded", weight_threshold=0.0, transmittance_threshold=0.0)
UNBOUNDED = replace(BOUNDED, scene="unbounded", step_growth=1 / 16)
RAYS = 90


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def make(kind, settings, generator, **more):
    backend = kind(settings, BOX, 0, **more)
    arrays = state_arrays(backend, random_parameters(backend.layout, generator, density_shift=0.5))
    values = arrays["occupancy/values"]
    lit = generator.uniform(size=values.shape) < 0.5
    arrays["occupancy/values"] = np.where(values < 0, values, 1e3 * lit).astype(np.float32)
    backend.load_arrays({name: array.astype(np.float32) for name, array in arrays.items()})
    return backend


def over(parts):
    """Pieces of rays (rgba, depth), front to back, put together."""
    rgba, distance = np.zeros_like(parts[0][0]), np.zeros_like(parts[0][1])
    for color, depth, _ in parts:
        through = 1.0 - rgba[:, 3]
        distance += through * color[:, 3] * depth
        rgba += through[:, None] * color
    return rgba, distance / np.maximum(rgba[:, 3], 1e-9)


def cuts_along(generator, count, farthest):
    """Ends of pieces that cover whole rays, at any places."""
    cuts = np.sort(generator.uniform(0.0, farthest, (3, count)), axis=0)
    return np.concatenate([np.zeros((1, count)), cuts, np.full((1, count), 1e30)]).astype(np.float32)


@pytest.mark.parametrize("settings", [BOUNDED, UNBOUNDED], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("kind", [CpuBackend, ReferenceBackend])
def test_pieces_of_rays_are_together_the_rays(kind, settings, generator):
    backend = make(kind, settings, generator)
    rays = random_rays(generator, RAYS)
    ends = cuts_along(generator, RAYS, 2.5)
    rgba, depth, samples = backend.render(*rays)
    parts = [backend.render(*rays, np.stack(pair, axis=-1)) for pair in zip(ends[:-1], ends[1:], strict=True)]
    assert rgba[:, 3].max() > 0.5
    # The lattice stays where it is: no point is met twice, none is lost.
    assert sum(part[2] for part in parts) == samples
    together, mean = over(parts)
    np.testing.assert_allclose(together, rgba, atol=3e-5)
    seen = rgba[:, 3] > 0.05
    np.testing.assert_allclose(mean[seen], depth[seen], rtol=1e-3)
    none = backend.render(*rays, np.stack([ends[2], ends[1]], axis=-1))
    assert none[2] == 0 and not none[0].any() and not none[1].any()


@pytest.mark.parametrize("settings", [BOUNDED, UNBOUNDED], ids=["bounded", "unbounded"])
def test_limits_of_the_cpu_and_the_reference_agree(settings, generator):
    backend = make(CpuBackend, settings, generator)
    reference = ReferenceBackend(settings, BOX, 0)
    reference.load_arrays(backend.arrays())
    rays = random_rays(generator, RAYS)
    limits = np.sort(generator.uniform(0.2, 3.0, (RAYS, 2)), axis=-1).astype(np.float32)
    (rgba, depth, _), (expected, far, _) = (each.render(*rays, limits) for each in (backend, reference))
    close = np.abs(rgba - expected).max(axis=1) < 2e-3  # but for rays that a cell's wall gave or took a sample
    assert close.mean() > 0.95 and expected[:, 3].max() > 0.3
    seen = close & (expected[:, 3] > 0.1)
    np.testing.assert_allclose(depth[seen], far[seen], rtol=2e-2)
    assert (depth[seen] > limits[seen, 0]).all() and (depth[seen] < limits[seen, 1]).all()


def test_the_classic_method_sees_nothing_outside_limits(generator):
    method = ClassicMethod(NORMALISATION, settings={"preset": "small"})
    target = generator.uniform(-0.5, 0.5, (40, 3))
    origins = target + 4.0 * np.array([1.0, 0.0, 0.0])
    directions = np.tile([-1.0, 0.0, 0.0], (40, 1))
    whole = method.render_rays(origins, directions)
    same = method.render_rays(origins, directions, np.tile([0.0, np.inf], (40, 1)))
    np.testing.assert_array_equal(whole.rgba, same.rgba)
    limits = np.tile([3.5, 4.0], (40, 1))
    part = method.render_rays(origins, directions, limits)
    assert (part.depth[part.rgba[:, 3] > 0] >= 3.5).all() and (part.depth <= 4.0).all()
    assert (part.rgba[:, 3] <= whole.rgba[:, 3] + 1e-3).all() and part.rgba[:, 3].max() > 0
    assert not method.render_rays(origins, directions, np.tile([4.0, 3.5], (40, 1))).rgba.any()
