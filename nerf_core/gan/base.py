"""The interface between a generative system and what trains, samples, inverts and measures it.

Pictures at this boundary are grey, in [0, 1], black background, as (n, 1, H, W) float32 tensors: what a data set's PNG
shows. A system may work with more channels inside. Codes are one (n, code_size) tensor, whatever a system splits them
into. Poses are (n, 3): azimuth and polar angle in degrees, distance (`camera.fixed_poses` makes them of azimuths).
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..contract.errors import CheckpointError
from . import camera
from .settings import Settings

RAYS_AT_ONCE = 16384  # of a picture, so that its samples fit the memory


class System(ABC):
    """Generator, discriminator, their optimisers and all randomness of one training.

    Parameters
    ----------
    settings : Settings
        Of the system's own class, with the camera's numbers settled (`camera.camera_of_data`).
    device : str
    seed : int
        Of the networks' beginnings and of all random choices; two systems made alike train alike.

    Attributes
    ----------
    generator, generator_ema : nn.Module
        In training, and its running mean that pictures are made with.
    discriminator : nn.Module
    networks : dict of str to nn.Module
        All that is trained or kept, by name; a subclass adds what else it has before `optimisers` are made.
    optimisers : dict of str to Optimizer
    rng : torch.Generator
        On the CPU, so that a run draws the same numbers on every device.
    step : int
        Training steps made.
    """

    name: ClassVar[str]
    settings_class: ClassVar[type[Settings]]

    def __init__(self, settings: Settings, device: str = "cpu", seed: int = 0) -> None:
        self.settings = settings
        self.device = device
        self.step = 0
        with torch.random.fork_rng(devices=[]):  # layers draw their beginnings from torch's own state
            torch.manual_seed(seed)
            self.generator = self.make_generator().to(device)
            self.discriminator = self.make_discriminator().to(device)
        self.generator_ema = copy.deepcopy(self.generator).requires_grad_(False)
        self.networks: dict[str, nn.Module] = {
            "generator": self.generator,
            "generator_ema": self.generator_ema,
            "discriminator": self.discriminator,
        }
        self.optimisers: dict[str, torch.optim.Optimizer] = self.make_optimisers()
        self.rng = torch.Generator().manual_seed(seed)

    # What a system is made of.

    @property
    @abstractmethod
    def code_size(self) -> int:
        """Numbers in a code."""

    @abstractmethod
    def make_generator(self) -> nn.Module:
        """A fresh generator."""

    @abstractmethod
    def make_discriminator(self) -> nn.Module:
        """A fresh discriminator, with everything that is trained beside it."""

    @abstractmethod
    def make_optimisers(self) -> dict[str, torch.optim.Optimizer]:
        """The optimisers, by name."""

    @abstractmethod
    def shade(
        self,
        codes: Tensor,
        poses: Tensor,
        points: Tensor,
        generator: nn.Module | None = None,
        rng: torch.Generator | None = None,
    ) -> Tensor:
        """What a generator shows at points of the image plane; differentiable in codes and weights.

        Parameters
        ----------
        codes : (n, code_size) tensor
        poses : (n, 3) tensor
        points : (n, R, 2) tensor
            In [-1, 1], x right, y down (`camera`).
        generator : nn.Module, optional
            By default `generator_ema`.
        rng : torch.Generator, optional
            Where samples lie in their intervals; without it in the middle.

        Returns
        -------
        (n, R, C) tensor
            In [0, 1].
        """

    @abstractmethod
    def discriminator_step(self, real: Tensor, azimuths: Tensor) -> dict[str, float]:
        """Train the discriminator on real images; returns its losses by name.

        Parameters
        ----------
        real : (batch, 1, image_size, image_size) tensor
            Of the data set; patches are the system's business.
        azimuths : (batch,) tensor
            Where they were seen from, degrees: for a discriminator that is told.
        """

    @abstractmethod
    def generator_step(self) -> dict[str, float]:
        """Train the generator; returns its losses by name."""

    def extra_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Arrays and plain facts that a subclass keeps beside networks, optimisers, `rng` and `step`."""
        return {}, {}

    def load_extra_state(self, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what :meth:`extra_state` gave."""
        return

    # What is the same in all.

    def sample_codes(self, count: int, rng: torch.Generator | None = None) -> Tensor:
        """(count, code_size) standard normal codes, drawn from the system's own `rng` where none is given."""
        return torch.randn(count, self.code_size, generator=rng or self.rng).to(self.device)

    def poses(self, azimuths: "Tensor | list[float]") -> Tensor:
        """(n, 3) poses at azimuths in degrees, in the middle of the distribution otherwise."""
        return camera.fixed_poses(torch.as_tensor(azimuths, dtype=torch.float32), self.settings).to(self.device)

    def train_step(self, real: Tensor, azimuths: Tensor) -> dict[str, float]:
        """One step of both players and of the running mean; returns the losses by name.

        `real` and `azimuths` as :meth:`discriminator_step` takes them, on any device.
        """
        losses = self.discriminator_step(real.to(self.device), azimuths.to(self.device))
        losses |= self.generator_step()
        self.update_ema()
        self.step += 1
        return losses

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move the running mean of the generator."""
        for mean, new in zip(self.generator_ema.parameters(), self.generator.parameters(), strict=True):
            mean.lerp_(new, 1.0 - self.settings.ema)
        for kept, current in zip(self.generator_ema.buffers(), self.generator.buffers(), strict=True):
            kept.copy_(current)

    def render_rays(
        self,
        codes: Tensor,
        poses: Tensor,
        size: int | None = None,
        generator: nn.Module | None = None,
        rays_at_once: int = RAYS_AT_ONCE,
    ) -> Tensor:
        """:meth:`render` with gradients, for inversion."""
        size = size or self.settings.image_size
        points = camera.pixel_points(size).to(self.device)
        rows = max(1, rays_at_once // max(len(codes), 1))
        parts = [
            self.shade(codes, poses, part[None].expand(len(codes), -1, -1), generator).mean(dim=-1)
            for part in points.split(rows)
        ]
        return torch.cat(parts, dim=1).reshape(len(codes), 1, size, size)

    @torch.no_grad()
    def render(self, codes: Tensor, poses: Tensor, size: int | None = None, rays_at_once: int = RAYS_AT_ONCE) -> Tensor:
        """Whole pictures by the running mean of the generator.

        Parameters
        ----------
        codes : (n, code_size) tensor
        poses : (n, 3) tensor
        size : int, optional
            Pixels a side; by default the size that was trained.
        rays_at_once : int

        Returns
        -------
        (n, 1, size, size) tensor
            In [0, 1].
        """
        return self.render_rays(codes, poses, size, rays_at_once=rays_at_once).clamp(0.0, 1.0)

    # Checkpoints.

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that continues this training exactly: arrays by name, and plain facts."""
        extra, extra_facts = self.extra_state()
        arrays = {f"extra/{name}": value for name, value in extra.items()}
        for name, network in self.networks.items():
            arrays |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
        groups: dict[str, Any] = {}
        for name, optimiser in self.optimisers.items():
            state = optimiser.state_dict()
            for index, entry in state["state"].items():
                arrays |= {f"optimiser/{name}/{index}/{key}": torch.as_tensor(value) for key, value in entry.items()}
            groups[name] = [_plain_group(group) for group in state["param_groups"]]
        arrays["rng"] = self.rng.get_state()
        return arrays, {"step": self.step, "groups": groups, "extra": extra_facts}

    def load_state(self, arrays: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take what :meth:`state` gave.

        Raises
        ------
        CheckpointError
            When an array is missing, left over or of another shape.
        """
        for name, network in self.networks.items():
            mine = _below(arrays, f"{name}/")
            wanted = network.state_dict()
            _check_shapes(name, mine, wanted)
            network.load_state_dict(mine)
        for name, optimiser in self.optimisers.items():
            _load_optimiser(name, optimiser, _below(arrays, f"optimiser/{name}/"), facts["groups"][name])
        self.rng.set_state(arrays["rng"].cpu().to(torch.uint8))
        self.load_extra_state(_below(arrays, "extra/"), facts["extra"])
        self.step = int(facts["step"])


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """A network whose weights take no gradients inside, while its inputs may."""
    before = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, wanted in zip(network.parameters(), before, strict=True):
            parameter.requires_grad_(wanted)


def _plain_group(group: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in group.items() if key != "params"}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def _below(arrays: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def _check_shapes(network: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    for key in sorted(wanted.keys() | given.keys()):
        if key not in given or key not in wanted or given[key].shape != wanted[key].shape:
            raise CheckpointError(
                f"The checkpoint's {network} does not fit its settings (at '{key:.80}'); train again."
            )


def _load_optimiser(
    name: str, optimiser: torch.optim.Optimizer, arrays: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    entries: dict[int, dict[str, Tensor]] = {}
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for path, value in arrays.items():
        index, _, key = path.partition("/")
        if not index.isdigit() or int(index) >= len(parameters):
            raise CheckpointError(f"The checkpoint's optimiser '{name}' does not fit its networks; train again.")
        if value.ndim and value.shape != parameters[int(index)].shape:
            raise CheckpointError(f"The checkpoint's optimiser '{name}' does not fit its networks; train again.")
        entries.setdefault(int(index), {})[key] = value
    own = optimiser.state_dict()["param_groups"]
    if len(own) != len(groups):
        raise CheckpointError(f"The checkpoint's optimiser '{name}' does not fit its networks; train again.")
    merged = []
    for mine, saved in zip(own, groups, strict=True):
        restored = {key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()}
        merged.append({**mine, **restored, "params": mine["params"]})
    optimiser.load_state_dict({"state": entries, "param_groups": merged})
