"""The classic method's samplers: the one that it is trained with, and those that what was trained can be seen with."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice
from ..fields.mlp2020 import RadianceMLP
from ..fields.proposal import ProposalField
from ..samplers.base import Field, Sampler
from ..samplers.grid import DensityGrid
from ..samplers.hierarchical import Hierarchical
from ..samplers.occupancy import Carved, Occupancy
from ..samplers.options import checked_options
from ..samplers.oracle import Oracle
from ..samplers.proposal import Proposal
from ..samplers.stratified import Stratified
from ..samplers.surface import Surface
from .classic_settings import ClassicSettings

RESOLUTION = 96
"""Cells along the grids of the occupancy and surface samplers."""
FINE_RESOLUTION = 160
"""Likewise, where the grid is all that says where the surface is."""
PROPOSAL_COUNTS = ((64,), (64, 48))
"""Samples of the proposal networks, by the number of rounds."""
PROPOSAL_RESOLUTIONS = ((128,), (64, 256))
BAND = 0.03
"""How far about the true depth the oracle looks, in lengths of the box's longest side."""
DEFAULT_COARSE = 64
DEFAULT_SAMPLES = {"uniform": 128, "hierarchical": 64, "occupancy": 64, "surface": 32, "oracle": 16}
"""Where a run that was trained otherwise is seen with them, and no number is named."""


class ClassicSamplers:
    """Makes samplers over the field's box [-1, 1]^3.

    Parameters
    ----------
    settings : ClassicSettings
    networks : mapping of str to RadianceMLP
        'fine' where there is one, else 'coarse', is the last.
    bounds : (2, 3) tensor
        The box.
    seed : int
    generator : torch.Generator

    Attributes
    ----------
    trained : Sampler
        As the settings say.
    budget : int
        Its samples.
    last : RadianceMLP
        The network that pictures are made of, as it is trained.
    seen : Field
        The same, as it is to be looked at.
    """

    def __init__(
        self,
        settings: ClassicSettings,
        networks: Mapping[str, RadianceMLP],
        bounds: Tensor,
        seed: int,
        generator: torch.Generator,
    ) -> None:
        self.settings, self.networks, self.bounds, self.seed = settings, networks, bounds, seed
        self.generator = generator
        self.last = networks.get("fine", networks["coarse"])
        self.budget = settings.budget
        self.trained = self._trained()
        self.seen: Field = self.last
        if isinstance(self.trained, Occupancy):
            self.seen = Carved(self.last, self.trained)
        self._built: dict[tuple[str, int], tuple[int, DensityGrid]] = {}

    @property
    def _length(self) -> float:
        """The box's longest side."""
        return float((self.bounds[1] - self.bounds[0]).max())

    def _trained(self) -> Sampler:
        s, generator = self.settings, self.generator
        if s.has_coarse:
            return Hierarchical(self.networks["coarse"], s.coarse_samples, generator, s.opacity, s.cdf)
        if s.sampler in ("uniform", "hierarchical"):
            return Stratified(generator, opacity=s.opacity)
        if s.sampler == "occupancy":
            # On the CPU even a meta device's box must have numbers: only its sizes matter there.
            grid = DensityGrid(self.bounds, RESOLUTION, seed=self.seed)
            return Occupancy(grid, self._step(s.last_samples), self.last, generator)
        if s.sampler == "surface":
            return Surface(DensityGrid(self.bounds, RESOLUTION, keep="mean", seed=self.seed), generator)
        if s.sampler == "oracle":
            return Oracle(BAND * self._length, generator)
        which = s.proposal_rounds - 1
        device = self.bounds.device
        networks = [ProposalField(self.bounds, size).to(device) for size in PROPOSAL_RESOLUTIONS[which]]
        return Proposal(networks, PROPOSAL_COUNTS[which], generator)

    def _step(self, samples: int) -> float:
        """Between lattice points: `samples` of them lie on a ray as long as the box's longest side, twice over."""
        return self._length / (2.0 * samples)

    def forget(self) -> None:
        """Let go of what was built from the field: it is another one now."""
        self._built = {}

    def chosen(
        self,
        choice: SamplerChoice | None,
        step: int,
        knows_depth: bool,
        on_progress: Callable[[float], None] | None = None,
    ) -> tuple[Sampler, int]:
        """The sampler and its budget that rendering is to use.

        Parameters
        ----------
        choice : SamplerChoice or None
            None: as trained; evenly, where that is the oracle and no depth is known (previews, new views).
        step : int
            Of the training: what was built for another step is built again.
        knows_depth : bool
            Whether true depths come with the rays.
        on_progress : callable, optional
            Told the part of a grid that is filled; what it raises ends that.

        Raises
        ------
        NerfError
            When the field cannot be seen with that sampler.
        """
        if choice is None:
            blind = self.settings.sampler == "oracle" and not knows_depth
            choice = SamplerChoice("uniform" if blind else self.settings.sampler)
        if choice.name != self.settings.sampler or choice.samples is not None or choice.options:
            return self._other(choice, step, knows_depth, on_progress)
        if choice.name == "oracle" and not knows_depth:
            raise NerfError(NO_DEPTH)
        return self.trained, self.budget

    def _other(
        self, choice: SamplerChoice, step: int, knows_depth: bool, on_progress: Callable[[float], None] | None
    ) -> tuple[Sampler, int]:
        options = checked_options(choice)
        s = self.settings
        same = choice.name == s.sampler
        samples = choice.samples or (self.budget if same else DEFAULT_SAMPLES.get(choice.name, self.budget))
        opacity = options.get("opacity", s.opacity)
        if choice.name == "uniform":
            return Stratified(self.generator, opacity=opacity), samples
        if choice.name == "hierarchical":
            coarse = options.get("coarse", s.coarse_samples if s.has_coarse else DEFAULT_COARSE)
            field: Field = self.networks["coarse"] if s.has_coarse else self.seen
            # A number that is asked for is kept to: coarse samples only join where nobody names one.
            joined = options.get("joined", choice.samples is None)
            shared = not s.has_coarse
            cdf = options.get("cdf", s.cdf)
            return Hierarchical(field, coarse, self.generator, opacity, cdf, joined, shared), samples
        if choice.name == "oracle":
            if not knows_depth:
                raise NerfError(NO_DEPTH)
            return Oracle(options.get("band", BAND) * self._length, self.generator), samples
        if choice.name == "proposal":
            if not same:
                raise NerfError(
                    f"This run was trained with the sampler '{s.sampler}', so it has no proposal networks; train one "
                    "with the sampler 'proposal', or render this one with another."
                )
            if options.get("rounds", s.proposal_rounds) != s.proposal_rounds:
                raise NerfError(
                    f"This run was trained with {s.proposal_rounds} rounds of proposals; leave out 'rounds'."
                )
            return self.trained, samples
        if choice.name == "occupancy":
            if same:
                return self.trained, samples
            grid = self._grid("occupancy", RESOLUTION, step, on_progress)
            return Occupancy(grid, self._step(max(s.last_samples, 64)), self.seen, self.generator), samples
        grid = self._grid("surface", options.get("resolution", FINE_RESOLUTION), step, on_progress)
        return Surface(grid, self.generator, hint=True), samples

    def _grid(self, name: str, resolution: int, step: int, on_progress: Callable[[float], None] | None) -> DensityGrid:
        """A grid that is filled with the field's densities, once for each step of the training."""
        known = self._built.get((name, resolution))
        if known is None or known[0] != step:
            grid = DensityGrid(self.bounds, resolution, keep="mean" if name == "surface" else "largest", seed=self.seed)
            grid.build(self.seen, on_progress=on_progress)
            known = self._built[name, resolution] = step, grid
        return known[1]

    # What a checkpoint holds

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """The proposal networks' parameters, by name."""
        return {f"proposal.{name}": parameter for name, parameter in self.trained.parameters().items()}

    def buffers(self) -> dict[str, Tensor]:
        """What the trained sampler keeps beside: grids."""
        return {f"sampler/{name}": values for name, values in self.trained.buffers().items()}


NO_DEPTH = (
    "The oracle is an upper bound that needs to be told the true depth: evaluate views of a data set that has depth, "
    "or choose another sampler."
)
