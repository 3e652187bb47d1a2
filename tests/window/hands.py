"""A person's hands, inside Blender: moves the mouse, clicks buttons that it finds by hovering, takes screenshots.

Runs in Blender's Python (started with --enable-event-simulate); the tests themselves never import it.
"""

import json
import os
import time
import traceback
from pathlib import Path

import bpy

# The splash would cover the window and take the clicks.
bpy.context.preferences.view.show_splash = False

STEP = 12  # pixels between two looks for a button; buttons are 20 high


def view_area():
    """The biggest 3D viewport's window, area and sidebar region."""
    window = bpy.context.window_manager.windows[0]
    area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)
    return window, area, next(r for r in area.regions if r.type == "UI")


def view_region(kind):
    """A region of the biggest viewport."""
    return next(r for r in view_area()[1].regions if r.type == kind)


def move(x, y):
    window, _, _ = view_area()
    window.event_simulate(type="MOUSEMOVE", value="NOTHING", x=int(x), y=int(y))


def event(kind, value, x, y):
    window, _, _ = view_area()
    window.event_simulate(type=kind, value=value, x=int(x), y=int(y))


def press(kind):
    """Press and release a key with the mouse over the viewport."""
    view = view_region("WINDOW")
    x, y = view.x + view.width / 3, view.y + view.height / 3
    move(x, y)
    yield 0.1
    event(kind, "PRESS", x, y)
    yield 0.1
    event(kind, "RELEASE", x, y)
    yield 0.1


def screenshot(path):
    """Ask the test's own process, which watches for such files, to take a picture of the screen.

    Blender's own operator reads the window's buffer, which is black where a software driver has handed it over.
    """
    path = Path(path)
    asked = path.with_suffix(".asked")
    asked.write_text(os.environ.get("DISPLAY", ""), encoding="utf-8")
    yield from wait_for(lambda: path.exists() and not asked.exists(), 30, f"the screenshot {path.name}")


def hovered():
    """The operator call of the button under the mouse, as Blender itself would paste it; "" when there is none."""
    window, area, region = view_area()
    bpy.context.window_manager.clipboard = ""
    with bpy.context.temp_override(window=window, area=area, region=region):
        try:
            if not bpy.ops.ui.copy_python_command_button.poll():
                return ""
            bpy.ops.ui.copy_python_command_button()
        except RuntimeError:
            return ""
    return bpy.context.window_manager.clipboard


def open_sidebar():
    """Show the sidebar's tab "NeRF"."""
    window, area, region = view_area()
    area.spaces.active.show_region_ui = True
    yield 1.0
    region = view_area()[2]
    region.active_panel_category = "NeRF"
    region.tag_redraw()
    yield 1.0


def click(command, upwards=False):
    """Find the sidebar's button that calls `command`, and click it; scrolls where it must.

    Looks from the top down, or `upwards` for a button that is known to be low and will not wait.
    """
    seen = set()
    for attempt in range(8):
        region = view_area()[2]
        x = region.x + region.width * 0.4
        rows = range(region.y + region.height - 8, region.y + 4, -STEP)
        for y in reversed(rows) if upwards else rows:
            move(x, y)
            yield 0.04
            found = hovered()
            seen.add(found)
            if found.startswith(command):
                event("LEFTMOUSE", "PRESS", x, y)
                yield 0.15
                event("LEFTMOUSE", "RELEASE", x, y)
                yield 0.3
                # Away from the panel, so that no tooltip covers it.
                view = view_region("WINDOW")
                move(view.x + view.width / 3, view.y + view.height / 3)
                yield 0.3
                return
        x, y = region.x + region.width / 2, region.y + region.height / 2
        for _ in range(6):
            event("WHEELDOWNMOUSE" if attempt < 5 else "WHEELUPMOUSE", "PRESS", x, y)
            yield 0.1
    raise AssertionError(f"no button that calls {command}; seen: {sorted(seen)}")


def wait_for(condition, seconds, what):
    """Let Blender go on until `condition` holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s for {what}")
        yield 0.2


def perform(script, result_path):
    """Run a generator that yields pauses in seconds, on a timer; its last word, or its error, goes to a JSON file."""
    result = {}

    def finish():
        with open(result_path, "w", encoding="utf-8") as stream:
            json.dump(result, stream)
        bpy.ops.wm.quit_blender()

    def tick():
        try:
            return next(script)
        except StopIteration as done:
            result.update(done.value or {})
        except BaseException:
            result["error"] = traceback.format_exc()
        finish()
        return None

    bpy.app.timers.register(tick, first_interval=2.0)
