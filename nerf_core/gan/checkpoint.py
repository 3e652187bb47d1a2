"""Checkpoints of generative systems: one safetensors file with networks, optimisers and random state, and JSON facts.

As with fields' checkpoints, loading one runs no code, and whatever is wrong with a file ends in one sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..contract.errors import CheckpointError, NerfError
from ..contract.files import write_bytes
from ..contract.json_data import shown
from ..data.arrays_file import (
    BROKEN,
    broken_metadata,
    check_arrays,
    check_finite,
    check_format,
    checkpoint_metadata,
    checksum,
    facts_of,
    read_arrays,
)
from ..training.budget import Spent
from ..training.checkpoint import MAX_SEED
from .base import System
from .registry import SYSTEMS, system_class

FORMAT, VERSION = "nerf_toolkit.gan_checkpoint", 1


@dataclass(frozen=True)
class GanCheckpoint:
    """What a checkpoint file holds.

    Attributes
    ----------
    system : str
    settings : dict
        All of the system's settings.
    seed : int
    spent : Spent
    arrays : dict of str to Tensor
    facts : dict
        Of `System.state`.
    """

    system: str
    settings: dict[str, Any]
    seed: int
    spent: Spent
    arrays: dict[str, Tensor]
    facts: dict[str, Any]

    def make(self, path: Path, device: str) -> System:
        """The system with everything in its place; `path` is what messages name.

        Raises
        ------
        CheckpointError
            When settings or arrays do not fit each other.
        """
        kind = system_class(self.system)
        try:
            system = kind(kind.settings_class.from_mapping(self.settings, device), device, self.seed)
            system.load_state(self.arrays, self.facts)
        except NerfError as error:
            raise CheckpointError(f"'{path}' cannot be used: {shown(str(error), 1000)}") from error
        except (KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"'{path}' cannot be used ({shown(first, 200)}); train again.") from error
        return system


def save(path: Path, system: System, seed: int, spent: Spent, versions: Mapping[str, str]) -> None:
    """Write a checkpoint beside `path` and rename it over.

    Raises
    ------
    NerfError
        When the disk is full, or an array holds NaN or infinity: the file that was there stays.
    """
    from safetensors.torch import save as to_bytes

    arrays, facts = system.state()
    arrays = {name: value.detach().cpu().contiguous().clone() for name, value in sorted(arrays.items())}
    check_finite(path, _numpy(arrays), "lower learning rates")
    told = {
        "system": system.name,
        "settings": system.settings.to_dict(),
        "seed": seed,
        "spent": {"seconds": spent.seconds, "steps": spent.steps},
        "state": facts,
        "versions": dict(versions),
        "crc32": checksum(_numpy(arrays)),
    }
    write_bytes(path, to_bytes(arrays, metadata=checkpoint_metadata(FORMAT, VERSION, told)))


def load(path: Path) -> GanCheckpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        When it is missing, cut off, not one of these, damaged, or of another version.
    """
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint '{path}': the run has not trained long enough to save one.")

    def check(metadata: dict[str, str]) -> None:
        check_format(path, metadata, FORMAT, VERSION, "a generative system")

    metadata, arrays = read_arrays(path, "pt", check)
    facts = facts_of(path, metadata)
    try:
        if not isinstance(facts, dict) or facts["system"] not in SYSTEMS:
            raise ValueError("its system is not known")
        seed, spent = facts["seed"], facts["spent"]
        if type(seed) is not int or not 0 <= seed < MAX_SEED:
            raise ValueError("its seed is no seed")
        if not all(isinstance(facts[key], dict) for key in ("settings", "spent", "state")):
            raise ValueError("it is not made of objects")
        seconds, steps = float(spent["seconds"]), spent["steps"]
        if not 0.0 <= seconds < 1e12 or type(steps) is not int or not 0 <= steps < 2**53:
            raise ValueError("'spent' is not usable")
    except BROKEN as error:
        raise broken_metadata(path, error) from error
    check_arrays(path, facts, _numpy(arrays))
    return GanCheckpoint(facts["system"], facts["settings"], seed, Spent(seconds, steps), arrays, facts["state"])


def _numpy(arrays: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: array.numpy() for name, array in arrays.items()}
