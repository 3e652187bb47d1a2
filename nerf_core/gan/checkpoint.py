"""Checkpoints of generative systems: one safetensors file with networks, optimisers and random state, and JSON facts.

As with fields' checkpoints, loading one runs no code, and whatever is wrong with a file ends in one sentence.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..contract.errors import CheckpointError, DataError, NerfError
from ..contract.files import write_bytes
from ..contract.json_data import parse_json, shown
from ..training.budget import Spent
from ..training.checkpoint import MAX_SEED, checksum
from .base import System
from .registry import SYSTEMS, system_class

FORMAT, VERSION = "nerf_toolkit.gan_checkpoint", "1"


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
    for name, array in arrays.items():
        if array.is_floating_point() and not bool(torch.isfinite(array).all()):
            raise NerfError(
                f"Training has diverged: '{name}' holds NaN or infinity, so '{path}' keeps its last good state; "
                "train again with lower learning rates."
            )
    told = {
        "system": system.name,
        "settings": system.settings.to_dict(),
        "seed": seed,
        "spent": {"seconds": spent.seconds, "steps": spent.steps},
        "state": facts,
        "versions": dict(versions),
        "crc32": checksum({name: array.numpy() for name, array in arrays.items()}),
    }
    metadata = {"format": FORMAT, "version": VERSION, "facts": json.dumps(told, allow_nan=False)}
    write_bytes(path, to_bytes(arrays, metadata=metadata))


def load(path: Path) -> GanCheckpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        When it is missing, cut off, not one of these, damaged, or of another version.
    """
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint '{path}': the run has not trained long enough to save one.")
    metadata, arrays = _read(path)
    try:
        facts = parse_json(metadata["facts"])
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
    except (ValueError, KeyError, TypeError, OverflowError, DataError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f"The metadata of '{path}' is broken ({shown(told, 120)}); train again.") from error
    if facts.get("crc32") != checksum({name: array.numpy() for name, array in arrays.items()}):
        raise CheckpointError(f"'{path}' is damaged: its arrays are not those that were saved; train again.")
    return GanCheckpoint(facts["system"], facts["settings"], seed, Spent(seconds, steps), arrays, facts["state"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"'{path}' is not a checkpoint of a generative system; choose another run.")
            if metadata.get("version") != VERSION:
                raise CheckpointError(
                    f"'{path}' is a checkpoint of version {shown(str(metadata.get('version')))}, this NeRF Toolkit "
                    f"reads version {VERSION}; use the version that made it, or train again."
                )
            return metadata, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except OSError as error:
        raise CheckpointError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"'{path}' is not a whole safetensors file ({shown(first, 120)}); it is cut off or damaged: train again."
        ) from error
