"""Rays taken apart that a sampler of `nerf_core.samplers` places the samples of: its stages, as a trace."""

import numpy as np
import torch
from torch import Tensor

from ..samplers.base import Evaluation, Field, Sampler, Samples
from ..samplers.evaluation import evaluate
from .trace import StageSamples, Stretches, Trace, assemble, join


@torch.no_grad()
def trace_sampler(
    sampler: Sampler,
    field: Field,
    rays: tuple[Tensor, Tensor, Tensor, Tensor],
    budget: int,
    length: float,
    origins: np.ndarray,
    directions: np.ndarray,
    at_once: int,
    true_depth: Tensor | None = None,
) -> Trace:
    """Every sample of every stage.

    Parameters
    ----------
    sampler : Sampler
    field : Field
        What the last stage's samples are evaluated with, in the sampler's space.
    rays : origins, directions (R, 3), t_near, t_far (R,) tensors
        In the sampler's space; a ray that misses has ``t_near >= t_far``.
    budget : int
        Of the sampler's last stage.
    length : float
        Units of the sampler's space per world unit.
    origins, directions : (R, 3) arrays
        The same rays in the world.
    at_once : int
        Rays at a time: bounds the memory of their points.
    true_depth : (R,) tensor, optional
        For the oracle, in the sampler's space.
    """
    parts = []
    for start in range(0, max(len(origins), 1), at_once):
        part = slice(start, start + at_once)
        some = rays[0][part], rays[1][part], rays[2][part], rays[3][part]
        known = None if true_depth is None else true_depth[part]
        parts.append((start, _trace(sampler, field, some, budget, length, origins[part], directions[part], known)))
    return join(parts)


def _trace(
    sampler: Sampler,
    field: Field,
    rays: tuple[Tensor, Tensor, Tensor, Tensor],
    budget: int,
    length: float,
    origins: np.ndarray,
    directions: np.ndarray,
    true_depth: Tensor | None,
) -> Trace:
    o, d, t_near, t_far = rays
    rows = (t_far > t_near).nonzero()[:, 0]
    box = _numbers(t_near) / length, _numbers(t_far) / length
    stages: list[tuple[Samples, Evaluation]] = []
    bins = skips = None
    full = np.zeros(len(t_near), np.int64)
    density_only, proposal = np.zeros_like(full), 0
    if len(rows):
        o, d = o[rows], d[rows]
        known_depth = None if true_depth is None else true_depth[rows]
        for samples, known in sampler.trace(o, d, t_near[rows], t_far[rows], budget, known_depth):
            stages.append((samples, known or evaluate(field, samples, o, d, sampler.opacity)))
        last = stages[-1][0]
        bins, skips = _bins(last, rows, length), _skips(last, rows, length)
        where = rows.cpu().numpy()
        full[where] = last.counts.cpu().numpy() + last.cost.full
        own = last.cost.density_only
        density_only[where] = own.cpu().numpy() if isinstance(own, Tensor) else own
        proposal = last.cost.proposal
    packed = [_packed(samples, evaluation, rows, length) for samples, evaluation in stages] or [_nothing()]
    return assemble(origins, directions, box, packed, bins, skips, full, density_only, proposal)


def _packed(samples: Samples, evaluation: Evaluation, rows: Tensor, length: float) -> StageSamples:
    """A stage's rows behind each other, in world units, without samples that stand for nothing."""
    kept = (samples.dt > 0) if samples.valid is None else samples.valid
    kept = kept.flatten()
    color = (
        evaluation.color if evaluation.has_color else torch.zeros_like(evaluation.density)[..., None].repeat(1, 1, 3)
    )

    def flat(values: Tensor, per: float = 1.0) -> np.ndarray:
        return _numbers(values.reshape(-1, *values.shape[2:])[kept]) * per

    return StageSamples(
        ray=rows[:, None].expand_as(samples.t).reshape(-1)[kept].cpu().numpy(),
        t=flat(samples.t, 1.0 / length),
        t0=flat(samples.t0, 1.0 / length),
        t1=flat(samples.t1, 1.0 / length),
        density=flat(evaluation.density, length),
        color=flat(color),
        weight=flat(evaluation.weights),
        transmittance=flat(evaluation.transmittance),
        optical_depth=flat(evaluation.optical_depth),
    )


def _bins(samples: Samples, rows: Tensor, length: float) -> Stretches | None:
    if samples.bins is None:
        return None
    edges, weights = _numbers(samples.bins.edges) / length, _numbers(samples.bins.weights)
    ray = np.repeat(rows.cpu().numpy(), weights.shape[1])
    return Stretches(ray, edges[:, :-1].ravel(), edges[:, 1:].ravel(), weights.ravel())


def _skips(samples: Samples, rows: Tensor, length: float) -> Stretches | None:
    if samples.skipped is None:
        return None
    real = samples.skipped.t1 > samples.skipped.t0
    row, _ = torch.nonzero(real, as_tuple=True)
    ray = rows[row].cpu().numpy()
    t0, t1 = (_numbers(each[real]) / length for each in (samples.skipped.t0, samples.skipped.t1))
    # Neighbours are one stretch.
    begins = np.r_[True, (ray[1:] != ray[:-1]) | (t0[1:] > t1[:-1] + 1e-5 * np.maximum(t1[:-1], 1.0))][: len(ray)]
    ends = np.r_[begins[1:], True][: len(ray)]
    return Stretches(ray[begins], t0[begins], t1[ends])


def _numbers(tensor: Tensor) -> np.ndarray:
    """As float64, which Apple's GPUs do not know."""
    return tensor.cpu().numpy().astype(np.float64)


def _nothing() -> StageSamples:
    none = np.zeros(0)
    return StageSamples(np.zeros(0, int), none, none, none, none, np.zeros((0, 3)), none, none, none)
