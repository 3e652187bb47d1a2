"""The fast field under any sampler: through what every backend answers, densities and colours at points.

The backends' own renderers take the occupancy sampler; this is how everything else is rendered, in torch around their
`query`, and what the samplers are built with.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice
from ..fields.contraction import uncontract
from ..fields.hash_grid import TORCH_SAMPLERS
from ..kernels.backend import FastBackend
from ..kernels.reference.contraction import contract
from ..kernels.reference.volume import clip_to_box
from ..samplers.base import Bins, Sampler, Samples
from ..samplers.grid import DensityGrid
from ..samplers.hierarchical import Hierarchical
from ..samplers.look import Looked, look
from ..samplers.occupancy import Occupancy
from ..samplers.options import checked_options
from ..samplers.oracle import Oracle
from ..samplers.spacing import Growing, Spacing
from ..samplers.stratified import Stratified
from ..samplers.surface import Surface

POINTS_AT_ONCE, RAYS_AT_ONCE = 1 << 18, 1 << 14
DEFAULT_SAMPLES = {"uniform": 128, "hierarchical": 32, "occupancy": 64, "proposal": 32, "surface": 8, "oracle": 16}
"""Where no number is named."""
DEFAULT_COARSE = 128
UNBOUNDED_TIMES = 2
"""How many times as many samples an unbounded ray takes where the whole of it is looked at."""
BAND = 0.005
"""How far about the true depth the oracle looks, in lengths of the box's longest side."""
GRID_RESOLUTION = 256
"""Cells along the surface sampler's grid."""

OnProgress = Callable[[float], None]


class BackendField:
    """A backend as samplers see a field: unit positions, tensors on the CPU.

    A field that was trained in occupied cells alone is fog outside them, which its own renderer never sees: there its
    density is 0, here too.
    """

    def __init__(self, backend: FastBackend) -> None:
        self.backend = backend
        self._anywhere = backend.settings.sampler in TORCH_SAMPLERS

    def __call__(self, positions: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """See `samplers.base.Field`."""
        points, known = self._points(positions)
        along = directions[:, None, :].expand_as(positions).reshape(-1, 3).numpy()[known]
        density, color = np.zeros(len(known), np.float32), np.zeros((len(known), 3), np.float32)
        density[known], color[known] = self.backend.query(points[known], along)
        shape = positions.shape
        return torch.from_numpy(density).reshape(shape[:-1]), torch.from_numpy(color).reshape(shape)

    def query_density(self, positions: Tensor) -> Tensor:
        """See `samplers.base.Field`."""
        points, known = self._points(positions)
        density = np.zeros(len(known), np.float32)
        density[known] = self.backend.query(points[known], None)[0]
        return torch.from_numpy(density).reshape(positions.shape[:-1])

    def knows(self, positions: Tensor) -> Tensor:
        """(N,) bool: which of (N, 3) unit positions lie where the field may hold something."""
        return torch.from_numpy(self._points(positions)[1])

    def _points(self, positions: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Unit positions (N, 3), and (N,) which of them the field knows."""
        flat = positions.detach().reshape(-1, 3)
        flat = flat if self.backend.unbounded else flat.clamp(0.0, 1.0)
        if self._anywhere:
            return flat.numpy(), np.ones(len(flat), bool)
        cells = self.backend.occupied.reshape(-1)  # as they are now: they change while the field trains
        side = self.backend.settings.occupancy_resolution
        place = ((contract(flat) if self.backend.unbounded else flat) * side).to(torch.int64).clamp(0, side - 1)
        x, y, z = place.unbind(-1)
        return flat.numpy(), cells[(x + side * (y + side * z)).numpy()]


class Marched(Occupancy):
    """The backend's own lattice in its own occupied cells, with a bound on what is coloured."""

    def __init__(self, backend: FastBackend) -> None:
        settings = backend.settings
        self.backend, self.field, self.step = backend, BackendField(backend), backend.fine_step
        self.weight_threshold = settings.weight_threshold
        self.transmittance_threshold = settings.transmittance_threshold

    def _march(self, origins: Tensor, directions: Tensor, t_near: Tensor, t_far: Tensor, training: bool) -> Samples:
        counts, _, distances, lengths = self.backend.march(origins.numpy(), directions.numpy())
        width = max(1, int(counts.max(initial=0)))
        valid = np.arange(width) < counts[:, None]
        rows = np.zeros((2, len(counts), width), np.float32)
        rows[0][valid], rows[1][valid] = distances, lengths
        t, dt = torch.from_numpy(rows[0]), torch.from_numpy(rows[1])
        kept = torch.from_numpy(valid) & (t >= t_near[:, None]) & (t < t_far[:, None])
        return Samples(t, t, t + dt * kept, valid=kept)

    def _lattice_bins(self, samples: Samples, weights: Tensor, t_near: Tensor) -> Bins | None:
        return None


def spacing_of(backend: FastBackend) -> Spacing | None:
    """What is even along a backend's rays."""
    return Growing(backend.lattice()) if backend.unbounded else None


def build(
    backend: FastBackend,
    choice: SamplerChoice,
    proposal: Sampler | None,
    grids: dict[int, DensityGrid],
    on_progress: OnProgress | None = None,
) -> tuple[Sampler, int]:
    """A sampler for rendering, and its budget.

    Parameters
    ----------
    backend : FastBackend
    choice : SamplerChoice
    proposal : Sampler or None
        That was trained beside the field.
    grids : dict
        Keeps what was filled, by its resolution.
    on_progress : callable, optional
        Told the part of a grid that is filled; what it raises ends that.

    Raises
    ------
    NerfError
        When the field cannot be seen with that sampler.
    """
    options = checked_options(choice)
    samples = choice.samples or DEFAULT_SAMPLES[choice.name]
    spacing = spacing_of(backend)
    whole = UNBOUNDED_TIMES if backend.unbounded else 1
    own = backend.settings if backend.settings.sampler in TORCH_SAMPLERS else None  # it was trained with these
    opacity = options.get("opacity", own.opacity if own else "constant")
    if choice.name == "uniform":
        return Stratified(None, spacing, opacity), samples if choice.samples else whole * samples
    if choice.name == "hierarchical":
        coarse = options.get("coarse", whole * DEFAULT_COARSE)
        # A number that is asked for is kept to: coarse samples only join where nobody names one.
        cdf, joined = options.get("cdf", own.cdf if own else "constant"), options.get("joined", choice.samples is None)
        return Hierarchical(BackendField(backend), coarse, None, opacity, cdf, joined, True, spacing), samples
    if choice.name == "occupancy":
        return Marched(backend), samples
    if choice.name == "oracle":
        return Oracle(options.get("band", BAND), None, spacing, Marched(backend)), samples
    if choice.name == "proposal":
        if proposal is None:
            raise NerfError(
                "This run has no proposal networks; train one with the sampler 'proposal', or render this one with "
                "another."
            )
        return proposal, samples
    resolution = options.get("resolution", GRID_RESOLUTION)
    if resolution not in grids:
        grid = surface_grid(backend, resolution)
        grid.build(BackendField(backend), on_progress=on_progress)
        grids[resolution] = grid
    grid = grids[resolution]
    pieces = 2 * backend.lattice().points if backend.unbounded else None
    return Surface(grid, None, hint=True, spacing=spacing, pieces=pieces), samples


def surface_grid(backend: FastBackend, resolution: int) -> DensityGrid:
    """An empty grid where the backend's occupancy grid lies."""
    if not backend.unbounded:
        return DensityGrid(torch.from_numpy(backend.box), resolution, keep="mean", seed=backend.seed)
    cube = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    return DensityGrid(cube, resolution, keep="mean", seed=backend.seed, to_cells=contract, to_field=_uncontract)


def _uncontract(grid: Tensor) -> Tensor:
    return torch.from_numpy(uncontract(grid.numpy()).astype(np.float32))


def unit_rays(
    backend: FastBackend, origins: np.ndarray, directions: np.ndarray, limits: np.ndarray | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit-frame rays as samplers take them, with where they enter and leave the scene."""
    o, d = torch.tensor(origins, dtype=torch.float32), torch.tensor(directions, dtype=torch.float32)
    if backend.unbounded:
        lattice = backend.lattice()
        near, far = torch.full_like(o[:, 0], lattice.near), torch.full_like(o[:, 0], lattice.far)
    else:
        near, far = clip_to_box(o, d, torch.from_numpy(backend.box))
    if limits is not None:
        within = torch.tensor(limits, dtype=torch.float32)
        near, far = torch.maximum(near, within[:, 0]), torch.minimum(far, within[:, 1])
    return o, d, near, far


def render(
    backend: FastBackend,
    sampler: Sampler,
    budget: int,
    rays: tuple[Tensor, Tensor, Tensor, Tensor],
    true_depth: np.ndarray | None = None,
) -> Looked:
    """Render unit-frame rays; `true_depth` (R,) in unit-cube lengths."""
    known = None if true_depth is None else torch.tensor(true_depth, dtype=torch.float32)
    return look(sampler, BackendField(backend), rays, budget, rays_at_once(sampler, budget), known)


def rays_at_once(sampler: Sampler, budget: int) -> int:
    """So many that the memory of their points is bounded."""
    cost = sampler.cost()
    own = cost.density_only if isinstance(cost.density_only, int) else 0
    return min(RAYS_AT_ONCE, max(1, POINTS_AT_ONCE // (budget + own + cost.proposal)))
