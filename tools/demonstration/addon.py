"""The extension inside this process's Blender: staged as it ships, enabled as Blender enables it."""

import importlib
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

MODULE = "bl_ext.user_default.nerf_toolkit"


class BlenderWithAddon:
    """Blender as a module, with a user folder of its own that ends with the process.

    Parameters
    ----------
    core_python : str
        The interpreter that the add-on starts the core with.
    """

    def __init__(self, core_python: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="nerf-toolkit-demo-")
        # Blender reads these when bpy is imported: nothing of the person's own Blender is seen or touched.
        os.environ["BLENDER_USER_RESOURCES"] = self._folder.name
        for name in ("CONFIG", "SCRIPTS", "DATAFILES", "EXTENSIONS"):
            os.environ.pop(f"BLENDER_USER_{name}", None)
        os.environ["NERF_CORE_PYTHON"] = core_python
        import bpy
        from build_extension import stage

        bpy.ops.wm.read_factory_settings(use_empty=True)
        stage(Path(bpy.utils.user_resource("EXTENSIONS")) / "user_default" / "nerf_toolkit")
        if bpy.ops.preferences.addon_enable(module=MODULE) != {"FINISHED"} or MODULE not in sys.modules:
            raise SystemExit("The extension could not be enabled in Blender; what Blender printed is above.")

    def module(self, name: str) -> ModuleType:
        """A module of the add-on, such as "capture.driver"."""
        return importlib.import_module(f"{MODULE}.{name}")

    def close(self) -> None:
        """Let the core save and leave, and take the extension out (some Blenders hang at exit otherwise)."""
        import bpy

        bpy.ops.preferences.addon_disable(module=MODULE)
        self._folder.cleanup()


def quiet_blender() -> Any:
    """A context that keeps Blender's own prints off the terminal: it writes a line a render straight to fd 1."""
    return _Quiet()


class _Quiet:
    def __enter__(self) -> None:
        sys.stdout.flush()
        self._kept = os.dup(1)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        os.dup2(self._kept, 1)
        os.close(self._kept)
