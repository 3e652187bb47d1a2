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
