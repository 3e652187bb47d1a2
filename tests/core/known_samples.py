"""A method whose samples along every ray are known: 8 in full sampling, or fewer of these."""

import numpy as np

from nerf_core.contract.samplers import SamplerChoice
from nerf_core.methods.base import RayColors, Trace
from nerf_core.methods.cost import RenderCost

from .analytic import Balls

WEIGHTS = np.array([0.0, 0.05, 0.1, 0.2, 0.3, 0.15, 0.05, 0.05])
PLACES = 2.0 + np.arange(8) * 0.01
VOXEL = 2.0 / 128.0  # of the box of `Balls`
COLORS = np.linspace(0.2, 0.9, 24).reshape(8, 3)
FULL = SamplerChoice("occupancy")


class KnownSamples(Balls):
    """What each sampler picks: all, or the heaviest `samples`; rays that look down (z < 0) meet nothing."""

    def picked(self, sampler) -> np.ndarray:
        count = 8 if sampler is None or sampler.samples is None else sampler.samples
        return np.sort(np.argsort(-WEIGHTS)[:count])

    @property
    def full_sampling(self):
        return FULL

    @property
    def trained_sampler(self):
        return FULL

    def render_rays(self, origins, directions, limits=None, sampler=None, true_depth=None) -> RayColors:
        picked, hit = self.picked(sampler), directions[:, 2] >= 0
        rgba = np.zeros((len(origins), 4), np.float32)
        rgba[hit, :3] = (WEIGHTS[picked, None] * COLORS[picked]).sum(axis=0)
        rgba[hit, 3] = WEIGHTS[picked].sum()
        depth = np.where(hit, (WEIGHTS * PLACES)[picked].sum() / WEIGHTS[picked].sum(), 0.0).astype(np.float32)
        count = np.where(hit, len(picked), 0).astype(np.int32)
        cost = RenderCost.of_rays(count, rgba[:, 3])
        return RayColors(rgba, depth, int(count.sum()), count, cost)

    def trace_rays(self, origins, directions, sampler=None, true_depth=None):
        picked, hit = self.picked(sampler), np.flatnonzero(directions[:, 2] >= 0)
        ray = np.repeat(hit, len(picked)).astype(np.int32)
        t, weight = (np.tile(values[picked], len(hit)).astype(np.float32) for values in (PLACES, WEIGHTS))
        ones = np.ones(len(ray), np.uint8)
        known = {"ray": ray, "t": t, "weight": weight, "stage": ones.astype(np.int32), "selected": ones}
        nothing = np.zeros(0, np.float32)
        return Trace(**{name: known.get(name, nothing) for name in Trace.__dataclass_fields__})
