"""One context manager that saves and restores all scene state that a capture touches.

On the way out every setting is as it was, after success, error and cancel alike: output, image, colour and engine
settings, camera, frame with what the animation had overwritten, view layers, marker bindings, hidden objects, and the
datablocks that were made on the way.
"""

from collections.abc import Callable, Iterator
from typing import Any

import bpy

from .. import compat

PASSES = 4  # an enum's choices depend on another setting (look on view transform), so restoring takes some rounds
_ANIMATED = ("objects", "cameras", "lights", "materials", "worlds", "meshes", "curves", "shape_keys", "armatures",
             "node_groups", "scenes", "lightprobes", "lattices", "metaballs", "volumes")  # fmt: skip


class SceneGuard:
    """Saves a scene's state on entry and restores it on exit.

    Inside, the scene's camera and frame, its output, image and colour settings, the engines' samples and denoising and
    which view layers are used may be changed freely; everything else goes through :meth:`set`, and datablocks that
    shall not stay through :meth:`temporary`.

    Parameters
    ----------
    scene : Scene

    Notes
    -----
    Values that a person changed and did not key are saved too: going to another frame overwrites them, and so does
    rendering.

    Examples
    --------
    >>> with SceneGuard(scene) as guard:
    ...     scene.render.film_transparent = True
    ...     guard.set(cube, "hide_render", True)
    """

    def __init__(self, scene: bpy.types.Scene) -> None:
        self.scene = scene
        self._undo: list[Callable[[], None]] = []
        self._structs: list[tuple[Any, dict[str, tuple[bool, Any]]]] = []
        self._temporary: list[tuple[Any, bpy.types.ID]] = []

    def __enter__(self) -> "SceneGuard":
        scene = self.scene
        self._frame = (scene.frame_current, scene.frame_subframe)
        self._camera = scene.camera
        self._images = {image.session_uid for image in bpy.data.images}
        self._structs = [(struct, _read(struct, names)) for struct, names in _touched(scene)]
        self._animated = list(_animated_values())
        return self

    def __exit__(self, *_: object) -> None:
        scene = self.scene
        if (scene.frame_current, scene.frame_subframe) != self._frame:
            _quietly(lambda: scene.frame_set(self._frame[0], subframe=self._frame[1]))
        overwritten = [entry for entry in self._animated if _differs(*entry)]
        for owner, name, value in overwritten:
            _quietly(lambda owner=owner, name=name, value=value: _write(owner, name, value))
        while self._undo:
            _quietly(self._undo.pop())
        for _ in range(PASSES):
            changed = [_quietly(lambda pair=pair: _restore(*pair)) for pair in self._structs]
            if not any(changed):
                break
        if scene.camera != self._camera:
            scene.camera = self._camera
        while self._temporary:
            owner, item = self._temporary.pop()
            _quietly(lambda owner=owner, item=item: owner.remove(item))
        for image in list(bpy.data.images):
            if image.session_uid not in self._images and image.type == "RENDER_RESULT":
                bpy.data.images.remove(image)
        if overwritten:  # matrices follow
            for layer in scene.view_layers:
                if layer.depsgraph is not None:
                    layer.update()

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name`, to be set back on exit."""
        before = getattr(owner, name)
        if before != value:
            self._undo.append(lambda: setattr(owner, name, before))
            setattr(owner, name, value)

    def temporary(self, collection: Any, item: Any) -> Any:
        """Have `item` removed from `collection` (one of `bpy.data`'s) on exit; returns it."""
        self._temporary.append((collection, item))
        return item


def _touched(scene: bpy.types.Scene) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """The structs that a capture changes, those first on which the values of others depend, and which properties.

    No names means all: setting one of these may change its neighbours. The engines' settings stand alone.
    """
    yield scene.display_settings, ()
    yield scene.view_settings, ()
    yield scene.render, ()
    image = scene.render.image_settings
    yield image, ()
    yield image.display_settings, ()
    yield image.view_settings, ()
    # A PNG has no use for one: until a format is chosen for the first time it holds a name that is none and cannot be
    # set, and Blender fills it in.
    if image.file_format != "PNG":
        yield image.linear_colorspace_settings, ()
    yield scene.eevee, ("taa_render_samples",)
    if hasattr(scene, "cycles"):
        yield scene.cycles, ("samples", "use_denoising")
    for layer in scene.view_layers:
        yield layer, ("use", "use_pass_combined")


def _read(struct: Any, names: tuple[str, ...]) -> dict[str, tuple[bool, Any]]:
    """Of each simple writable property whether it was set at all, and its value."""
    values = {}
    for item in struct.bl_rna.properties:
        name = item.identifier
        if name == "rna_type" or item.is_readonly or item.type in {"POINTER", "COLLECTION"}:
            continue
        if names and name not in names:
            continue
        try:
            value = getattr(struct, name)
        except (AttributeError, TypeError):  # an enum whose stored number has no name in this build
            continue
        if getattr(item, "is_array", False):
            value = tuple(value)
        values[name] = (struct.is_property_set(name), value)
    return values


def _restore(struct: Any, values: dict[str, tuple[bool, Any]]) -> int:
    """Set back what differs; returns how many values did."""
    changed = 0
    for name, (was_set, value) in values.items():
        now = getattr(struct, name)
        now = tuple(now) if isinstance(value, tuple) else now
        if now != value:
            changed += 1
            _quietly(lambda name=name, value=value: setattr(struct, name, value))
        if not was_set and struct.is_property_set(name):
            changed += 1
            struct.property_unset(name)
    return changed


def _animated_values() -> Iterator[tuple[Any, str, Any]]:
    """What f-curves drive, as (owner, property, value) with the values that are there now."""
    for kind in _ANIMATED:
        for block in getattr(bpy.data, kind, ()):
            holders = [block]
            if getattr(block, "node_tree", None) is not None:
                holders.append(block.node_tree)
            for holder in holders:
                animation = holder.animation_data
                for path in {curve.data_path for curve in compat.action_curves(animation)} if animation else ():
                    found = _resolve(holder, path)
                    if found is not None:
                        yield found


def _resolve(block: bpy.types.ID, path: str) -> tuple[Any, str, Any] | None:
    try:
        value = block.path_resolve(path)
    except ValueError:  # a curve of something that no longer exists drives nothing
        return None
    value = tuple(value) if hasattr(value, "__len__") and not isinstance(value, str | bytes) else value
    if path.endswith("]"):
        start = path.rindex("[")
        owner = block.path_resolve(path[:start]) if start else block
        return owner, path[start:], value
    owner, dot, name = path.rpartition(".")
    return (block.path_resolve(owner) if dot else block), name, value


def _differs(owner: Any, name: str, value: Any) -> bool:
    try:
        now = owner[name[2:-2]] if name.startswith("[") else getattr(owner, name)
    except (ReferenceError, AttributeError, KeyError, TypeError):
        return False
    return (tuple(now) if isinstance(value, tuple) else now) != value


def _write(owner: Any, name: str, value: Any) -> None:
    if name.startswith("["):
        owner[name[2:-2]] = value
    else:
        setattr(owner, name, value)


def _quietly(action: Callable[[], Any]) -> Any:
    """Restore on even when one thing cannot be: its owner was removed, or its value is not offered any more."""
    try:
        return action()
    except (ReferenceError, TypeError, AttributeError, RuntimeError, KeyError) as error:
        print(f"NeRF Toolkit: a setting could not be restored: {error}")
        return None
