"""Proposal networks beside the fast field: they learn from its densities between its steps, whatever computes those."""

from collections.abc import Mapping

import numpy as np
import torch

from ..contract.errors import CheckpointError
from ..fields.proposal import ProposalField
from ..kernels.backend import FastBackend
from ..kernels.reference.contraction import contract
from ..kernels.reference.pixels import Pixels
from ..kernels.views import ViewArrays
from ..samplers.base import Evaluation, Samples
from ..samplers.evaluation import evaluate
from ..samplers.proposal import Proposal
from .sampled import BackendField, spacing_of, unit_rays

COUNTS = (128, 48)
"""Samples of each round."""
RESOLUTIONS = (64, 256)
EVERY = 4
"""Steps of the field between two of the networks."""
RAYS = 256
SAMPLES = 32
STRETCH = 1 / 128
"""Unit-cube lengths over which densities are compared."""
RATE, FINAL_RATE = 1e-2, 1e-3
MOMENTS = ("exp_avg", "exp_avg_sq")
PARAMETERS, ADAM = "params/proposal/", "adam/proposal/"


class Proposals:
    """Two rounds of networks and their optimiser.

    Parameters
    ----------
    backend : FastBackend
        The field.
    """

    def __init__(self, backend: FastBackend) -> None:
        self.backend, self._field = backend, BackendField(backend)
        if backend.unbounded:
            bounds, to_cells = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]), contract
        else:
            bounds, to_cells = torch.from_numpy(backend.box), None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(backend.seed)
            networks = [ProposalField(bounds, size, to_cells, self._field.knows) for size in RESOLUTIONS]
        self._generator = torch.Generator()
        self.sampler = Proposal(networks, COUNTS, self._generator, spacing_of(backend), self._field)
        self._parameters = dict(self.sampler.parameters())
        self._optimiser = torch.optim.Adam(self._parameters.values(), lr=RATE, betas=(0.9, 0.99), eps=1e-15)
        self._pixels: Pixels | None = None

    def load_views(self, views: ViewArrays) -> None:
        """Take the training pixels, for their rays."""
        self._pixels = Pixels(views, False, torch.device("cpu"))

    def drop_views(self) -> None:
        """Let go of them."""
        self._pixels = None

    def after_step(self, progress: float) -> float | None:
        """Learn from the field as it is after its step; gives the interlevel loss where it was time."""
        step = self.backend.step
        if step % EVERY or self._pixels is None:
            return None
        # By the step, so that a continued run draws what an uninterrupted one would.
        seed = np.random.SeedSequence([self.backend.seed, step, 2]).generate_state(1)[0]
        self._generator.manual_seed(int(seed))
        batch = self._pixels.sample(RAYS, self._generator)
        o, d, near, far = unit_rays(self.backend, batch.origins.numpy(), batch.directions.numpy(), None)
        rows = (far > near).nonzero()[:, 0]
        self.sampler.update_to(step)
        if not len(rows):
            return None
        samples = self.sampler.sample(o[rows], d[rows], near[rows], far[rows], SAMPLES, training=True)
        with torch.no_grad():
            found = evaluate(self._field, samples, o[rows], d[rows], with_color=False)
        loss = torch.stack(self.sampler.losses(samples, found, lambda *_: torch.zeros(()))).sum()
        loss = loss + sum(self._off(stage, own, o[rows], d[rows]) for stage, own in samples.stages)
        for group in self._optimiser.param_groups:
            group["lr"] = RATE * (FINAL_RATE / RATE) ** min(max(progress, 0.0), 1.0)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return float(loss.detach())

    def _off(self, stage: Samples, own: Evaluation, origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """How far a round's densities are from the field's where it looked, as what passes a stretch of `STRETCH`.

        The interlevel loss alone takes millions of rays to say where light is stopped; a training of a minute has some
        hundred thousand, and the field can be asked.
        """
        with torch.no_grad():
            truth = self._field.query_density(stage.positions(origins, directions))
            there = own.density > 0  # it is 0 where nothing is known, and nowhere else
        off = torch.exp(-STRETCH * own.density) - torch.exp(-STRETCH * truth)
        return (off * off).sum() / there.sum().clamp_min(1)

    # State

    def arrays(self) -> dict[str, np.ndarray]:
        """Copies of the parameters and of Adam's moments, once there are any."""
        arrays = {PARAMETERS + name: _copy(parameter) for name, parameter in self._parameters.items()}
        for name, parameter in self._parameters.items():
            state = self._optimiser.state.get(parameter, {})
            arrays |= {f"{ADAM}{moment}/{name}": _copy(state[moment]) for moment in MOMENTS if moment in state}
        return arrays

    @torch.no_grad()
    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`arrays` gave; a `CheckpointError` where it is not all there.

        Moments may be absent as a whole: a snapshot has none.
        """
        with_moments = any(name.startswith(ADAM) for name in arrays)
        for name, parameter in self._parameters.items():
            parameter.copy_(self._checked(arrays, PARAMETERS + name, parameter))
            self._optimiser.state.pop(parameter, None)
            if with_moments:
                moments = {moment: self._checked(arrays, f"{ADAM}{moment}/{name}", parameter) for moment in MOMENTS}
                made = torch.tensor(float(self.backend.step // EVERY))
                self._optimiser.state[parameter] = {"step": made, **moments}

    @staticmethod
    def _checked(arrays: Mapping[str, np.ndarray], key: str, like: torch.Tensor) -> torch.Tensor:
        found = arrays.get(key)
        if found is None or tuple(found.shape) != tuple(like.shape) or not np.issubdtype(found.dtype, np.floating):
            raise CheckpointError(
                f"The checkpoint's array '{key}' is missing or not {'x'.join(map(str, like.shape))} numbers; "
                "the file does not belong to this run."
            )
        if not np.isfinite(found).all():
            raise CheckpointError(f"The checkpoint's array '{key}' holds NaN or infinity.")
        return torch.tensor(np.asarray(found, np.float32))


def _copy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()
