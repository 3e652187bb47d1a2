"""Rays taken apart that a sampler of `nerf_core.samplers` places the samples of: its stages, as a trace."""

import numpy as np
import torch
from torch import Tensor

from ..samplers.base import Evaluation, FieldFunction, Sampler, Samples
from ..samplers.hierarchical import evaluate
from .trace import StageSamples, Stretches, Trace, assemble


@torch.no_grad()
def trace_sampler(
    sampler: Sampler,
    field: FieldFunction,
    rays: tuple[Tensor, Tensor, Tensor, Tensor],
    budget: int,
    length: float,
    origins: np.ndarray,
    directions: np.ndarray,
) -> Trace:
    """Every sample of every stage.

    Parameters
    ----------
    sampler : Sampler
    field : callable
        What the last stage's samples are evaluated with, in the sampler's space.
    rays : origins, directions (R, 3), t_near, t_far (R,) tensors
        In the sampler's space; a ray that misses has ``t_near >= t_far``.
    budget : int
        Of the sampler's last stage.
    length : float
        Units of the sampler's space per world unit.
    origins, directions : (R, 3) arrays
        The same rays in the world.
    """
    o, d, t_near, t_far = rays
    rows = (t_far > t_near).nonzero()[:, 0]
    box = t_near.double().cpu().numpy() / length, t_far.double().cpu().numpy() / length
    stages: list[tuple[Samples, Evaluation]] = []
    bins = None
    if len(rows):
        o, d = o[rows], d[rows]
        for samples, known in sampler.trace(o, d, t_near[rows], t_far[rows], budget):
            stages.append((samples, known or evaluate(field, samples, o, d)))
        bins = _bins(stages[-1][0], rows, length)
    packed = [_packed(samples, evaluation, rows, length) for samples, evaluation in stages] or [_nothing()]
    cost = sampler.cost()
    full = np.bincount(packed[-1].ray, minlength=len(t_near)) + cost.full
    return assemble(origins, directions, box, packed, bins, None, full, cost.density_only)


def _packed(samples: Samples, evaluation: Evaluation, rows: Tensor, length: float) -> StageSamples:
    """A stage's rows behind each other, in world units, without samples that stand for nothing."""
    depth = samples.optical_depth_hint
    if depth is None:
        depth = evaluation.density * samples.dt
    kept = (samples.dt > 0).flatten()

    def flat(values: Tensor, per: float = 1.0) -> np.ndarray:
        return (values.reshape(-1, *values.shape[2:])[kept].double() * per).cpu().numpy()

    return StageSamples(
        ray=rows[:, None].expand_as(samples.t).reshape(-1)[kept].cpu().numpy(),
        t=flat(samples.t, 1.0 / length),
        t0=flat(samples.t0, 1.0 / length),
        t1=flat(samples.t1, 1.0 / length),
        density=flat(evaluation.density, length),
        color=flat(evaluation.color),
        weight=flat(evaluation.weights),
        transmittance=flat(evaluation.transmittance),
        optical_depth=flat(depth),
    )


def _bins(samples: Samples, rows: Tensor, length: float) -> Stretches | None:
    if samples.bins is None:
        return None
    edges = samples.bins.edges.double().cpu().numpy() / length
    weights = samples.bins.weights.double().cpu().numpy()
    ray = np.repeat(rows.cpu().numpy(), weights.shape[1])
    return Stretches(ray, edges[:, :-1].ravel(), edges[:, 1:].ravel(), weights.ravel())


def _nothing() -> StageSamples:
    none = np.zeros(0)
    return StageSamples(np.zeros(0, int), none, none, none, none, np.zeros((0, 3)), none, none, none)
