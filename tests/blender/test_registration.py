"""The extension enables, disables and enables again, and leaves nothing behind."""

import bpy

from .conftest import MODULE


def test_enables_twice_without_residue():
    before = {name for name in dir(bpy.types) if "NERF" in name}
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert not {name for name in dir(bpy.types) if name.startswith("NERF_")}
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    assert {name for name in dir(bpy.types) if "NERF" in name} == before
