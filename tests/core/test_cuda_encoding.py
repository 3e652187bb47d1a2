"""The CUDA backend's encoding (K2, K7) against the torch reference, values and gradients, fp16 and fp32."""

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.fields.hash_grid import HASH_PRIMES  # noqa: E402
from nerf_core.kernels.cuda import encoding  # noqa: E402
from nerf_core.kernels.reference import field  # noqa: E402

from .cuda_case import (  # noqa: E402
    BLOCK,
    CAPACITY,
    CHOICE,
    COUNT,
    HALF,
    ODD_LEVELS,
    POISON,
    SCENES,
    TWO_FEATURES,
    Case,
    close,
    tensor,
)
from .fast_field import SMALL, fresh_seed  # noqa: E402


@pytest.fixture
def generator():
    return np.random.default_rng(fresh_seed())


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
