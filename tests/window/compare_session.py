"""What a person does with two turntables in Blender's window: load, step through frames, flip, drag the wipe's line.

Runs inside Blender: `blender --enable-event-simulate --python compare_session.py -- FOLDER EXPERIMENT`.
"""

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER, EXPERIMENT = (Path(text) for text in sys.argv[sys.argv.index("--") + 1 :])


def facts(editor):
    """Where the editor's picture is on the screen: its lower left and upper right corner, from the lower left one."""
    window, region = bpy.context.window_manager.windows[0], next(r for r in editor.regions if r.type == "WINDOW")
    corners = [region.view2d.view_to_region(x, x, clip=False) for x in (0.0, 1.0)]
    left, low = window.x + region.x, window.y + region.y
    return {
        "corners": [[left + x, low + y] for x, y in corners],
        "screen": [window.width, window.height],
        "image": editor.spaces.active.image.name,
        "split": bpy.context.scene.nerf.experiment.split,
    }


def look(name, editor, result):
    """A picture of the window, the mouse away from the line."""
    region = next(r for r in editor.regions if r.type == "WINDOW")
    hands.move(region.x + region.width - 20, region.y + 20)
    editor.tag_redraw()
    yield 1.5
    result[name] = facts(editor)
    yield from hands.screenshot(FOLDER / f"{name}.png")


def script():
    result = {"version": bpy.app.version_string}
    scene = bpy.context.scene
    yield from hands.open_sidebar()
    window, area, _ = hands.view_area()
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.5)
    yield 0.5
    editor = min((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width)
    editor.ui_type = "IMAGE_EDITOR"
    yield 0.5
    settings = scene.nerf.experiment
    settings.folder = str(EXPERIMENT)
    bpy.ops.nerf.experiment_results()
    bpy.ops.nerf.compare_load()
    yield from look("loaded", editor, result)
    region = next(r for r in editor.regions if r.type == "WINDOW")
    result["editor"] = [region.width, region.height]
    with bpy.context.temp_override(window=window, area=editor, region=region):
        bpy.ops.image.view_all(fit_view=True)
    yield from look("a1", editor, result)
    scene.frame_set(3)
    yield from look("a3", editor, result)
    for kind in ("A", "B"):
        with bpy.context.temp_override(window=window, area=editor, region=region):
            bpy.ops.nerf.compare_show(kind=kind)
            bpy.ops.image.view_all(fit_view=True)
        yield from look(f"only_{kind.lower()}", editor, result)
    with bpy.context.temp_override(window=window, area=editor, region=region):
        bpy.ops.nerf.compare_show(kind="BOTH")
        bpy.ops.image.view_all(fit_view=True)

    def press_flip():
        x, y = region.x + region.width / 2, region.y + region.height / 2
        hands.move(x, y)
        yield 0.3
        hands.event("F", "PRESS", x, y)
        yield 0.1
        hands.event("F", "RELEASE", x, y)
        yield 0.3

    yield from press_flip()
    yield from look("b3", editor, result)
    settings.shown = "WIPE"
    yield from look("wipe", editor, result)

    # The line is in the picture's middle; the mouse takes it a quarter of the picture to the left.
    (left, low), (right, high) = ([x - window.x, y - window.y] for x, y in facts(editor)["corners"])
    start, end, y = left + 0.5 * (right - left), left + 0.25 * (right - left), low + 0.7 * (high - low)
    hands.move(start - 40, y)
    yield 0.3
    hands.move(start, y)
    yield 0.5
    hands.event("LEFTMOUSE", "PRESS", start, y)
    yield 0.3
    for step in range(1, 6):
        hands.move(start + (end - start) * step / 5, y)
        yield 0.15
    hands.event("LEFTMOUSE", "RELEASE", end, y)
    yield 0.3
    yield from look("dragged", editor, result)
    scene.frame_set(1)
    yield from look("wipe1", editor, result)
    result["dirty"] = [image.name for image in bpy.data.images if image.is_dirty]
    return result


hands.perform(script(), FOLDER / "result.json")
