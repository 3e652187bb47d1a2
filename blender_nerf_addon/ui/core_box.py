"""The core's state with its buttons: in the preferences, and in the sidebar while something is wrong."""

import textwrap

import bpy

from ..jobs import core, managed, training

ICONS = {"missing": "ERROR", "failed": "ERROR", "starting": "SORTTIME", "ready": "CHECKMARK", "idle": "CHECKMARK"}


def draw(layout: bpy.types.UILayout, width: int = 90) -> None:
    """Draw state, set-up progress and buttons.

    Parameters
    ----------
    layout : UILayout
    width : int
        Characters a line of text may have.
    """
    box = layout.box()
    status = core.status()
    setup = managed.current()
    if setup is not None and setup.running:
        box.label(text="Setting up the NeRF core", icon="IMPORT")
        box.progress(factor=setup.fraction, text=setup.text)
        row = box.row()
        row.operator("nerf.setup_cancel", icon="CANCEL")
        row.operator("nerf.open_place", text="Log", icon="TEXT").place = "SETUP_LOG"
        return
    labels(box, status.text, ICONS[status.kind], width)
    if setup is not None and setup.phase == "failed":
        labels(box, setup.text, "ERROR", width)
    if not bpy.app.online_access and status.kind == "missing":
        labels(box, "Blender is not allowed to go online: see Preferences > System", "INTERNET_OFFLINE", width)
    row = box.row(align=True)
    if status.kind == "missing":
        row.scale_y = 1.4
        row.operator("nerf.setup_core", icon="IMPORT")
    elif not training.under_way():
        text = "Start Core Again" if status.kind in ("ready", "failed") else "Check"
        row.operator("nerf.restart_core", text=text, icon="FILE_REFRESH")
    row.operator("nerf.open_place", text="Log", icon="TEXT").place = (
        "SETUP_LOG" if setup is not None and setup.phase == "failed" else "CORE_LOG"
    )


def labels(layout: bpy.types.UILayout, text: str, icon: str, width: int) -> None:
    """A sentence over as many lines as it needs; Blender's labels do not wrap."""
    column = layout.column(align=True)
    column.scale_y = 0.85
    for index, line in enumerate(textwrap.wrap(text, width) or [""]):
        if index == 0:
            column.label(text=line, icon=icon)
        else:
            column.label(text=line, icon="BLANK1")
