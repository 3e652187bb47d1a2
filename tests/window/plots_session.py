"""What a person does with the plots of a ray in Blender's window: opens them, points, turns the wheel, saves one.

Runs inside Blender: `blender --enable-event-simulate --python plots_session.py -- FOLDER TRACE.npz`.
"""

import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
import hands

FOLDER, TRACE = (Path(text) for text in sys.argv[sys.argv.index("--") + 1 :])
MODULE = "bl_ext.user_default.nerf_toolkit"


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def show(chosen=0):
    """The trace under two samplers, as if the core had answered."""
    state = addon("inspect.state")
    arrays = dict(np.load(TRACE))
    rays = len(arrays["rgba"])
    slots = [
        state.Slot({}, arrays, {"rays": rays, "seconds": 0.01, "sampler": {"name": name}})
        for name in ("hierarchical", "uniform")
    ]
    pixels = np.stack([np.arange(rays) + 0.5, np.full(rays, 7.5)], axis=-1)
    state.current().show(slots, pixels=pixels, chosen_ray=chosen, view="Camera")


def facts(area):
    """Where an area's plot and its rows are on the screen, from the window's lower left corner."""
    region = next(each for each in area.regions if each.type == "WINDOW")
    kept = addon("inspect.plot_view")._kept[region.as_pointer()]
    plot, window = kept.layout.plot, bpy.context.window_manager.windows[0]
    left, low = window.x + region.x, window.y + region.y

    def placed(rect):
        return [left + rect.left, low + rect.low, rect.width, rect.height]

    return {
        "screen": [window.width, window.height],
        "rect": placed(kept.layout.rect),
        "frames": [[frame.kind, frame.part, placed(frame.rect)] for frame in kept.layout.frames],
        "t": [plot.t.low, plot.t.high],
        "density": [plot.density.low, plot.density.high],
        "heading": plot.heading,
    }


def editor():
    view = addon("inspect.plot_view")
    return next(area for area in bpy.context.window_manager.windows[0].screen.areas if view.shows_plot(area))


def redraw_seconds():
    """How long Python takes to draw all plots again when nothing changed, and after another ray was chosen."""
    view, state = addon("inspect.plot_view"), addon("inspect.state").current()
    inner, spent = view._draw_into, []

    def timed(context, rect):
        began = time.perf_counter()
        inner(context, rect)
        spent.append(time.perf_counter() - began)

    view._draw_into = timed
    try:
        found = []
        for change in (lambda: None, lambda: state.choose(1 - state.chosen_ray)):
            spent.clear()
            for _ in range(3):
                change()
                view.redraw()
                bpy.ops.wm.redraw_timer(type="DRAW_WIN", iterations=1)
            found.append(sorted(spent)[len(spent) // 2])
        return found
    finally:
        view._draw_into = inner


def script():
    scene = bpy.context.scene
    bpy.data.objects.remove(scene.objects["Cube"])
    scene.nerf.ray_plot.focus = False
    window, area, _ = hands.view_area()
    with bpy.context.temp_override(window=window, area=area, region=hands.view_region("WINDOW")):
        bpy.ops.nerf.open_ray_plots()
    yield 1.0
    empty = editor()
    result = {"version": bpy.app.version_string, "on_the_right": empty.x > hands.view_area()[1].x}
    yield from hands.screenshot(FOLDER / "1-empty.png")
    show()
    scene.nerf.ray_plot.card = True
    yield 1.5
    result["editor"], result["card"] = facts(editor()), facts(hands.view_area()[1])
    yield from hands.screenshot(FOLDER / "2-plots.png")

    # The pointer at a quarter of the density's row.
    kind, _, (left, low, width, height) = result["editor"]["frames"][1]
    assert kind == "density"
    for step in (3, 0):
        hands.move(left + 0.25 * width + step, low + 0.5 * height)
        yield 0.6
    hover = addon("inspect.plot_hover").current()
    result["hover"] = None if hover is None else [hover.t, hover.part]
    yield from hands.screenshot(FOLDER / "3-hover.png")
    state = addon("inspect.state").current()
    for kind in ("WHEELDOWNMOUSE", "WHEELDOWNMOUSE", "WHEELUPMOUSE"):
        hands.event(kind, "PRESS", left + 0.25 * width, low + 0.5 * height)
        yield 0.4
    result["chosen"] = state.chosen_ray
    yield 0.6
    result["after_wheel"] = facts(editor())["heading"]
    view = hands.view_region("WINDOW")
    for step in (4, 0):
        hands.move(view.x + view.width / 3 + step, view.y + 0.8 * view.height)
        yield 0.5
    result["left"] = addon("inspect.plot_hover").current() is None
    state.choose(0)
    with bpy.context.temp_override(window=window):
        bpy.ops.nerf.save_ray_plot(
            "EXEC_DEFAULT", filepath=str(FOLDER / "saved.png"), width=1200, height=700, scale=1.0
        )
    result["image"] = list(bpy.data.images["NeRF Ray Plot"].size)
    result["redraw"] = redraw_seconds()
    result["dirty"] = addon("inspect.plot_view").find_image().is_dirty
    addon("inspect.state").current().clear()
    yield 1.0
    yield from hands.screenshot(FOLDER / "4-cleared.png")
    return result


hands.perform(script(), FOLDER / "result.json")
