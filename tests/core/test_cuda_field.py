"""The CUDA backend's field kernels (K2, K3, K5-K8) against the torch reference, values and gradients, fp16 and fp32."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.fields.hash_grid import HASH_PRIMES, FastLayout, FastSettings  # noqa: E402
from nerf_core.kernels.cuda import backward, encoding, networks, optimiser  # noqa: E402
from nerf_core.kernels.reference import field  # noqa: E402
from nerf_core.kernels.reference.contraction import contract  # noqa: E402
from nerf_core.kernels.reference.optimiser import adam  # noqa: E402

from .fast_field import SMALL, fresh_seed, random_parameters  # noqa: E402

BLOCK = 128
"""Samples that a program takes at once here; nothing below has a multiple of it."""
COUNT = 300
CAPACITY = 345
RAYS = 40
POISON = 77.0
HALF = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
SCENES = pytest.mark.parametrize("unbounded", [False, True], ids=["bounded", "unbounded"])
CHOICE = pytest.mark.parametrize("selecting", [False, True], ids=["all", "selected"])
TWO_FEATURES = replace(SMALL, levels=8, features=2)
ODD_LEVELS = replace(SMALL, levels=12, base_resolution=2)
"""Levels that are no power of two."""


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


def tensor(array, dtype=torch.float32):
    return torch.from_numpy(np.ascontiguousarray(array)).to(dtype)


class Case:
    """A small field, rays, packed samples at random distances on them, and buffers that are poisoned beforehand."""

    def __init__(self, device, generator, settings: FastSettings = SMALL, dtype=torch.float32, unbounded=False):
        self.device, self.dtype, self.unbounded = device, dtype, unbounded
        self.layout = FastLayout.from_settings(settings)
        found = random_parameters(self.layout, generator)
        # What both sides compute with: the reference is told of what fp16 has rounded away.
        self.parameters = {name: tensor(array, dtype).float().to(device) for name, array in found.items()}
        self.table = self.parameters["table"].to(dtype)
        self.weights = torch.cat([self.parameters[name].reshape(-1) for name in networks.weight_names(self.layout)]).to(
            dtype
        )
        self.levels = encoding.level_table(self.layout).to(device)
        self.sizes = encoding.encoding_sizes(self.layout)
        self.network_sizes = networks.network_sizes(self.layout)
        self.columns = self.layout.levels * self.layout.features
        direction = generator.normal(size=(RAYS, 3))
        self.direction = tensor(direction / np.linalg.norm(direction, axis=1, keepdims=True)).to(device)
        self.origin = tensor(generator.uniform(0.3, 0.7, (RAYS, 3))).to(device)
        self.s_ray = tensor(np.sort(generator.integers(0, RAYS, CAPACITY)), torch.int32).to(device)
        far = 3.0 * generator.random(CAPACITY) ** 3 * 8 if unbounded else 0.3 * generator.random(CAPACITY)
        self.s_t = tensor(far).to(device)
        self.state = torch.zeros(16, dtype=torch.int32, device=device)
        self.state[2] = COUNT
        self.selected = torch.full((CAPACITY,), -1, dtype=torch.int32, device=device)

    def select(self, generator, count=170) -> torch.Tensor:
        """Choose `count` of the samples, in no order; gives a mask of all of them."""
        chosen = tensor(generator.permutation(COUNT)[:count], torch.int32).to(self.device)
        self.selected[:count] = chosen
        self.state[4] = count
        mask = torch.zeros(CAPACITY, dtype=torch.bool, device=self.device)
        mask[chosen.long()] = True
        return mask

    def empty(self, *shape, dtype=torch.float32) -> torch.Tensor:
        return torch.full(shape, POISON, dtype=dtype, device=self.device)

    def random(self, generator, *shape) -> torch.Tensor:
        return tensor(generator.normal(size=shape)).to(self.device)

    def random_gradients(self, generator, encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of log densities and logits; zero for samples that lie at a corner of a ReLU."""
        steady = torch.ones(CAPACITY, dtype=torch.bool, device=self.device)
        steady[:COUNT] = rounded_forward(self, encoded[:COUNT].float()).steady
        d_log, d_logit = self.random(generator, CAPACITY), self.random(generator, CAPACITY, 3)
        return d_log * steady, d_logit * steady[:, None]

    def grid_positions(self, count=COUNT) -> torch.Tensor:
        ray = self.s_ray[:count].long()
        position = self.origin[ray] + self.s_t[:count, None] * self.direction[ray]
        return contract(position) if self.unbounded else position.clamp(0, 1)

    def encode(self) -> torch.Tensor:
        encoded = self.empty(CAPACITY, self.columns, dtype=self.dtype)
        encoding.launch_encode_samples(
            self.table,
            self.levels,
            self.origin,
            self.direction,
            self.s_ray,
            self.s_t,
            self.state,
            encoded,
            self.sizes,
            self.unbounded,
            block=BLOCK,
        )
        return encoded

    def forward(self, encoded) -> SimpleNamespace:
        out = SimpleNamespace(
            density=self.empty(CAPACITY),
            rgb=self.empty(CAPACITY, 3),
            geo=self.empty(CAPACITY, 16, dtype=self.dtype),
        )
        networks.launch_field_forward(
            encoded,
            self.weights,
            self.direction,
            self.s_ray,
            self.state,
            out.density,
            out.rgb,
            out.geo,
            self.network_sizes,
            block=BLOCK,
            programs=2,
        )
        return out

    def backward(self, encoded, geo, d_log_density, d_rgb_logit, selecting=False) -> SimpleNamespace:
        """K5 and K6; two programs, so that each takes several blocks."""
        out = SimpleNamespace(
            d_geo=self.empty(CAPACITY, 16, dtype=self.dtype),
            d_encoded=self.empty(CAPACITY, self.columns, dtype=self.dtype),
            d_weights=torch.zeros(len(self.weights), device=self.device),
        )
        options = {"selected": self.selected if selecting else None, "block": 64, "programs": 2}
        backward.launch_colour_backward(
            geo,
            self.weights,
            self.direction,
            self.s_ray,
            self.state,
            d_rgb_logit,
            out.d_geo,
            out.d_weights,
            self.network_sizes,
            **options,
        )
        backward.launch_density_backward(
            encoded,
            self.weights,
            self.state,
            d_log_density,
            out.d_geo,
            out.d_encoded,
            out.d_weights,
            self.network_sizes,
            **options,
        )
        return out

    def scatter(self, d_encoded, d_table, selecting=False) -> torch.Tensor:
        encoding.launch_encode_backward(
            self.levels,
            self.origin,
            self.direction,
            self.s_ray,
            self.s_t,
            self.state,
            d_encoded,
            d_table,
            self.sizes,
            self.unbounded,
            selected=self.selected if selecting else None,
            block=BLOCK,
        )
        return d_table

    def split(self, flat) -> dict[str, torch.Tensor]:
        """The flat buffer's matrices by name."""
        offsets = networks.weight_offsets(self.layout)
        names = networks.weight_names(self.layout)
        return {
            name: flat[offsets[name] :][: int(np.prod(self.layout.shapes[name]))].reshape(self.layout.shapes[name])
            for name in names
        }


def close(found, expected, relative):
    """Every number within `relative` of the largest expected one."""
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=relative * float(expected.abs().max()))


# Encoding ------------------------------------------------------------------------------------------------------


@HALF
@pytest.mark.parametrize("settings", [SMALL, TWO_FEATURES, ODD_LEVELS], ids=["F4", "F2", "12 levels"])
def test_encoding_of_positions(kernel_device, generator, settings, dtype):
    case = Case(kernel_device, generator, settings, dtype)
    positions = tensor(generator.random((CAPACITY, 3))).to(kernel_device)
    positions[:4] = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1, 0, 0.5], [0.25, 1, 0.75]])
    encoded = case.empty(CAPACITY, case.columns, dtype=dtype)
    encoding.launch_encode_positions(case.table, case.levels, positions, encoded, COUNT, case.sizes, block=BLOCK)
    expected = field.encode(case.layout, case.parameters["table"], positions[:COUNT])
    close(encoded[:COUNT], expected, 1e-5 if dtype == torch.float32 else 1e-3)
    assert (encoded[COUNT:] == POISON).all()


@HALF
def test_hash_wraps_around_as_64_bits_do(kernel_device, generator, dtype):
    """At fine levels the products pass 32 bits many times; every row must be the one that 64 bits give."""
    settings = replace(SMALL, base_resolution=4096, max_resolution=65536, log2_table_size=12)
    case = Case(kernel_device, generator, settings, dtype)
    # With few digits, so that their products with the resolutions are exact however they are computed.
    positions = tensor(generator.integers(64, 128, (COUNT, 3)) / 128).to(kernel_device)
    assert 0.5 * case.layout.resolutions.min() * HASH_PRIMES[1] > 2**40 and not case.layout.dense.any()
    encoded = case.empty(COUNT, case.columns, dtype=dtype)
    encoding.launch_encode_positions(case.table, case.levels, positions, encoded, COUNT, case.sizes, block=BLOCK)
    expected = field.encode(case.layout, case.parameters["table"], positions)
    close(encoded, expected, 1e-5 if dtype == torch.float32 else 1e-3)


@SCENES
def test_encoding_of_samples(kernel_device, generator, unbounded):
    case = Case(kernel_device, generator, unbounded=unbounded)
    encoded = case.encode()
    positions = case.grid_positions()
    if unbounded:
        assert ((positions - 0.5).abs().amax(1) > 0.25).any()
    close(encoded[:COUNT], field.encode(case.layout, case.parameters["table"], positions), 1e-4)
    assert (encoded[COUNT:] == POISON).all()


@pytest.mark.parametrize("cursor", [0, CAPACITY + 1000], ids=["no sample", "overflow"])
def test_packed_counts_at_their_ends(kernel_device, generator, cursor):
    """Without a sample nothing is written; a cursor past the buffers' end is the buffers' end."""
    case = Case(kernel_device, generator)
    case.state[2] = cursor
    encoded = case.encode()
    out = case.forward(encoded)
    gradients = case.backward(encoded, out.geo, case.random(generator, CAPACITY), case.random(generator, CAPACITY, 3))
    d_table = case.scatter(gradients.d_encoded, torch.zeros_like(case.parameters["table"]))
    written = [encoded, out.density, out.rgb, out.geo, gradients.d_geo, gradients.d_encoded]
    if cursor:
        assert all((part != POISON).all() for part in written)
        assert gradients.d_weights.any() and d_table.any()
    else:
        assert all((part == POISON).all() for part in written)
        assert not gradients.d_weights.any() and not d_table.any()


@CHOICE
@pytest.mark.parametrize("settings", [SMALL, TWO_FEATURES, ODD_LEVELS], ids=["F4", "F2", "12 levels"])
def test_encoding_gradient(kernel_device, generator, settings, selecting):
    case = Case(kernel_device, generator, settings, unbounded=selecting)
    d_encoded = case.random(generator, CAPACITY, case.columns)
    d_encoded[::7] = 0
    mask = torch.ones(CAPACITY, dtype=torch.bool, device=kernel_device)
    if selecting:
        mask = case.select(generator)
        d_encoded[~mask] = torch.nan  # never to be read
    before = case.random(generator, *case.layout.shapes["table"])
    found = case.scatter(d_encoded, before.clone(), selecting) - before
    table = case.parameters["table"].clone().requires_grad_()
    encoded = field.encode(case.layout, table, case.grid_positions())
    keep = mask[:COUNT]
    (expected,) = torch.autograd.grad((encoded[keep] * d_encoded[:COUNT][keep]).sum(), table)
    close(found, expected, 2e-4)


def test_encoding_gradient_in_fp16(kernel_device, generator):
    case = Case(kernel_device, generator, dtype=torch.float16)
    d_encoded = case.random(generator, CAPACITY, case.columns).half()
    table = case.parameters["table"].clone().requires_grad_()
    found = case.scatter(d_encoded, torch.zeros_like(case.table))
    encoded = field.encode(case.layout, table, case.grid_positions())
    (expected,) = torch.autograd.grad((encoded * d_encoded[:COUNT].float()).sum(), table)
    close(found, expected, 5e-3)


def test_encoding_gradient_of_a_bad_step_is_left_out(kernel_device, generator):
    case = Case(kernel_device, generator)
    case.state[5] = 1
    d_table = case.scatter(case.random(generator, CAPACITY, case.columns), torch.zeros_like(case.table))
    assert not d_table.any()


# Networks ------------------------------------------------------------------------------------------------------


def rounded_forward(case, encoded) -> SimpleNamespace:
    """The networks on given encodings, rounded wherever the kernels store or multiply in fp16."""

    def narrow(x):
        return x.to(case.dtype).float()

    ray = case.s_ray[: len(encoded)].long()
    p = case.parameters
    inner = encoded @ p["density_0"]
    hidden = narrow(torch.relu(inner))
    features = hidden @ p["density_1"]
    x = narrow(torch.cat([features, field.spherical_harmonics(case.direction)[ray]], 1))
    color_inner = x @ p["color_0"]
    color_hidden = narrow(torch.relu(color_inner))
    # Where rounding may decide on which side of the ReLU's corner a number lies, a gradient says nothing.
    margin = 1e-5 if case.dtype == torch.float32 else 2e-3
    steady = (inner.abs().amin(1) > margin) & (color_inner.abs().amin(1) > margin)
    assert steady.float().mean() > 0.5
    logits = color_hidden @ p["color_1"]
    return SimpleNamespace(
        hidden=hidden, features=features, x=x, color_hidden=color_hidden, logits=logits, steady=steady
    )


@HALF
@pytest.mark.parametrize("settings", [SMALL, ODD_LEVELS], ids=["16 inputs", "48 inputs"])
def test_field_forward(kernel_device, generator, settings, dtype):
    case = Case(kernel_device, generator, settings, dtype)
    encoded = case.random(generator, CAPACITY, case.columns).to(dtype)
    out = case.forward(encoded)
    expected = rounded_forward(case, encoded[:COUNT].float())
    relative = 1e-5 if dtype == torch.float32 else 1e-3
    close(out.geo[:COUNT], expected.features, relative)
    density = field.density_of(expected.features[:, 0])
    torch.testing.assert_close(out.density[:COUNT], density, rtol=50 * relative, atol=0)
    close(out.rgb[:COUNT], torch.sigmoid(expected.logits), 2 * relative)
    assert all((part[COUNT:] == POISON).all() for part in (out.density, out.rgb, out.geo))
    if dtype == torch.float32:
        color = field.color_network(
            case.parameters, expected.features, field.spherical_harmonics(case.direction)[case.s_ray[:COUNT].long()]
        )
        close(out.rgb[:COUNT], color, 1e-5)
    density_only = case.empty(CAPACITY)
    networks.launch_density_forward(
        encoded, case.weights, density_only, COUNT, case.network_sizes, block=BLOCK, programs=2
    )
    torch.testing.assert_close(density_only[:COUNT], density, rtol=50 * relative, atol=0)
    assert (density_only[COUNT:] == POISON).all()


def test_density_is_clamped(kernel_device, generator):
    case = Case(kernel_device, generator)
    encoded = 100 * case.random(generator, CAPACITY, case.columns)
    density = case.forward(encoded).density[:COUNT]
    largest = float(torch.exp(torch.tensor(15.0)))
    assert density.isfinite().all() and 0.99 * largest < density.max() < 1.01 * largest


# Gradients -----------------------------------------------------------------------------------------------------


def rounded_backward(case, encoded, d_log_density, d_rgb_logit, keep) -> SimpleNamespace:
    """The gradients of both networks by the chain rule, rounded wherever the kernels round, of samples in `keep`."""

    def narrow(x):
        return x.to(case.dtype).float()

    p = case.parameters
    forward = rounded_forward(case, encoded)
    d_logit = narrow(d_rgb_logit) * keep[:, None]
    d_color_hidden = narrow((d_logit @ p["color_1"].T) * (forward.color_hidden > 0))
    d_geo = narrow(d_color_hidden @ p["color_0"][:16].T)
    d_features = d_geo.clone()
    d_features[:, 0] += d_log_density * keep
    d_features = narrow(d_features)
    d_hidden = narrow((d_features @ p["density_1"].T) * (forward.hidden > 0))
    weights = {
        "color_1": forward.color_hidden.T @ d_logit,
        "color_0": forward.x.T @ d_color_hidden,
        "density_1": forward.hidden.T @ d_features,
        "density_0": encoded.T @ d_hidden,
    }
    return SimpleNamespace(d_geo=d_geo, d_encoded=d_hidden @ p["density_0"].T, weights=weights)


@CHOICE
@HALF
@pytest.mark.parametrize("settings", [SMALL, ODD_LEVELS], ids=["16 inputs", "48 inputs"])
def test_network_gradients(kernel_device, generator, settings, dtype, selecting):
    case = Case(kernel_device, generator, settings, dtype)
    encoded = case.random(generator, CAPACITY, case.columns).to(dtype)
    geo = case.forward(encoded).geo
    d_log, d_logit = case.random_gradients(generator, encoded)
    keep = torch.ones(COUNT, dtype=torch.bool, device=kernel_device)
    if selecting:
        mask = case.select(generator)
        d_log[~mask], d_logit[~mask], keep = torch.nan, torch.nan, mask[:COUNT]
    found = case.backward(encoded, geo, d_log, d_logit, selecting)
    expected = rounded_backward(
        case, encoded[:COUNT].float(), d_log[:COUNT].nan_to_num(), d_logit[:COUNT].nan_to_num(), keep
    )
    relative = 1e-5 if dtype == torch.float32 else 3e-3
    close(found.d_geo[:COUNT][keep], expected.d_geo[keep], relative)
    close(found.d_encoded[:COUNT][keep], expected.d_encoded[keep], relative)
    for name, gradient in case.split(found.d_weights).items():
        close(gradient, expected.weights[name], relative)
    assert case.state[5] == 0
    for part in (found.d_geo, found.d_encoded):
        assert (part[COUNT:] == POISON).all() and (part[:COUNT][~keep] == POISON).all()


@SCENES
def test_whole_field_against_autograd(kernel_device, generator, unbounded):
    """From a function of log densities and logits back to every parameter, through all kernels one after the other."""
    case = Case(kernel_device, generator, unbounded=unbounded)
    encoded = case.encode()
    out = case.forward(encoded)
    d_log, d_logit = case.random_gradients(generator, encoded)
    found = case.backward(encoded, out.geo, d_log, d_logit)
    found_table = case.scatter(found.d_encoded, torch.zeros_like(case.parameters["table"]))
    parameters = {name: value.clone().requires_grad_() for name, value in case.parameters.items()}
    features = field.density_network(parameters, field.encode(case.layout, parameters["table"], case.grid_positions()))
    harmonics = field.spherical_harmonics(case.direction)[case.s_ray[:COUNT].long()]
    hidden = torch.relu(torch.cat([features, harmonics], 1) @ parameters["color_0"])
    total = (features[:, 0] * d_log[:COUNT]).sum() + ((hidden @ parameters["color_1"]) * d_logit[:COUNT]).sum()
    total.backward()
    close(found_table, parameters["table"].grad, 3e-4)
    for name, gradient in case.split(found.d_weights).items():
        close(gradient, parameters[name].grad, 3e-4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["density", "colour"])
def test_gradients_that_are_not_finite_raise_the_flag(kernel_device, generator, place, value):
    case = Case(kernel_device, generator)
    encoded = case.random(generator, CAPACITY, case.columns)
    geo = case.forward(encoded).geo
    d_log, d_logit = torch.zeros(CAPACITY, device=kernel_device), torch.zeros(CAPACITY, 3, device=kernel_device)
    (d_log if place == "density" else d_logit[:, 1])[150] = value
    case.backward(encoded, geo, d_log, d_logit)
    assert case.state[5] > 0


def test_gradients_that_fp16_cannot_hold_are_clamped(kernel_device, generator):
    case = Case(kernel_device, generator, dtype=torch.float16)
    case.weights *= 4  # so that even the largest number of the layer above becomes too large, whatever the weights are
    encoded = case.random(generator, CAPACITY, case.columns).half()
    geo = case.forward(encoded).geo
    d_log = torch.full((CAPACITY,), 1e6, device=kernel_device)
    found = case.backward(encoded, geo, d_log, case.random(generator, CAPACITY, 3))
    assert found.d_encoded[:COUNT].isfinite().all() and found.d_encoded[:COUNT].abs().max() == 65504
    assert found.d_weights.isfinite().all() and case.state[5] == 0


# Adam ----------------------------------------------------------------------------------------------------------


@HALF
def test_adam(kernel_device, generator, dtype):
    """Five steps with gradients in some lines only, in fp16 or fp32, against the reference's."""
    size, scale, rate = 16 * 150, 1024.0, 1e-2
    found = [tensor(generator.normal(size=size)).to(kernel_device), *torch.zeros(2, size, device=kernel_device)]
    expected = [part.clone() for part in found]
    computing = found[0].half()
    state_i = torch.zeros(16, dtype=torch.int32, device=kernel_device)
    state_f = torch.zeros(16, device=kernel_device)
    state_f[0] = rate
    for step in range(5):
        gradient = tensor(generator.normal(size=size)).to(kernel_device)
        gradient[tensor(np.repeat(generator.random(150) < 0.6, 16), torch.bool)] = 0
        gradient[5] = 0  # in a line that may have others
        gradient = (scale * gradient).to(dtype)
        adam(*expected, gradient.float() / scale, rate, 0.9, 0.99, 1e-15, step + 1)
        state_i[0] = step
        optimiser.launch_adam(*found, gradient, computing, state_i, state_f, scale, 0.9, 0.99, 1e-15, lines=64)
        assert not gradient.any()
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(computing, found[0].half())


def test_adam_leaves_a_bad_step_alone(kernel_device, generator):
    parts = [tensor(generator.random(160)).to(kernel_device) for _ in range(3)]
    before = [part.clone() for part in parts]
    gradient = tensor(generator.normal(size=160)).to(kernel_device)
    gradient[3] = torch.nan
    state_i = torch.zeros(16, dtype=torch.int32, device=kernel_device)
    state_i[5] = 1
    computing = torch.full((160,), POISON, device=kernel_device, dtype=torch.float16)
    state_f = torch.ones(16, device=kernel_device)
    optimiser.launch_adam(*parts, gradient, computing, state_i, state_f, 1.0, 0.9, 0.99, 1e-15)
    assert all((a == b).all() for a, b in zip(parts, before, strict=True))
    assert (computing == POISON).all() and not gradient.any()


def test_adam_takes_whole_lines_only():
    wrong = torch.zeros(24)
    with pytest.raises(ValueError, match="whole lines"):
        optimiser.launch_adam(wrong, wrong, wrong, wrong, wrong, wrong, wrong, 1.0, 0.9, 0.99, 1e-15)
