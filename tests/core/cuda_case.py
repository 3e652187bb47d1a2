"""What tests of the CUDA field kernels share: a small field with packed samples, and how its numbers are compared."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the CUDA kernels are written in Triton, which is not installed")

from nerf_core.fields.hash_grid import FastLayout, FastSettings  # noqa: E402
from nerf_core.kernels.cuda import backward, encoding, networks  # noqa: E402
from nerf_core.kernels.reference import field  # noqa: E402
from nerf_core.kernels.reference.contraction import contract  # noqa: E402

from .fast_field import SMALL, random_parameters  # noqa: E402

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
