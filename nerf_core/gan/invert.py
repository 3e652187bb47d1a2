"""From one radiograph to all views, by any generative system: fit a code, then the generator, to the one view.

The published objective is MedNeRF's (Corona-Figueroa et al. 2022): 0.3 perceptual distance + 0.1 MSE + 0.3 mean(z^2 /
2), the last of which keeps the code likely under the Gaussian that it was trained with. Runs that are nearer to the
preset `tiny` of their system than to `paper` take other weights and rates, measured on phantoms.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..contract.errors import Cancelled, NerfError
from .base import System
from .perceptual import PerceptualDistance
from .settings import Settings

AT_ONCE = 16  # pictures rendered together


@dataclass(frozen=True)
class InversionSettings:
    """How an inversion is made; defaults are the published values, see :meth:`of` for those of a run.

    Attributes
    ----------
    starts : int
        Random codes that are tried first; the best goes on.
    kept : int
        So many of them are fitted before the best of these is chosen.
    turns : int
        Azimuths that every start is tried at, evenly spread: a system whose discriminator never saw the angle puts its
        subjects anywhere. 0: 1 for a system that was told the angle, 12 for others.
    code_steps, steps : int
        Steps of the code alone, and then of code and generator together.
    code_rate : float
        Of the code's Adam; published 5e-4.
    generator_rate : float
        Of the generator's RMSprop; published 5e-4.
    last_rate : float
        To what share of themselves the rates fall, evenly, over `code_steps`, and again over `steps`. Published 1.
    perceptual, mse, likelihood : float
        Weights of the objective; published 0.3, 0.1, 0.3.
    """

    starts: int = 64
    kept: int = 4
    turns: int = 0
    code_steps: int = 100
    steps: int = 100
    code_rate: float = 5e-4
    generator_rate: float = 5e-4
    last_rate: float = 1.0
    perceptual: float = 0.3
    mse: float = 0.1
    likelihood: float = 0.3

    @classmethod
    def of(cls, settings: Settings, **values: Any) -> Self:
        """The inversion's settings for a system's: published ones, or `TINY`'s, by the nearer preset; then `values`."""
        return replace(cls(**TINY) if settings.nearest_preset() == "tiny" else cls(), **values)

    def check(self) -> None:
        """Raise a NerfError that names the first setting that is out of range."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            ranges = {"starts": (1, 100_000), "kept": (1, 256), "last_rate": (0, 1)}
            low, high = ranges.get(entry.name, (0, 1_000_000))
            if not low <= value <= high:
                raise NerfError(f"The inversion's setting '{entry.name}' is {value}; it must be from {low} to {high}.")
        if self.kept > self.starts:
            raise NerfError(f"The inversion keeps {self.kept} of {self.starts} starts; 'kept' must not be more.")


TINY: dict[str, Any] = {
    "code_steps": 60,
    "steps": 60,
    "code_rate": 0.02,
    "generator_rate": 2e-4,
    "last_rate": 0.0,
    "perceptual": 0.0,
    "mse": 10.0,
    "likelihood": 0.03,
}
"""What differs for small systems: few trials' best in PSNR on two phantoms. 100 steps of 5e-4 hardly move a code."""


@dataclass
class Inversion:
    """What one view was turned into.

    Attributes
    ----------
    azimuth : float
        Of the given view, degrees.
    code : (1, code_size) tensor
    turn : float
        Degrees to add to azimuths: where the generator has put the subject.
    generator : nn.Module
        Fitted to the view.
    code_only : (1, code_size) tensor
        The code before the generator was fitted, for the running mean of the generator as it was trained.
    losses : list of float
        The objective: of the best start, then of each step.
    settings : InversionSettings
    """

    azimuth: float
    code: Tensor
    turn: float
    generator: nn.Module
    code_only: Tensor
    settings: InversionSettings
    losses: list[float] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """What is worth writing down, without arrays."""
        return {
            "azimuth": self.azimuth,
            "turn": self.turn,
            "first_loss": self.losses[0],
            "last_loss": self.losses[-1],
            "settings": asdict(self.settings),
        }


def invert(
    system: System,
    image: np.ndarray,
    azimuth: float,
    distance: PerceptualDistance,
    settings: InversionSettings | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Inversion:
    """Fit a system to one view.

    Parameters
    ----------
    system : System
        Not changed: the generator is fitted as a copy.
    image : (S, S) array
        Grey, 0 (background) to 1, of the system's image size.
    azimuth : float
        Where it was seen from, degrees, as in `gan.camera`.
    distance : PerceptualDistance
    settings : InversionSettings, optional
        By default :meth:`InversionSettings.of` the system's.
    seed : int
        Of the starts.
    progress : callable, optional
        Called with (steps done, in all).
    should_stop : callable, optional
        Asked between steps.

    Raises
    ------
    NerfError
        When the image has another size, holds what is no number, or a setting is out of range.
    Cancelled
        When `should_stop` said so.
    """
    settings = settings or InversionSettings.of(system.settings)
    settings.check()
    size = system.settings.image_size
    if image.shape != (size, size) or not np.isfinite(image).all():
        raise NerfError(f"The view to invert has shape {image.shape}; the system was trained at {size}x{size} pixels.")
    target = torch.tensor(image, dtype=torch.float32, device=system.device).clamp(0.0, 1.0)[None, None]
    work = _Work(system, target, azimuth, distance.to(system.device), settings, progress, should_stop)
    codes, turns = work.best_starts(torch.Generator().manual_seed(seed))
    losses = [work.first]
    codes, best, told = work.fit_codes(codes, turns)
    losses += told
    code, turn = codes[best : best + 1], float(turns[best])
    fitted, generator, told = work.fit_both(code, turn)
    losses += told
    return Inversion(azimuth, fitted, turn, generator, code, settings, losses)


class _Work:
    """The parts of an inversion, which share a target and count their steps together."""

    def __init__(
        self,
        system: System,
        target: Tensor,
        azimuth: float,
        distance: PerceptualDistance,
        settings: InversionSettings,
        progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ) -> None:
        self.system, self.target, self.azimuth, self.distance = system, target, azimuth, distance
        self.settings, self.progress, self.should_stop = settings, progress, should_stop
        told = bool(getattr(system.settings, "told_angle", False))
        self.turns = settings.turns or (1 if told else 12)
        self.total = -(-settings.starts * self.turns // AT_ONCE) + settings.code_steps + settings.steps
        self.done = 0
        self.first = float("inf")

    def advance(self) -> None:
        """Another step is made."""
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)
        if self.should_stop is not None and self.should_stop():
            raise Cancelled

    def objective(self, codes: Tensor, pictures: Tensor) -> Tensor:
        """(n,) values of codes and what they look like."""
        settings = self.settings
        target = self.target.expand(len(pictures), -1, -1, -1)
        value = settings.mse * (pictures - target).square().mean(dim=(1, 2, 3))
        value = value + settings.likelihood * 0.5 * codes.square().mean(dim=1)
        if settings.perceptual > 0:  # it costs more than all the rest
            value = value + settings.perceptual * self.distance(pictures, target)
        return value

    def rate(self, first: float, step: int, steps: int) -> float:
        """A rate at a step of so many."""
        return first * (1.0 - (1.0 - self.settings.last_rate) * step / steps)

    def seen(self, codes: Tensor, turns: Tensor, generator: nn.Module | None = None) -> Tensor:
        """What codes look like from where the view was taken, with gradients where they are on."""
        return self.system.render_rays(codes, self.system.poses((self.azimuth + turns).cpu()), generator=generator)

    @torch.no_grad()
    def best_starts(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The `kept` best of random codes, each at its best turn: (kept, code_size), (kept,)."""
        settings = self.settings
        codes = self.system.sample_codes(settings.starts, rng).repeat_interleave(self.turns, dim=0)
        turns = (torch.arange(self.turns, device=codes.device) * (360.0 / self.turns)).repeat(settings.starts)
        values = []
        for part, turn in zip(codes.split(AT_ONCE), turns.split(AT_ONCE), strict=True):
            values.append(self.objective(part, self.seen(part, turn)))
            self.advance()
        by_start = torch.cat(values).reshape(settings.starts, self.turns)
        least, which = by_start.min(dim=1)
        order = least.argsort()[: settings.kept]
        self.first = float(least[order[0]])
        return codes.reshape(settings.starts, self.turns, -1)[order, 0].clone(), turns[which[order]]

    def fit_codes(self, codes: Tensor, turns: Tensor) -> tuple[Tensor, int, list[float]]:
        """Codes alone, by Adam; returns them, which is best, and the best one's objective at each step."""
        codes = codes.requires_grad_()
        optimiser = torch.optim.Adam([codes], lr=self.settings.code_rate)
        losses = []
        values = torch.zeros(len(codes))
        for step in range(self.settings.code_steps):
            optimiser.param_groups[0]["lr"] = self.rate(self.settings.code_rate, step, self.settings.code_steps)
            values = self.objective(codes, self.seen(codes, turns))
            optimiser.zero_grad(set_to_none=True)
            values.sum().backward()
            optimiser.step()
            losses.append(float(values.detach().min()))
            self.advance()
        return codes.detach(), int(values.detach().argmin()), losses

    def fit_both(self, code: Tensor, turn: float) -> tuple[Tensor, nn.Module, list[float]]:
        """Code by Adam and a copy of the generator by RMSprop, together."""
        settings = self.settings
        generator = copy.deepcopy(self.system.generator_ema).requires_grad_(True)
        code = code.clone().requires_grad_()
        optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Adam([code], lr=settings.code_rate),
            torch.optim.RMSprop(generator.parameters(), lr=settings.generator_rate),
        ]
        rates = (settings.code_rate, settings.generator_rate)
        turns = torch.full((1,), turn)
        losses = []
        for step in range(settings.steps):
            value = self.objective(code, self.seen(code, turns, generator)).sum()
            for optimiser, rate in zip(optimisers, rates, strict=True):
                optimiser.param_groups[0]["lr"] = self.rate(rate, step, settings.steps)
                optimiser.zero_grad(set_to_none=True)
            value.backward()
            for optimiser in optimisers:
                optimiser.step()
            losses.append(float(value.detach()))
            self.advance()
        return code.detach(), generator.requires_grad_(False), losses


@torch.no_grad()
def novel_views(
    system: System, inversion: Inversion, azimuths: np.ndarray, code_only: bool = False, size: int | None = None
) -> np.ndarray:
    """(V, S, S) views of an inversion from azimuths in degrees, 0 to 1.

    Parameters
    ----------
    system : System
    inversion : Inversion
    azimuths : (V,) array
    code_only : bool
        By the generator as it was trained, with the code that was fitted alone.
    size : int, optional
        Pixels a side; by default as trained.
    """
    code = inversion.code_only if code_only else inversion.code
    generator = system.generator_ema if code_only else inversion.generator
    parts = []
    for part in torch.as_tensor(azimuths, dtype=torch.float32).split(AT_ONCE):
        poses = system.poses(part + inversion.turn)
        parts.append(system.render_rays(code.expand(len(part), -1), poses, size, generator)[:, 0].clamp(0.0, 1.0))
    return torch.cat(parts).cpu().numpy()
