"""Safetensors files of ours: arrays with a checksum, a format and its version, and facts as JSON in the metadata.

Loading one runs no code, whatever the file holds, and every way in which a file can be wrong ends in one sentence.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..contract.errors import CheckpointError, DataError, NerfError
from ..contract.json_data import parse_json, shown

BROKEN = (ValueError, KeyError, TypeError, OverflowError, DataError)
"""What reading the facts of a broken file raises."""


def checksum(arrays: Mapping[str, np.ndarray]) -> int:
    """Over names and bytes: safetensors itself would not notice a flipped bit."""
    value = 0
    for name in sorted(arrays):
        value = zlib.crc32(name.encode("utf-8", "surrogatepass"), value)
        value = zlib.crc32(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data, value)
    return value


def read_arrays(
    path: Path,
    framework: Literal["numpy", "pt"],
    check: Callable[[dict[str, str]], None] | None = None,
    with_arrays: bool = True,
    error: type[NerfError] = CheckpointError,
    broken: str = "is not a whole safetensors file ({reason}); it is cut off or damaged: train again.",
) -> tuple[dict[str, str], dict[str, Any]]:
    """A file's metadata and arrays.

    Parameters
    ----------
    path : Path
    framework : {'numpy', 'pt'}
    check : callable, optional
        Given the metadata before any array is read: another version may hold types that this one cannot even name.
    with_arrays : bool
        Whether arrays are read at all.
    error : type
        Of what is raised.
    broken : str
        What a broken file is, after its name.

    Raises
    ------
    NerfError
        When it cannot be read, is cut off, or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework=framework) as opened:
            metadata = opened.metadata() or {}
            if check is not None:
                check(metadata)
            names = opened.keys() if with_arrays else ()
            return metadata, {name: opened.get_tensor(name) for name in names}
    except OSError as fault:
        raise error(f"Cannot read '{path}': {fault.strerror or fault}.") from fault
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError, RuntimeError) as fault:
        raise error(f"'{path}' {broken.format(reason=short(fault))}") from fault


def short(error: BaseException) -> str:
    """An error as part of a sentence."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    return shown(text.splitlines()[0], 120)


# Checkpoints: what those of fields and of generative systems have alike.


def check_finite(path: Path, arrays: Mapping[str, np.ndarray], remedy: str) -> None:
    """Refuse to save arrays with NaN or infinity; `remedy` is what to train again with."""
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise NerfError(
                f"Training has diverged: '{name}' holds NaN or infinity, so '{path}' keeps its last good state; "
                f"train again with {remedy}."
            )


def checkpoint_metadata(kind: str, version: int, facts: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a checkpoint; safetensors keeps it as words only."""
    return {"format": kind, "version": str(version), "facts": json.dumps(facts, allow_nan=False)}


def check_format(path: Path, metadata: Mapping[str, str], kind: str, version: int, whose: str) -> None:
    """Refuse files that are no checkpoints of `whose`, and those of other versions."""
    if metadata.get("format") != kind:
        raise CheckpointError(f"'{path}' is not a checkpoint of {whose}; choose another run.")
    if metadata.get("version") != str(version):
        raise CheckpointError(
            f"'{path}' is a checkpoint of version {shown(str(metadata.get('version')))}, this NeRF Toolkit reads "
            f"version {version}; use the version that made it, or train again."
        )


def facts_of(path: Path, metadata: Mapping[str, str]) -> Any:
    """The facts in a checkpoint's metadata."""
    try:
        return parse_json(metadata["facts"])
    except BROKEN as error:
        raise broken_metadata(path, error) from error


def broken_metadata(path: Path, error: BaseException) -> CheckpointError:
    """The sentence about facts that cannot be used."""
    return CheckpointError(f"The metadata of '{path}' is broken ({short(error)}); train again.")


def check_arrays(path: Path, facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that are not those that were saved."""
    if facts.get("crc32") != checksum(arrays):
        raise CheckpointError(f"'{path}' is damaged: its arrays are not those that were saved; train again.")
