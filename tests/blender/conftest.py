"""Tests on a real bpy: the extension is staged as it ships and enabled as Blender enables it, once per session.

Run them with `python tools/test.py`, which gives each Blender version an environment of its own.
"""

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE = "bl_ext.user_default.nerf_toolkit"

# Blender reads these when bpy is imported: nothing of the person's own Blender is seen or touched.
_user = tempfile.TemporaryDirectory(prefix="nerf-toolkit-test-")
os.environ["BLENDER_USER_RESOURCES"] = _user.name
for _name in ("CONFIG", "SCRIPTS", "DATAFILES", "EXTENSIONS"):
    os.environ.pop(f"BLENDER_USER_{_name}", None)

sys.path.insert(0, str(ROOT / "tools"))

bpy = pytest.importorskip("bpy", reason="no bpy in this environment: run python tools/test.py --blender 4.2,4.5,5.0")


@pytest.fixture(scope="session", autouse=True)
def _extension():
    """The staged extension, enabled; disabled at the end (some bpy builds hang at exit otherwise)."""
    from build_extension import stage

    bpy.ops.wm.read_factory_settings(use_empty=False)
    target = Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default" / "nerf_toolkit"
    stage(target)
    bpy.ops.extensions.repo_refresh_all() if hasattr(bpy.ops.extensions, "repo_refresh_all") else None
    assert bpy.ops.preferences.addon_enable(module=MODULE) == {"FINISHED"}
    yield target
    bpy.ops.preferences.addon_disable(module=MODULE)


@pytest.fixture(scope="session")
def addon(_extension):
    """The add-on's top module, as Blender loaded it; `addon_module("capture.rigs")` gives others."""
    return sys.modules[MODULE]


@pytest.fixture(scope="session")
def addon_module(_extension):
    """Import a module of the staged add-on by its name below the extension."""
    import importlib

    return lambda name: importlib.import_module(f"{MODULE}.{name}")


@pytest.fixture(autouse=True)
def _fresh_scene(_extension):
    """Each test starts from the factory scene (cube, camera, light) with the extension still enabled."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    if MODULE not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module=MODULE)
    yield
