"""The cameras that a run was trained with, as camera objects in a collection of their own."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import bpy
import numpy as np

from ..capture.cameras import new_camera
from ..vendor.nerf_core.contract.camera import Camera
from ..vendor.nerf_core.contract.errors import CheckpointError, DataError
from ..vendor.nerf_core.contract.run_folder import CHECKPOINT_FORMAT, CHECKPOINT_VERSION
from .point_display import KIND_KEY, RESULT_KEY

COLLECTION = "NeRF Cameras"
MAX_HEADER = 256 * 1024 * 1024


def checkpoint_cameras(path: Path) -> list[tuple[str, Camera]]:
    """The training cameras that a checkpoint remembers; only its JSON header is read.

    Raises
    ------
    CheckpointError
        When the file is missing, broken or of another version.
    """
    try:
        with open(path, "rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length <= MAX_HEADER else {}
        metadata = header.get("__metadata__", {})
        # Before the facts: another version may hold others.
        version = metadata.get("version") if metadata.get("format") == CHECKPOINT_FORMAT else None
        if version not in (None, str(CHECKPOINT_VERSION)):
            raise CheckpointError(
                f"'{path}' is a checkpoint of version {version}, this NeRF Toolkit reads version "
                f"{CHECKPOINT_VERSION}; use the version that made it, or train again."
            )
        facts = json.loads(metadata["facts"])
        cameras = [Camera.from_dict(entry) for entry in facts["cameras"]]
    except OSError as error:
        raise CheckpointError(f"Cannot read '{path}': {error.strerror or error}.") from error
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, DataError) as error:
        raise CheckpointError(f"'{path}' is not a checkpoint of NeRF Toolkit, or is broken; train again.") from error
    if version is None:
        raise CheckpointError(f"'{path}' is not a checkpoint of NeRF Toolkit; choose another run.")
    return [(f"train {index:04d}", camera) for index, camera in enumerate(cameras)]


def import_cameras(scene: bpy.types.Scene, cameras: Sequence[tuple[str, Camera]]) -> bpy.types.Collection:
    """Make one camera object each; those of an earlier import are replaced.

    Parameters
    ----------
    scene : Scene
    cameras : sequence of (name, Camera)

    Returns
    -------
    Collection
        A child of the scene's collection.
    """
    collection = next((c for c in scene.collection.children if c.get(KIND_KEY) == "cameras"), None)
    if collection is None:
        collection = bpy.data.collections.new(COLLECTION)
        collection[KIND_KEY] = "cameras"
        scene.collection.children.link(collection)
    for item in [item for item in collection.objects if item.get(RESULT_KEY) == "camera"]:
        data = item.data
        bpy.data.objects.remove(item)
        if data.users == 0:
            bpy.data.cameras.remove(data)
    size = _display_size([camera for _, camera in cameras])
    for name, camera in cameras:
        item = new_camera(camera, f"NeRF {name}")
        item[RESULT_KEY] = "camera"
        item.data.display_size = size
        collection.objects.link(item)
    return collection


def _display_size(cameras: Sequence[Camera]) -> float:
    if len(cameras) < 2:
        return 1.0
    positions = np.array([camera.position for camera in cameras])
    return max(0.01, 0.06 * float(np.linalg.norm(np.ptp(positions, axis=0))))
