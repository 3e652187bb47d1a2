"""Scenes of closed shapes that attenuate, for the X-ray mode's tests."""

import bpy
import numpy as np


def only(*names: str) -> bpy.types.Scene:
    """The scene without its cube and light."""
    scene = bpy.context.scene
    for item in list(scene.objects):
        if item.type != "CAMERA" and item.name not in names:
            bpy.data.objects.remove(item)
    return scene


def cube(name: str, material: str = "CUSTOM", mu: float = 0.2, size: float = 2.0, **place) -> bpy.types.Object:
    """A cube that attenuates."""
    bpy.ops.mesh.primitive_cube_add(size=size, **place)
    return made_of(bpy.context.object, name, material, mu)


def made_of(item: bpy.types.Object, name: str, material: str = "CUSTOM", mu: float = 0.2, priority: int = 0):
    """Give an object its name and what it is made of."""
    item.name = name
    item.nerf_xray.material, item.nerf_xray.attenuation, item.nerf_xray.priority = material, mu, priority
    bpy.context.view_layer.update()
    return item


def gathered(addon_module) -> list:
    """All parts that X-rays see."""
    bpy.context.view_layer.update()
    work = addon_module("xray.gather").gather(bpy.context.scene.session_uid, bpy.context.view_layer.name)
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value


def volume(part) -> float:
    """What a part encloses."""
    corners = part.vertices[part.faces]
    return float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
