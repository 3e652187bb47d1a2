"""Which generative systems there are, and how one is made."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..contract.errors import NerfError

if TYPE_CHECKING:
    from .base import System

SYSTEMS = ("mednerf", "hypernerfgan")


def check_system(name: str) -> str:
    """The name itself; a NerfError when there is no such system."""
    if name not in SYSTEMS:
        raise NerfError(f"The system '{name:.80}' is not known; use one of {', '.join(SYSTEMS)}.")
    return name


def system_class(name: str) -> "type[System]":
    """The class of a system; a NerfError when there is none of that name."""
    check_system(name)
    if name == "mednerf":
        from .mednerf import MedNeRF

        return MedNeRF
    from .hypernerfgan import HyperNeRFGAN

    return HyperNeRFGAN


def create(name: str, settings: Mapping[str, Any] | None = None, device: str = "cpu", seed: int = 0) -> "System":
    """Make a system with fresh networks.

    Parameters
    ----------
    name : {'mednerf', 'hypernerfgan'}
    settings : mapping, optional
        The system's own, and `preset`.
    device : str
        As `methods.registry.resolve_device` gives it.
    seed : int
        Of the networks and of all random choices.

    Raises
    ------
    NerfError
        When the system or a setting is not usable.
    """
    kind = system_class(name)
    return kind(kind.settings_class.from_mapping(settings or {}, device), device, seed)
