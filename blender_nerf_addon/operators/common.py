"""What the operators share: errors told as Blender tells them, and waiting where nobody watches."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import bpy

from ..jobs import pump
from ..jobs.calls import CoreError
from ..vendor.nerf_core.contract.errors import NerfError

Execute = Callable[[Any, bpy.types.Context], set[str]]


def tells_errors(execute: Execute) -> Execute:
    """Report a `NerfError` that `execute` raises and return ``{'CANCELLED'}``."""

    @wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except NerfError as error:
            if not (isinstance(error, CoreError) and error.cancelled):
                self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return wrapped


def waits(operator: bpy.types.Operator) -> bool:
    """Whether the operator runs to completion: it was told to, or there is no window to come back to."""
    return bpy.app.background or bool(getattr(operator, "wait", False))


def wait_for(condition: Callable[[], bool]) -> None:
    """Pump by hand until `condition` holds."""
    pump.pump_until(condition)


def show_error(text: str) -> None:
    """Tell of an error that came when no operator was running: in Blender's own pop-up and in the terminal."""
    print(f"NeRF Toolkit: {text}")
    if bpy.app.background or bpy.context.window_manager is None:
        return

    def draw(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
        for line in _wrapped(text):
            menu.layout.label(text=line)

    bpy.context.window_manager.popup_menu(draw, title="NeRF", icon="ERROR")


def _wrapped(text: str, width: int = 90) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width) or [text]
