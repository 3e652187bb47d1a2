"""The 2020 NeRF as published, in plain torch: for understanding and comparing, so all its sizes are settings.

Source: Mildenhall et al., "NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis", ECCV 2020.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..contract.errors import CheckpointError, NerfError
from ..contract.samplers import SamplerChoice
from ..data.views import Views
from ..fields.mlp2020 import RadianceMLP
from ..kernels.backend import DEPTH_FADES_TO
from ..rendering.rays import PixelSource, intersect_box
from ..rendering.volume import composite, depth_loss
from ..samplers.base import Evaluation, Sampler, Samples
from ..samplers.evaluation import evaluate
from ..samplers.look import look
from .base import Method, MethodState, Normalisation, RayColors, StepStats
from .classic_samplers import ClassicSamplers
from .classic_settings import ClassicSettings
from .cost import RenderCost
from .sampler_trace import trace_sampler
from .trace import Trace

ADAM_MOMENTS = ("exp_avg", "exp_avg_sq")
DEPTH_REACH = 0.3
"""How far the depth loss reaches, in unit-cube lengths: more than the fast method's, because samples are few."""
PROPOSAL_RATE = 1e-2
"""Adam's first rate for proposal networks, whose tables take a far higher one than the field."""
POINTS_AT_ONCE = {"cpu": 1 << 17, "mps": 1 << 18, "cuda": 1 << 21}


class ClassicMethod(Method):
    """Two networks, coarse and fine, over a box scaled to [-1, 1] along its longest side.

    Parameters
    ----------
    normalisation : Normalisation
    device : str
        'cpu', 'cuda' or 'mps'.
    seed : int
    settings : mapping, optional
        See `ClassicSettings`.
    """

    name = "classic"
    backend = "reference"

    def __init__(
        self,
        normalisation: Normalisation,
        device: str = "cpu",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = ClassicSettings.from_mapping(settings or {}, device)
        self.normalisation = normalisation
        self.device = torch.device(device)
        self.seed = seed
        self.step = 0
        self._length = 2.0 * normalisation.scale  # field units per world unit
        bounds = 2.0 * normalisation.unit_bounds - 1.0
        self._bounds = torch.tensor(bounds, dtype=torch.float32, device=self.device)
        self._generator = torch.Generator(device=self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.networks = _networks(self.settings, self.device)
            self.samplers = ClassicSamplers(self.settings, self.networks, self._bounds, seed, self._generator)
        self._last = self.samplers.last
        self._parameters = _named_parameters(self.networks)
        self._proposals = self.samplers.parameters()
        groups: list[dict[str, Any]] = [
            {"params": list(self._parameters.values()), "rate": self.settings.learning_rate}
        ]
        if self._proposals:
            groups.append({"params": list(self._proposals.values()), "rate": PROPOSAL_RATE})
        self._parameters |= self._proposals
        self._optimiser = torch.optim.Adam(groups, lr=self.settings.learning_rate, betas=(0.9, 0.999), eps=1e-7)
        self._reseed()
        self._source: PixelSource | None = None
        self._has_alpha = False

    @classmethod
    def takes_depth(cls, settings: Mapping[str, Any] | None, device: str) -> bool:
        """Unless the setting `depth_loss` is 0 and nothing else needs it; see `Method`."""
        checked = ClassicSettings.from_mapping(settings or {}, device)
        return checked.depth_loss > 0 or checked.sampler == "oracle"

    def _reseed(self) -> None:
        # By the step, so that a continued run does not draw the pixels of its beginning once more.
        seed = np.random.SeedSequence([self.seed, self.step])
        self._pixels = np.random.default_rng(seed)
        self._generator.manual_seed(int(seed.generate_state(1)[0]))

    # Training

    def load_views(self, views: Views) -> None:
        """See `Method.load_views`."""
        self._source = PixelSource(views)
        self._has_alpha = views.has_alpha

    def drop_views(self) -> None:
        """See `Method.drop_views`."""
        self._source = None

    def train_step(self, progress: float) -> StepStats:
        """One Adam step over `rays_per_step` random pixels; the learning rate decays exponentially with progress.

        Where images have alpha, prediction and truth are composited over the same random background, so that what is
        transparent must become so; where they have none, what is not reached by any density is black.
        """
        if self._source is None:
            raise RuntimeError("load_views() comes before train_step()")
        s = self.settings
        batch = self._source.draw(s.rays_per_step, self._pixels)
        rgba = self._tensor(batch.rgba)
        color, alpha = rgba[:, :3], rgba[:, 3:]
        if self._has_alpha:
            background = torch.rand(color.shape, generator=self._generator, device=self.device)
        else:
            background, alpha = torch.zeros_like(color), torch.ones_like(alpha)
        truth = color * alpha + background * (1.0 - alpha)

        origins, directions, t_near, t_far = self._to_field(batch.origins, batch.directions)
        hit = t_far > t_near
        rows = hit.nonzero()[:, 0]
        self.step += 1
        # A ray that misses the box shows the background whatever the networks say: it counts, but teaches nothing.
        missed = (background[~hit] - truth[~hit]).square().sum()
        if len(rows) == 0:
            mse = float(missed / truth.numel())
            return StepStats(loss=mse, mse=mse, rays=len(truth), samples=0)
        truth, background = truth[rows], background[rows]

        known = None if batch.depth is None or not s.depth_loss else self._tensor(batch.depth)[rows] * self._length
        depth_weight = s.depth_loss * DEPTH_FADES_TO ** min(max(progress, 0.0), 1.0)

        def color_loss(samples: Samples, evaluation: Evaluation) -> Tensor:
            seen = composite(evaluation.weights, evaluation.color, samples.t)
            predicted = seen.rgb + (1.0 - seen.alpha)[:, None] * background
            return ((predicted - truth).square().sum() + missed) / rgba[:, :3].numel()

        def depth_term(samples: Samples, evaluation: Evaluation) -> Tensor:
            assert known is not None
            return depth_loss(evaluation.weights, samples.t, known, 2.0 * DEPTH_REACH).sum() / len(hit)

        def stage_loss(samples: Samples, evaluation: Evaluation) -> Tensor:
            color = color_loss(samples, evaluation)
            return color if known is None else color + depth_weight * depth_term(samples, evaluation)

        origins, directions = origins[rows], directions[rows]
        sampler = self.samplers.trained
        true_t = known
        if s.sampler == "oracle":
            if batch.depth is None:
                raise NerfError(ORACLE_NEEDS_DEPTH)
            true_t = self._tensor(batch.depth)[rows] * self._length
        samples = sampler.sample(
            origins, directions, t_near[rows], t_far[rows], self.samplers.budget, training=True, depth=true_t
        )
        evaluation = evaluate(self._last, samples, origins, directions, sampler.opacity)
        last = color_loss(samples, evaluation)
        loss = torch.stack([last, *sampler.losses(samples, evaluation, stage_loss)]).sum()
        far_off = None
        if known is not None:
            far_off = depth_term(samples, evaluation)
            loss = loss + depth_weight * far_off
        for group in self._optimiser.param_groups:
            decay = s.final_learning_rate / s.learning_rate
            group["lr"] = group["rate"] * decay ** min(max(progress, 0.0), 1.0)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        sampler.update(self.step, self._last)
        evaluations = int(samples.counts.sum()) + len(rows) * samples.cost.full
        return StepStats(
            loss.item(),
            last.item(),
            rays=len(hit),
            samples=evaluations,
            depth_loss=None if far_off is None else far_off.item(),
        )

    # Looking

    @torch.no_grad()
    def render_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        limits: np.ndarray | None = None,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> RayColors:
        """See `Method.render_rays`; the last network's picture."""
        chosen, budget = self.samplers.chosen(sampler, self.step, true_depth is not None)
        rays = self._to_field(origins, directions)
        if limits is not None:
            within = self._tensor(np.clip(np.asarray(limits, np.float64) * self._length, 0.0, 1e30))
            o, d, t_near, t_far = rays
            rays = o, d, torch.maximum(t_near, within[:, 0]), torch.minimum(t_far, within[:, 1])
        known = None if true_depth is None else self._tensor(true_depth) * self._length
        seen = look(chosen, self.samplers.seen, rays, budget, self._rays_at_once(chosen, budget), known)
        rgba, evaluations = seen.rgba.cpu().numpy(), seen.full.cpu().numpy().astype(np.int32)
        cost = RenderCost.of_rays(evaluations, rgba[:, 3], seen.density_only, seen.proposal)
        depth = seen.depth.cpu().numpy() / np.float32(self._length)
        return RayColors(rgba, depth, cost.full + cost.density_only, evaluations, cost=cost)

    def prepare(self, sampler: SamplerChoice | None = None, on_progress: Callable[[float], None] | None = None) -> None:
        """See `Method.prepare`."""
        self.samplers.chosen(sampler, self.step, True, on_progress)

    @property
    def trained_sampler(self) -> SamplerChoice:
        """See `Method.trained_sampler`."""
        single = self.settings.sampler == "hierarchical" and not self.settings.has_coarse
        return SamplerChoice("uniform" if single else self.settings.sampler)

    @property
    def full_sampling(self) -> SamplerChoice:
        """See `Method.full_sampling`; evenly, where training was told the true depth."""
        return SamplerChoice("uniform") if self.settings.sampler == "oracle" else self.trained_sampler

    def _rays_at_once(self, sampler: Sampler, budget: int) -> int:
        cost = sampler.cost()
        own = 0 if isinstance(cost.density_only, Tensor) else cost.density_only
        return max(1, POINTS_AT_ONCE.get(self.device.type, 1 << 17) // (budget + cost.full + own + cost.proposal))

    @torch.no_grad()
    def trace_rays(
        self,
        origins: np.ndarray,
        directions: np.ndarray,
        sampler: SamplerChoice | None = None,
        true_depth: np.ndarray | None = None,
    ) -> Trace:
        """See `Method.trace_rays`: every stage, each with its own network."""
        chosen, budget = self.samplers.chosen(sampler, self.step, true_depth is not None)
        rays = self._to_field(origins, directions)
        known = None if true_depth is None else self._tensor(true_depth) * self._length
        at_once, seen = self._rays_at_once(chosen, budget), self.samplers.seen
        return trace_sampler(chosen, seen, rays, budget, self._length, origins, directions, at_once, known)

    @torch.no_grad()
    def query_density(self, points: np.ndarray) -> np.ndarray:
        """See `Method.query_density`; the last network's, as it is looked at."""
        found = np.zeros(len(points), dtype=np.float32)
        for start, positions in self._chunks(points):
            inside = ((positions >= self._bounds[0]) & (positions <= self._bounds[1])).all(dim=-1)
            density = self.samplers.seen.query_density(positions) * self._length * inside
            found[start : start + len(positions)] = density.cpu().numpy()
        return found

    @torch.no_grad()
    def query_color(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """See `Method.query_color`; the last network's."""
        found = np.zeros((len(points), 3), dtype=np.float32)
        for start, positions in self._chunks(points):
            stop = start + len(positions)
            _, color = self._last(positions[:, None, :], self._tensor(directions[start:stop]))
            found[start:stop] = color[:, 0].cpu().numpy()
        return found

    # State

    def state(self) -> MethodState:
        """See `Method.state`."""
        arrays: dict[str, np.ndarray] = {}
        for name, parameter in self._parameters.items():
            arrays[f"params/{name}"] = _copy(parameter)
            moments = self._optimiser.state.get(parameter, {})
            for moment in ADAM_MOMENTS:
                if moment in moments:
                    arrays[f"adam/{moment}/{name}"] = _copy(moments[moment])
        for name, values in self.samplers.buffers().items():
            arrays[name] = _copy(values)
        return MethodState(arrays, {"settings": asdict(self.settings), "step": self.step})

    @classmethod
    def check_state(cls, settings: Mapping[str, Any], device: str, state: MethodState) -> None:
        """See `Method.check_state`."""
        checked = ClassicSettings.from_mapping(settings, device)
        networks = _networks(checked, torch.device("meta"))
        cube = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
        samplers = ClassicSamplers(checked, networks, cube, 0, torch.Generator())
        parameters = {**_named_parameters(networks), **samplers.parameters()}
        check_arrays(state.arrays, _wanted_shapes(parameters, samplers.buffers(), state.arrays))

    def load_state(self, state: MethodState) -> None:
        """See `Method.load_state`."""
        step = state.settings.get("step")
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise CheckpointError("the checkpoint does not say how many steps it holds")
        wanted = _wanted_shapes(self._parameters, self.samplers.buffers(), state.arrays)
        check_arrays(state.arrays, wanted)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._tensor(state.arrays[f"params/{name}"]))
                self._optimiser.state.pop(parameter, None)
                if f"adam/exp_avg/{name}" in wanted:
                    self._optimiser.state[parameter] = {
                        "step": torch.tensor(float(step)),
                        **{moment: self._tensor(state.arrays[f"adam/{moment}/{name}"]) for moment in ADAM_MOMENTS},
                    }
            for name, values in self.samplers.buffers().items():
                values.copy_(self._tensor(state.arrays[name]))
        self.samplers.forget()
        self.samplers.trained.refresh()
        self.samplers.trained.update_to(step)
        self.step = step
        self._reseed()

    # Between the world and the field

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(array, dtype=np.float32), device=self.device)

    def _to_field(self, origins: np.ndarray, directions: np.ndarray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # In float64 up to here: a camera may stand far from the world's origin.
        local = 2.0 * self.normalisation.to_unit(np.asarray(origins, dtype=np.float64)) - 1.0
        o, d = self._tensor(local), self._tensor(directions)
        return o, d, *intersect_box(o, d, self._bounds)

    def _chunks(self, points: np.ndarray) -> "list[tuple[int, Tensor]]":
        size = POINTS_AT_ONCE.get(self.device.type, 1 << 17)
        local = 2.0 * self.normalisation.to_unit(np.asarray(points, dtype=np.float64)) - 1.0
        return [(start, self._tensor(local[start : start + size])) for start in range(0, len(local), size)]


ORACLE_NEEDS_DEPTH = (
    "The sampler 'oracle' is told the true depth, and this data set has none: capture with the depth pass, or train "
    "with another sampler."
)


def _networks(settings: ClassicSettings, device: torch.device) -> dict[str, RadianceMLP]:
    """Coarse and, where there are fine samples, fine; on the device 'meta' nothing is allocated."""
    with torch.device("meta" if device.type == "meta" else "cpu"):
        stages = ("coarse", "fine") if settings.has_coarse else ("coarse",)
        return {stage: _network(settings).to(device) for stage in stages}


def _network(s: ClassicSettings) -> RadianceMLP:
    return RadianceMLP(
        depth=s.depth,
        width=s.width,
        skip=s.skip,
        position_frequencies=s.position_frequencies if s.positional_encoding else 0,
        direction_frequencies=s.direction_frequencies if s.positional_encoding else 0,
        view_directions=s.view_directions,
        include_input=s.include_input,
        density_activation=s.density_activation,
    )


def _named_parameters(networks: Mapping[str, RadianceMLP]) -> dict[str, torch.nn.Parameter]:
    return {
        f"{stage}.{name}": parameter
        for stage, network in networks.items()
        for name, parameter in network.named_parameters()
    }


def _wanted_shapes(
    parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray]
) -> dict[str, tuple[int, ...]]:
    """What a checkpoint of these parameters must hold: moments come all together or, before the first step, not."""
    moments = ADAM_MOMENTS if any(key.startswith("adam/") for key in arrays) else ()
    prefixes = ("params", *(f"adam/{moment}" for moment in moments))
    shapes = {f"{prefix}/{name}": tuple(value.shape) for prefix in prefixes for name, value in parameters.items()}
    return {**shapes, **{name: tuple(value.shape) for name, value in buffers.items()}}


def _copy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()


def check_arrays(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Hold a checkpoint's arrays against the shapes a method wants; CheckpointError names the first misfit."""
    for key, shape in wanted.items():
        if key not in arrays:
            raise CheckpointError(f"the checkpoint has no array '{key}'")
        found = arrays[key]
        if tuple(found.shape) != shape:
            raise CheckpointError(f"the checkpoint's array '{key}' has shape {tuple(found.shape)} instead of {shape}")
        if not np.issubdtype(found.dtype, np.floating):
            raise CheckpointError(f"the checkpoint's array '{key}' has dtype {found.dtype} instead of a float type")
        if not np.isfinite(found).all():
            raise CheckpointError(f"the checkpoint's array '{key}' holds NaN or infinity")
    strange = sorted(set(arrays) - set(wanted))
    if strange:
        raise CheckpointError(f"the checkpoint holds an array '{strange[0]}' that this method does not know")
