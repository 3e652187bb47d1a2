"""The extension enables, disables and enables again, and leaves nothing behind."""

from types import ModuleType

import bpy
import pytest

from .conftest import MODULE


def test_enables_twice_without_residue():
    before = {name for name in dir(bpy.types) if "NERF" in name}
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert not {name for name in dir(bpy.types) if name.startswith("NERF_")}
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    assert {name for name in dir(bpy.types) if "NERF" in name} == before


def test_a_failure_takes_everything_back_and_one_in_leaving_stops_no_other(addon_module, monkeypatch):
    registration = addon_module("registration")
    modules = registration.MODULES
    bpy.ops.preferences.addon_disable(module=MODULE)
    fails = ModuleType("fails")

    def fail():
        raise RuntimeError("on purpose")

    try:
        fails.register = fail
        monkeypatch.setattr(registration, "MODULES", (*modules, fails))
        with pytest.raises(RuntimeError, match="on purpose"):
            registration.register()
        assert not {name for name in dir(bpy.types) if name.startswith("NERF_")}
        fails.register, fails.unregister = (lambda: None), fail
        registration.register()
        with pytest.raises(RuntimeError, match="on purpose"):
            registration.unregister()
        assert not {name for name in dir(bpy.types) if name.startswith("NERF_")}
        assert not hasattr(bpy.types.Object, "nerf")
    finally:
        monkeypatch.undo()
        assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}


def test_panels_lie_in_the_order_of_the_work():
    """Blender takes an order below 0 for 0 and says nothing; panels of the same order lie as they were registered."""
    panels = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("NERF_PT_")]
    assert all(getattr(panel, "bl_order", 0) >= 0 for panel in panels)

    def top(space):
        found = [each for each in panels if each.bl_space_type == space and getattr(each, "bl_category", "") == "NeRF"]
        found = [each for each in found if not getattr(each, "bl_parent_id", "")]
        return [each.bl_label for each in sorted(found, key=lambda each: getattr(each, "bl_order", 0))]

    assert top("VIEW_3D") == [
        "NeRF Core",
        "Capture",
        "X-Ray",
        "Train",
        "NeRF Object",
        "Results",
        "Inspect",
        "Compositing",
        "Photographs & Paths",
        "Experiments",
    ]
    assert top("IMAGE_EDITOR")[-1] == "Inspect"
