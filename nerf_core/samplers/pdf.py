"""Drawing places along rays from densities that are known piece by piece, by inverting their CDFs.

Four shapes of a piece, each inverted in closed form:

* constant (Mildenhall et al. 2020, section 5.2): `sample_pdf`, `quantiles`;
* that of light stopped by a density which goes linearly from sample to sample (Uy et al. 2023, "NeRF Revisited: Fixing
  Quadrature Instability in Volume Rendering", section 4.3): `sample_linear_opacity`;
* exponential between weights at samples (Li and Zhang 2024, "L0-Sampler", eq. 7 to 9): `sample_exponential`.
"""

import torch
from torch import Tensor

FLOOR = 1e-5
"""Added to every weight of `sample_pdf`: the PDF of an empty ray is uniform, that of any other hardly changes."""
EMPTY_DEPTH = 1e-4
"""Optical depth that a whole empty ray is given by `sample_linear_opacity`, for the same reason."""
EXPONENTIAL_FLOOR = 1e-3
"""Added to every weight before `sample_exponential`, as the authors do."""


def unit_draws(
    rows: int, count: int, like: Tensor, deterministic: bool, generator: torch.Generator | None = None
) -> Tensor:
    """(rows, count) numbers in [0, 1): evenly spaced quantiles, or random ones."""
    if deterministic:
        steps = (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count
        return steps.expand(rows, count).contiguous()
    return torch.rand((rows, count), generator=generator, device=like.device, dtype=like.dtype)


def invert_cdf(edges: Tensor, mass: Tensor, u: Tensor) -> Tensor:
    """Where piecewise-constant densities have passed the shares `u` of their mass.

    Parameters
    ----------
    edges : (R, B + 1) tensor
        Ascending.
    mass : (R, B) tensor
        Of the bins; not negative, with a sum above 0 in every row.
    u : (R, N) tensor in [0, 1]

    Returns
    -------
    (R, N) tensor
    """
    below, fraction = _find(mass, u)
    start, end = edges.gather(-1, below), edges.gather(-1, below + 1)
    return start + fraction * (end - start)


def sample_pdf(
    edges: Tensor, weights: Tensor, count: int, deterministic: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Draw from piecewise-constant densities by inverting their CDFs.

    Parameters
    ----------
    edges : (R, B + 1) tensor
        Ascending edges of the bins.
    weights : (R, B) tensor
        Not negative; need not sum to 1. A row of zeros is sampled uniformly.
    count : int
        Samples a row.
    deterministic : bool
        Take `count` evenly spaced quantiles instead of random ones.
    generator : torch.Generator, optional

    Returns
    -------
    (R, count) tensor
        Ascending when `deterministic`; else in random order.
    """
    u = unit_draws(len(weights), count, weights, deterministic, generator)
    return invert_cdf(edges, weights + FLOOR, u)


def sample_linear_opacity(t: Tensor, density: Tensor, t_far: Tensor, u: Tensor) -> Tensor:
    """Where light is stopped that meets a density which goes linearly from sample to sample, and stays after the last.

    Parameters
    ----------
    t, density : (R, S) tensors
    t_far : (R,) tensor
    u : (R, N) tensor in [0, 1)
        Shares of all the light that is stopped between the first sample and `t_far`.

    Returns
    -------
    (R, N) tensor
    """
    edges = torch.cat([t, torch.maximum(t_far, t[:, -1])[:, None]], dim=-1)
    length = edges.diff(dim=-1)
    whole = (edges[:, -1:] - edges[:, :1]).clamp_min(1e-12)
    at_edges = torch.cat([density, density[:, -1:]], dim=-1) + EMPTY_DEPTH / whole
    start, end = at_edges[:, :-1], at_edges[:, 1:]
    before = torch.cumsum(0.5 * (start + end) * length, dim=-1)
    before = torch.cat([torch.zeros_like(before[:, :1]), before], dim=-1)
    # Transmittance falls to 1 - u * alpha where the optical depth is minus its logarithm.
    wanted = torch.minimum(-torch.log1p(u * torch.expm1(-before[:, -1:])), before[:, -1:])
    below = (torch.searchsorted(before, wanted.contiguous(), right=True) - 1).clamp(0, length.shape[1] - 1)
    depth = (wanted - before.gather(-1, below)).clamp_min(0.0)
    dt, a, b = length.gather(-1, below), start.gather(-1, below), end.gather(-1, below)
    # a x + (b - a) x^2 / (2 dt) = depth, by the form of the root that does not cancel.
    root = torch.sqrt((a * a + 2.0 * (b - a) * depth / dt.clamp_min(1e-12)).clamp_min(0.0))
    x = 2.0 * depth / (a + root).clamp_min(1e-30)
    return edges.gather(-1, below) + torch.minimum(x, dt)


def linear_opacity_mass(t: Tensor, density: Tensor, t_far: Tensor) -> Tensor:
    """(R, S) shares of the light that `sample_linear_opacity` draws from each interval."""
    edges = torch.cat([t, torch.maximum(t_far, t[:, -1])[:, None]], dim=-1)
    whole = (edges[:, -1:] - edges[:, :1]).clamp_min(1e-12)
    at_edges = torch.cat([density, density[:, -1:]], dim=-1) + EMPTY_DEPTH / whole
    depth = torch.cumsum(0.5 * (at_edges[:, :-1] + at_edges[:, 1:]) * edges.diff(dim=-1), dim=-1)
    passed = torch.cat([torch.zeros_like(depth[:, :1]), -torch.expm1(-depth)], dim=-1)
    return passed.diff(dim=-1) / passed[:, -1:]


def blurred_maximum(weights: Tensor) -> Tensor:
    """(R, S) mean of a weight's two maxima with its neighbours (Barron et al. 2021, "Mip-NeRF", section 3.1)."""
    padded = torch.cat([weights[:, :1], weights, weights[:, -1:]], dim=-1)
    highest = torch.maximum(padded[:, :-1], padded[:, 1:])
    return 0.5 * (highest[:, :-1] + highest[:, 1:])


def exponential_mass(t: Tensor, weights: Tensor) -> Tensor:
    """(R, S - 1) integrals of ``a (b / a)^x`` between weights a, b > 0 at neighbouring samples."""
    a, b = weights[:, :-1], weights[:, 1:]
    rate = torch.log(b / a)
    flat = rate.abs() < 1e-3
    curved = (b - a) / torch.where(flat, torch.ones_like(rate), rate)
    # Where a and b are nearly the same, the quotient's series: a (1 + r / 2 + r^2 / 6).
    return torch.where(flat, a * (1.0 + 0.5 * rate + rate * rate / 6.0), curved) * t.diff(dim=-1)


def sample_exponential(t: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Draw between samples from weights that go exponentially from one to the next.

    Parameters
    ----------
    t, weights : (R, S) tensors
        Weights above 0.
    u : (R, N) tensor in [0, 1)

    Returns
    -------
    (R, N) tensor
    """
    below, fraction = _find(exponential_mass(t, weights), u)
    a, b = weights.gather(-1, below), weights.gather(-1, below + 1)
    rate = torch.log(b / a)
    flat = rate.abs() < 1e-3
    safe = torch.where(flat, torch.ones_like(rate), rate)
    curved = torch.log1p(fraction * torch.expm1(safe)) / safe
    straight = fraction + 0.5 * rate * fraction * (1.0 - fraction)
    x = torch.where(flat, straight, curved).clamp(0.0, 1.0)
    start, end = t.gather(-1, below), t.gather(-1, below + 1)
    return start + x * (end - start)


def _find(mass: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """The bins (R, N) in which shares of a row's mass lie, and which fraction of the bin's mass is before them."""
    cdf = torch.cumsum(mass, dim=-1)
    cdf = torch.cat([torch.zeros_like(cdf[:, :1]), cdf / cdf[:, -1:]], dim=-1)
    above = torch.searchsorted(cdf, u.contiguous(), right=True).clamp(1, cdf.shape[-1] - 1)
    below = above - 1
    before, after = cdf.gather(-1, below), cdf.gather(-1, above)
    return below, ((u - before) / (after - before).clamp_min(1e-8)).clamp(0.0, 1.0)
