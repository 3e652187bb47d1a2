"""What X-rays lose in an object: its material's attenuation, as it is set on objects and Blender materials."""

from dataclasses import dataclass
from typing import Any

import bpy

from ..vendor.nerf_core.contract.xray import MATERIALS

CM_PER_M = 100.0


def identifier(name: str) -> str:
    """What a material of the contract is called in a property."""
    return name.upper().replace(" ", "_").replace("-", "_")


_BY_IDENTIFIER = {identifier(name): mu for name, mu in MATERIALS.items()}
PRESETS = tuple(
    (identifier(name), name[:1].upper() + name[1:], f"{mu:g} per cm", number)
    for number, (name, mu) in enumerate(MATERIALS.items(), start=2)
)
CUSTOM = ("CUSTOM", "Custom", "An attenuation of your choice", 1)
OBJECT_ITEMS = (("NONE", "None", "X-rays do not see the object", 0), CUSTOM, *PRESETS)
SLOT_ITEMS = (
    ("OBJECT", "As the Object", "What is set on the object", 0),
    CUSTOM,
    *PRESETS,
)


@dataclass(frozen=True)
class Attenuation:
    """What a closed part of an object does to X-rays.

    Attributes
    ----------
    mu : float
        Linear attenuation coefficient, 1 / cm.
    priority : int
        Where closed meshes overlap the highest one counts.
    """

    mu: float
    priority: int


def of_object(item: bpy.types.Object) -> Attenuation | None:
    """What an object is made of; None: X-rays do not see it."""
    settings = item.nerf_xray
    if settings.material == "NONE":
        return None
    return Attenuation(_mu(settings), settings.priority)


def of_material(material: bpy.types.Material | None, whole: Attenuation | None) -> Attenuation | None:
    """What the faces with a Blender material are made of: its own, or what the `whole` object is."""
    if material is None or material.nerf_xray.material == "OBJECT":
        return whole
    return Attenuation(_mu(material.nerf_xray), material.nerf_xray.priority)


def metres_per_unit(scene: bpy.types.Scene) -> float:
    """Metres a Blender unit is: the scene's unit scale, and 1 where it has no unit system."""
    units = scene.unit_settings
    return 1.0 if units.system == "NONE" else float(units.scale_length)


def per_unit(mu: float, metres: float) -> float:
    """An attenuation of 1 / cm as 1 / Blender unit of so many metres."""
    return mu * CM_PER_M * metres


def _mu(settings: Any) -> float:
    return settings.attenuation if settings.material == "CUSTOM" else _BY_IDENTIFIER[settings.material]
