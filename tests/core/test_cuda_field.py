"""The CUDA backend's networks and optimiser (K3, K5, K6, K8) against the torch reference, fp16 and fp32."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.kernels.cuda import networks, optimiser  # noqa: E402
from nerf_core.kernels.reference import field  # noqa: E402
from nerf_core.kernels.reference.optimiser import adam  # noqa: E402

from .cuda_case import (  # noqa: E402
    BLOCK,
    CAPACITY,
    CHOICE,
    COUNT,
    HALF,
    ODD_LEVELS,
    POISON,
    SCENES,
    Case,
    close,
    rounded_forward,
    tensor,
)
from .fast_field import SMALL, fresh_seed  # noqa: E402


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


# Networks ------------------------------------------------------------------------------------------------------


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
