"""Every part of the torch oracle, and the whole loss, against finite differences in float64 on fresh random inputs."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from nerf_core.fields.hash_grid import MAX_LOG_DENSITY, FastLayout, FastSettings
from nerf_core.kernels.reference import field, volume
from nerf_core.kernels.reference.contraction import contract
from nerf_core.samplers.lattice import Lattice

from .fast_field import fresh_seed, random_parameters, random_rays

SETTINGS = FastSettings(
    scene="bounded",
    levels=4,
    base_resolution=2,
    max_resolution=16,
    log2_table_size=10,
    occupancy_resolution=8,
    ray_steps=16,
    density_width=16,
    color_width=16,
)
LAYOUT = FastLayout.from_settings(SETTINGS)
KINK = 1e-3
"""How far inputs stay from where a function has a corner, in units of the differences that are taken (1e-6) or more."""


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def tensor(array, leaf=True):
    return torch.from_numpy(np.asarray(array, np.float64)).requires_grad_(leaf)


def leaves_of(generator, density_shift=0.0):
    parameters = random_parameters(LAYOUT, generator, density_shift=density_shift)
    return {name: tensor(array) for name, array in parameters.items()}


def unit_vectors(generator, count):
    vectors = generator.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def inside_cells(generator, count):
    """Positions that no level's cell walls are near to."""
    positions = generator.uniform(0.0, 1.0, (20 * count, 3))
    scaled = positions[:, None, :] * LAYOUT.resolutions[:, None]
    clear = (np.abs(scaled - np.round(scaled)) > KINK).all(axis=(1, 2))
    return positions[clear][:count]


def clear_of_kinks(make, hidden):
    """What `make` gives, drawn again until no hidden unit is near to where ReLU bends."""
    while True:
        made = make()
        if hidden(*made).abs().min() > 1e-4:
            return made


def test_encode_by_table_and_position(generator):
    positions = inside_cells(generator, 3)
    table = random_parameters(LAYOUT, generator)["table"].astype(np.float64)
    rows = np.unique(field_rows(positions))
    assert len(rows) > 3 * 8

    def encode(some_rows, at):
        whole = torch.from_numpy(table).index_copy(0, torch.from_numpy(rows), some_rows)
        return field.encode(LAYOUT, whole, at)

    assert gradcheck(encode, (tensor(table[rows]), tensor(positions)))


def field_rows(positions) -> np.ndarray:
    """The table rows that any of these positions is interpolated from."""
    found = []
    for level in range(LAYOUT.levels):
        lowest = torch.from_numpy(np.floor(positions * LAYOUT.resolutions[level]).astype(np.int64))
        for corner in range(8):
            step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
            found.append(field.corner_rows(LAYOUT, level, lowest + step).numpy())
    return np.concatenate(found)


def test_encode_gives_nothing_to_other_rows(generator):
    positions = inside_cells(generator, 7)
    table = tensor(random_parameters(LAYOUT, generator)["table"])
    (gradient,) = torch.autograd.grad(field.encode(LAYOUT, table, tensor(positions, False)).sum(), table)
    touched = np.flatnonzero(gradient.abs().sum(dim=1).numpy())
    assert set(touched) <= set(field_rows(positions).tolist())
    # Interpolation weights sum to one, on every level and for every feature.
    assert gradient.sum().item() == pytest.approx(7 * LAYOUT.levels * LAYOUT.features)


def test_spherical_harmonics(generator):
    assert gradcheck(field.spherical_harmonics, (tensor(unit_vectors(generator, 4)),))


def test_density_network(generator):
    def make():
        parameters = leaves_of(generator)
        encoded = tensor(generator.normal(size=(3, LAYOUT.shapes["density_0"][0])))
        return encoded, parameters["density_0"], parameters["density_1"]

    inputs = clear_of_kinks(make, lambda encoded, first, _: encoded @ first)
    assert gradcheck(
        lambda encoded, first, second: field.density_network({"density_0": first, "density_1": second}, encoded), inputs
    )


def test_color_network(generator):
    def make():
        parameters = leaves_of(generator)
        features, harmonics = (tensor(generator.normal(size=(3, 16))) for _ in range(2))
        return features, harmonics, parameters["color_0"], parameters["color_1"]

    inputs = clear_of_kinks(make, lambda features, harmonics, first, _: torch.cat([features, harmonics], 1) @ first)
    assert gradcheck(
        lambda features, harmonics, first, second: field.color_network(
            {"color_0": first, "color_1": second}, features, harmonics
        ),
        inputs,
    )


def test_density_of(generator):
    log_density = generator.uniform(-8, MAX_LOG_DENSITY - 1, 8)
    assert gradcheck(field.density_of, (tensor(log_density),))
    beyond = tensor([MAX_LOG_DENSITY + 2, MAX_LOG_DENSITY + 40.0])
    density = field.density_of(beyond)
    (gradient,) = torch.autograd.grad(density.sum(), beyond)
    # Clamped, but not stuck: the gradient is that of exp at the clamp.
    assert density.tolist() == pytest.approx([np.exp(MAX_LOG_DENSITY)] * 2)
    assert gradient.tolist() == pytest.approx(density.tolist())


def random_samples(generator, counts):
    """Packed samples of rays with these numbers of samples, whose intervals differ."""
    ray = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    total = len(ray)
    interval = tensor(generator.uniform(0.05, 0.4, total), False)
    distance = tensor(np.sort(generator.uniform(0.5, 3.0, total)), False)
    samples = volume.Samples(ray, distance, torch.zeros(total, 3).double(), interval)
    return samples, tensor(generator.uniform(0.1, 5.0, total)), tensor(generator.uniform(0, 1, (total, 3)))


def test_composite(generator):
    counts = generator.integers(0, 6, 6).tolist() + [0, 7]
    samples, density, color = random_samples(generator, counts)

    def composite(some_density, some_color):
        seen = volume.composite(samples, some_density, some_color, samples.interval, len(counts))
        return seen.color, seen.alpha, seen.depth, seen.weights

    assert gradcheck(composite, (density, color))


def test_composite_with_thresholds(generator):
    """What is selected gets the true gradient, all else held; what is not selected gets none."""
    samples, density, color = random_samples(generator, [9, 0, 14, 3])
    thresholds = 0.02, 0.05
    selected = volume.select(samples.ray, density.detach(), samples.interval, 4, *thresholds)[2]
    assert selected.any() and not selected.all()

    def composite(some_density, some_color):
        at = torch.nonzero(selected)[:, 0]
        whole = density.detach().index_copy(0, at, some_density), color.detach().index_copy(0, at, some_color)
        seen = volume.composite(samples, *whole, samples.interval, 4, *thresholds)
        return seen.color, seen.alpha

    weights, passing, _ = volume.select(samples.ray, density.detach(), samples.interval, 4, 0.0, 0.0)
    clear = (weights - thresholds[0]).abs().min() > 1e-5 and (passing - thresholds[1]).abs().min() > 1e-5
    if clear:  # a difference must not carry a sample over a threshold
        chosen = density.detach()[selected].requires_grad_(), color.detach()[selected].requires_grad_()
        assert gradcheck(composite, chosen)
    seen = volume.composite(samples, density, color, samples.interval, 4, *thresholds)
    gradients = torch.autograd.grad(seen.color.sum() + seen.alpha.sum(), (density, color))
    assert not any(gradient[~selected].any() for gradient in gradients)


def test_loss(generator):
    samples, density, color = random_samples(generator, [4, 0, 6])
    target, background = (tensor(generator.uniform(0, 1, (3, 3)), False) for _ in range(2))

    def loss(some_density, some_color):
        seen = volume.composite(samples, some_density, some_color, samples.interval, 3)
        return volume.loss(seen, target, background)

    assert gradcheck(loss, (density, color))


def whole_loss(generator, unbounded):
    """The loss of a batch of rays as a function of all parameters: marched, encoded, coloured, composited."""
    rays = 24
    origins, directions = (tensor(array, False) for array in random_rays(generator, rays))
    directions = directions / directions.norm(dim=1, keepdim=True)
    cells = torch.from_numpy(generator.uniform(size=(8, 8, 8)) < 0.7)
    jitter = tensor(generator.uniform(size=rays), False)
    if unbounded:
        samples = volume.march_unbounded(origins, directions, cells, Lattice(0.1, 1 / 8), jitter)
        grid = contract(samples.position)
    else:
        box = tensor([[0, 0, 0], [1, 1, 0.875]], False)
        samples = volume.march(origins, directions, box, cells, 0.1, jitter)
        grid = samples.position
    assert samples.position.dtype == torch.float64 and len(samples.ray) > 2 * rays
    target, background = (tensor(generator.uniform(0, 1, (rays, 3)), False) for _ in range(2))

    def total(parameters):
        density, color = field.query(LAYOUT, parameters, grid, directions[samples.ray])
        seen = volume.composite(samples, density, color, samples.interval, rays)
        return volume.loss(seen, target, background)

    return total


@pytest.mark.parametrize("unbounded", [False, True], ids=["bounded", "unbounded"])
def test_the_whole_loss(generator, unbounded):
    """Along random directions through all parameters of one array at a time, and through all at once."""
    parameters = leaves_of(generator, density_shift=0.3)
    total = whole_loss(generator, unbounded)
    gradients = dict(zip(parameters, torch.autograd.grad(total(parameters), list(parameters.values())), strict=True))
    for names in [*([name] for name in parameters), list(parameters)]:
        for _ in range(3):
            along = {name: tensor(generator.normal(size=parameters[name].shape), False) for name in names}
            expected = sum((gradients[name] * direction).sum() for name, direction in along.items()).item()

            def moved(by, along=along):
                with torch.no_grad():
                    changed = {name: value + by * along[name] for name, value in parameters.items() if name in along}
                    return total({**parameters, **changed}).item()

            # Two widths, of which the nearer counts: a ReLU's corner that lies between spoils the wider one.
            found = [(moved(width) - moved(-width)) / (2 * width) for width in (1e-5, 1e-6, 1e-7)]
            scale = max(abs(expected), 1e-3 * sum(gradients[name].norm().item() for name in names))
            assert min(abs(value - expected) for value in found) < 1e-5 * scale, (names, expected, found)
