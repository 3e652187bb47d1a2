"""What `viewport_bench.py` does inside Blender: turns the view, and looks when which picture is there."""

import json
import math
import sys
import time
import traceback
from pathlib import Path

import bpy
import numpy as np
from mathutils import Quaternion

MODULE = "bl_ext.user_default.nerf_toolkit"
RUN, CHANGES, RESULT = sys.argv[sys.argv.index("--") + 1 :]
FULL_EVERY = 10  # of so many changes one is let come to rest
SOLID_CHANGES = 30
PATIENCE = 60.0

bpy.context.preferences.view.show_splash = False  # it would cover the viewport

steps: dict[str, float] = {}
turns = {"last": 0.0, "longest": 0.0}


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def timed(holder, name, label):
    """Keep the longest time that a function of the add-on took."""
    original = getattr(holder, name)

    def wrapped(*arguments, **named):
        began = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            steps[label] = max(steps.get(label, 0.0), time.perf_counter() - began)

    setattr(holder, name, wrapped)


def viewport():
    window = bpy.context.window_manager.windows[0]
    area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)
    return window, area, next(r for r in area.regions if r.type == "WINDOW")


def turn(space, index):
    angle = Quaternion((0.0, 0.0, 1.0), 2 * math.pi * index / int(CHANGES))
    space.region_3d.view_rotation = angle @ Quaternion((0.78, 0.48, 0.21, 0.34)).normalized()


def wait(condition, what):
    until = time.perf_counter() + PATIENCE
    while not condition():
        if time.perf_counter() > until:
            raise AssertionError(f"waited {PATIENCE:.0f} s for {what}")
        yield


def session():
    bpy.ops.preferences.addon_enable(module=MODULE)
    scene = bpy.context.scene
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    folder = addon("vendor.nerf_core.contract.run_folder").RunFolder(Path(RUN))
    nerf = addon("objects.create").add_nerf(scene, folder)
    scene.render.engine = "NERF_TOOLKIT"
    live, pump = addon("engine.viewport"), addon("jobs.pump")
    timed(live.View, "draw", "drawing")
    timed(live.View, "scene_changed", "reading the scene")
    timed(live, "_tick", "looking for pictures")
    timed(pump, "tick", "hearing the core")
    window, area, region = viewport()
    space = area.spaces.active
    view = space.region_3d
    matrix = np.array(nerf.matrix_world)
    view.view_location = matrix[:3, 3]
    view.view_distance = 2.6 * float(np.linalg.norm(matrix[:3, :3], axis=0).max()) * space.lens / 50.0

    space.shading.type = "SOLID"
    yield from rest(1.0)
    turns["longest"] = 0.0
    for index in range(SOLID_CHANGES):
        turn(space, index)
        yield from rest(0.03)
    solid = turns["longest"]

    space.shading.type = "RENDERED"
    yield from wait(lambda: live.views() and live.views()[0].shown, "the first picture of all")
    shown = live.views()[0]
    yield from wait(lambda: shown.settled, "full resolution")
    yield from rest(1.0)
    steps.clear()
    turns["longest"] = 0.0
    first, full, divisors = [], [], []
    for index in range(int(CHANGES)):
        before, began = shown.wanted, time.perf_counter()
        turn(space, index)
        area.tag_redraw()
        yield from wait(lambda: shown.wanted is not before and shown.shown.wanted is shown.wanted, "a picture")  # noqa: B023
        first.append(time.perf_counter() - began)
        divisors.append(shown.shown.divisor)
        if index % FULL_EVERY == FULL_EVERY - 1:
            yield from wait(lambda: shown.settled and shown.shown.divisor == 1, "full resolution")
            full.append(time.perf_counter() - began)
        elif index % 2:
            yield from rest(0.15)  # so that half of the changes interrupt a finer picture
    return {
        "version": bpy.app.version_string,
        "width": region.width,
        "height": region.height,
        "first": first,
        "full": full,
        "divisors": divisors,
        "steps": dict(steps),
        "turn": turns["longest"],
        "solid": solid,
        "rate": live._speed.rate,
    }


def rest(seconds):
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        yield


running = session()


def tick():
    now = time.perf_counter()
    if turns["last"]:
        turns["longest"] = max(turns["longest"], now - turns["last"])
    turns["last"] = now
    try:
        next(running)
        return 0.0
    except StopIteration as done:
        result = done.value
    except BaseException:
        result = {"error": traceback.format_exc()}
    Path(RESULT).write_text(json.dumps(result), encoding="utf-8")
    bpy.ops.wm.quit_blender()
    return None


bpy.app.timers.register(tick, first_interval=2.0)
