"""Checkpoints: one safetensors file with all arrays, and JSON metadata enough to render without the data set.

Loading one runs no code, whatever the file holds, and every way in which a file can be wrong ends in one sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.camera import Camera
from ..contract.errors import CheckpointError
from ..contract.files import write_bytes
from ..contract.run_folder import CHECKPOINT_FORMAT, CHECKPOINT_VERSION
from ..contract.transforms import FARTHEST, ColorSpace, is_box
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
from ..methods.base import MethodState
from .budget import Spent

MAX_SEED = 2**32


@dataclass(frozen=True)
class Scene:
    """What a run must remember of its data set.

    Attributes
    ----------
    bounds : (2, 3) float64 array
        World space.
    color_space : {'srgb', 'linear'}
    has_alpha : bool
    background : (3,) tuple of float
        What pictures are compared over, in the images' encoded colour.
    cameras : list of Camera
        The training cameras.
    """

    bounds: np.ndarray
    color_space: ColorSpace
    has_alpha: bool
    background: tuple[float, float, float]
    cameras: list[Camera] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """Everything in a checkpoint file.

    Attributes
    ----------
    method : str
        Its name in the registry.
    state : MethodState
    scene : Scene
    settings : dict
        What the person set; the method's full settings are in its state.
    seed : int
    spent : Spent
    versions : dict of str to str
        What wrote it.
    """

    method: str
    state: MethodState
    scene: Scene
    settings: dict[str, Any]
    seed: int
    spent: Spent
    versions: dict[str, str]


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint beside `path` and rename it over.

    Raises
    ------
    NerfError
        When the disk is full or the folder cannot be written, and when an array holds NaN or infinity: the file that
        was there stays.
    """
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(array) for name, array in sorted(checkpoint.state.arrays.items())}
    check_finite(Path(path), arrays, "a lower learning rate")
    scene = checkpoint.scene
    facts = {
        "method": checkpoint.method,
        "method_settings": checkpoint.state.settings,
        "settings": checkpoint.settings,
        "seed": checkpoint.seed,
        "spent": {"seconds": checkpoint.spent.seconds, "steps": checkpoint.spent.steps},
        "bounds": np.asarray(scene.bounds, dtype=np.float64).tolist(),
        "color_space": scene.color_space,
        "has_alpha": scene.has_alpha,
        "background": [float(channel) for channel in scene.background],
        "cameras": [camera.to_dict() for camera in scene.cameras],
        "versions": checkpoint.versions,
        "crc32": checksum(arrays),
    }
    metadata = checkpoint_metadata(CHECKPOINT_FORMAT, CHECKPOINT_VERSION, facts)
    # Through bytes: safetensors' own writing tells a full disk as an error of its own kind.
    write_bytes(path, save(arrays, metadata=metadata))


def read_spent(path: str | Path) -> Spent:
    """What a checkpoint had trained, without reading its arrays.

    Raises
    ------
    CheckpointError
        As :func:`load_checkpoint` does, where it can be told without the arrays.
    """
    path = Path(path)
    facts, _ = _opened(path, with_arrays=False)
    try:
        _want(isinstance(facts, dict) and isinstance(facts["spent"], dict), "it is not an object")
        return _spent(facts["spent"])
    except BROKEN as error:
        raise broken_metadata(path, error) from error


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    CheckpointError
        When it is missing, cut off, not ours, of another version, or holds what does not belong there.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint '{path}': the run has not trained long enough to save one.")
    facts, arrays = _opened(path)
    try:
        checkpoint = _from_facts(facts, arrays)
    except BROKEN as error:
        raise broken_metadata(path, error) from error
    check_arrays(path, facts, arrays)
    return checkpoint


def _opened(path: Path, with_arrays: bool = True) -> tuple[Any, dict[str, np.ndarray]]:
    """The facts in a file's metadata, once it is known to be ours, and its arrays."""

    def check(metadata: dict[str, str]) -> None:
        check_format(path, metadata, CHECKPOINT_FORMAT, CHECKPOINT_VERSION, "NeRF Toolkit")

    metadata, arrays = read_arrays(path, "numpy", check, with_arrays)
    return facts_of(path, metadata), arrays


def _from_facts(facts: Any, arrays: dict[str, np.ndarray]) -> Checkpoint:
    _want(isinstance(facts, dict), "it is not an object")
    bounds = _numbers(facts["bounds"], "bounds", (2, 3))
    _want(is_box(bounds), "the bounds are empty, or too far away")
    background = tuple(_numbers(facts["background"], "background", (3,)).tolist())
    for key, kind in (("method", str), ("has_alpha", bool), ("cameras", list), ("color_space", str)):
        _want(isinstance(facts[key], kind), f"'{key}' is of the wrong type")
    _want(facts["color_space"] in ("srgb", "linear"), "the colour space is unknown")
    seed = _count(facts["seed"], "seed", MAX_SEED)
    for key in ("settings", "method_settings", "versions", "spent"):
        _want(isinstance(facts[key], dict), f"'{key}' is not an object")
    spent = _spent(facts["spent"])
    cameras = [_camera(camera) for camera in facts["cameras"]]
    return Checkpoint(
        method=facts["method"],
        state=MethodState(arrays, facts["method_settings"]),
        scene=Scene(
            bounds=bounds,
            color_space=facts["color_space"],
            has_alpha=facts["has_alpha"],
            background=background,  # type: ignore[arg-type]
            cameras=cameras,
        ),
        settings=facts["settings"],
        seed=seed,
        spent=spent,
        versions={str(key): str(value) for key, value in facts["versions"].items()},
    )


def _spent(values: Mapping[str, Any]) -> Spent:
    seconds = float(_numbers(values["seconds"], "spent", ()))
    _want(seconds >= 0, "'spent' is not usable")
    return Spent(seconds, _count(values["steps"], "spent", 2**53))


def _numbers(value: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of finite numbers as float64: numpy alone would take words and truth values for numbers, too."""
    _want(all(type(item) in (int, float) for item in _leaves(value, len(shape))), f"'{name}' holds what is no number")
    array = np.array(value, dtype=np.float64)
    _want(array.shape == shape and bool(np.isfinite(array).all()), f"'{name}' is not usable")
    return array


def _leaves(value: Any, depth: int) -> list[Any]:
    leaves = [value]
    for _ in range(depth):
        leaves = [inner for outer in leaves for inner in (outer if isinstance(outer, list) else (None,))]
    return leaves


def _count(value: Any, name: str, limit: int) -> int:
    _want(type(value) is int and 0 <= value < limit, f"'{name}' is not a whole number in its range")
    return value


def _camera(values: Any) -> Camera:
    _want(isinstance(values, dict), "a camera is not an object")
    c2w = _numbers(values["transform_matrix"], "transform_matrix", (4, 4))
    _want(bool(np.abs(c2w).max() <= FARTHEST), "a camera is too far away")
    _want(isinstance(values.get("kind", "perspective"), str), "a camera's kind is not a word")
    return Camera.from_dict(values)


def _want(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
