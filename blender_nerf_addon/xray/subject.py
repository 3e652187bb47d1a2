"""What X-rays go through in a scene: which objects, how far they reach, and points of theirs to look at."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..vendor.nerf_core.contract.errors import NerfError
from . import properties
from .gather import attenuating, is_ct, seen_meshes

MOST_POINTS = 20_000  # of all objects, to mark what is cut off
MOST_READ = 500_000  # vertices of one mesh; of larger ones the box must do
DIRECTIONS = 32  # in which the farthest points are kept
WEAR = 20.0  # looking again takes no more than a twentieth of the time
NOTHING = (
    "Nothing attenuates X-rays: select closed meshes and give them a material in the X-Ray panel, import a CT, or show "
    "what is hidden."
)


@dataclass(frozen=True)
class Subject:
    """What radiographs show.

    Attributes
    ----------
    names : tuple of str
        Of the objects.
    points : (N, 3) float32 array
        Places on it, world space: some, and those that reach farthest.
    bounds : (2, 3) float64 array
    """

    names: tuple[str, ...]
    points: np.ndarray
    bounds: np.ndarray

    @property
    def center(self) -> np.ndarray:
        """(3,) middle of the bounds."""
        return self.bounds.mean(axis=0)

    @property
    def size(self) -> np.ndarray:
        """(3,) extent of the bounds."""
        return self.bounds[1] - self.bounds[0]

    def reach(self, center: np.ndarray) -> tuple[float, float]:
        """How far it reaches from the axis along Z through `center`, and above or below `center`."""
        away = self.points.astype(np.float64) - center
        return float(np.hypot(away[:, 0], away[:, 1]).max()), float(np.abs(away[:, 2]).max())


@dataclass
class _Known:
    """The newest look, and whether the scene has changed since."""

    subject: Subject | None = None
    scene: int = 0
    stale: bool = True
    looked: float = 0.0
    took: float = 0.0
    revision: int = 0


_known = _Known()


def find(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> Subject:
    """Look at the scene as it is evaluated now.

    Raises
    ------
    NerfError
        When nothing attenuates, or what does is nowhere.
    """
    layer.update()
    found = _look(layer)
    if found is None:
        raise NerfError(NOTHING)
    return found


def known(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> tuple[Subject | None, int]:
    """The subject for who draws: looked at again when the scene has changed, though not all the time.

    Returns
    -------
    subject : Subject or None
    revision : int
        Another number for another look.
    """
    now = time.monotonic()
    other = _known.scene != scene.session_uid
    rest = WEAR * _known.took - (now - _known.looked)
    if _known.stale and rest > 0.0 and not other:
        _draw_again_in(rest)
    elif other or _known.stale:
        began = time.perf_counter()
        _known.subject, _known.scene, _known.stale = _look(layer), scene.session_uid, False
        _known.took, _known.looked = time.perf_counter() - began, now
        _known.revision += 1
    return _known.subject, _known.revision


def _draw_again_in(seconds: float) -> None:
    """See to it that who drew an old look draws again: after the last change nothing else may ask for it."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_draw_again):
        bpy.app.timers.register(_draw_again, first_interval=seconds)


def _draw_again() -> None:
    properties.redraw()


def forget() -> None:
    """The scene has changed."""
    _known.stale = True


def _look(layer: bpy.types.ViewLayer) -> Subject | None:
    clouds: list[np.ndarray] = []
    names: list[str] = []
    for item, owner, matrix in seen_meshes(layer):
        points = _points(item)
        if len(points):
            clouds.append(_moved(points, np.array(matrix, dtype=np.float64)))
            names.append(owner.name)
    for item in attenuating(layer):
        if is_ct(item):
            clouds.append(_moved(_shell(item), np.array(item.matrix_world, dtype=np.float64)))
            names.append(item.name)
    if not clouds:
        return None
    low, high = (np.stack([ends(cloud, axis=0) for cloud in clouds]) for ends in (np.min, np.max))
    bounds = np.stack([low.min(axis=0), high.max(axis=0)]).astype(np.float64)
    if not np.isfinite(bounds).all():
        return None
    return Subject(tuple(dict.fromkeys(names)), _thinned(clouds), bounds)


def _points(item: bpy.types.Object) -> np.ndarray:
    """(N, 3) float32 local places of an evaluated mesh."""
    mesh = item.data
    if len(mesh.vertices) > MOST_READ:
        return _shell(item)
    points = np.empty(3 * len(mesh.vertices), dtype=np.float32)
    if len(points):
        mesh.attributes["position"].data.foreach_get("vector", points)
    return points.reshape(-1, 3)


def _shell(item: bpy.types.Object, count: int = 9) -> np.ndarray:
    """Places on the six sides of an object's own box."""
    corners = np.array([tuple(corner) for corner in item.bound_box], dtype=np.float32)
    low, high = corners.min(axis=0), corners.max(axis=0)
    part = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, count)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    part = part[((part == 0.0) | (part == 1.0)).any(axis=1)]
    return (low + part * (high - low)).astype(np.float32)


def _moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return (points @ matrix[:3, :3].T.astype(np.float32) + matrix[:3, 3]).astype(np.float32)


def _thinned(clouds: Sequence[np.ndarray]) -> np.ndarray:
    """Some of the points, with those that reach farthest in many directions."""
    share = max(1, MOST_POINTS // len(clouds))
    kept = []
    for cloud in clouds:
        step = -(-len(cloud) // share)
        kept.append(cloud[::step])
        if step > 1:
            kept.append(cloud[_farthest(cloud)])
    return np.concatenate(kept)


def _farthest(cloud: np.ndarray) -> list[int]:
    """Numbers of the points that reach farthest sideways, in many directions, up and down."""
    x, y, z = (np.ascontiguousarray(cloud[:, axis]) for axis in range(3))
    found = {int(z.argmax()), int(z.argmin())}
    for turn in np.linspace(0.0, np.pi, DIRECTIONS // 2, endpoint=False):
        across = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
        found |= {int(across.argmax()), int(across.argmin())}
    return sorted(found)


@bpy.app.handlers.persistent
def _changed(*_: object) -> None:
    forget()


def register() -> None:
    """Notice changes of the scene."""
    bpy.app.handlers.depsgraph_update_post.append(_changed)
    bpy.app.handlers.load_post.append(_changed)
    bpy.app.handlers.frame_change_post.append(_changed)
    properties.on_change.append(forget)


def unregister() -> None:
    """Notice nothing any more."""
    if bpy.app.timers.is_registered(_draw_again):
        bpy.app.timers.unregister(_draw_again)
    properties.on_change.remove(forget)
    bpy.app.handlers.frame_change_post.remove(_changed)
    bpy.app.handlers.load_post.remove(_changed)
    bpy.app.handlers.depsgraph_update_post.remove(_changed)
    _known.subject = None
    forget()
