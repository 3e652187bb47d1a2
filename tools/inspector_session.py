"""What `inspector_bench.py` does inside Blender: points at one pixel after another, and looks at the clock."""

import json
import statistics
import sys
import time
import traceback
from pathlib import Path

import bpy
import gpu
import numpy as np

MODULE = "bl_ext.user_default.nerf_toolkit"
RUN, UPDATES, RESULT = sys.argv[sys.argv.index("--") + 1 :]
PATIENCE = 120.0
# Name, side of the patch, whether two samplers are compared.
CASES = (("one ray", 1, False), ("a patch", 16, False), ("a patch under two samplers", 16, True))

bpy.context.preferences.view.show_splash = False  # it would cover the viewport


def addon(name):
    return sys.modules[f"{MODULE}.{name}"]


def viewport():
    window = bpy.context.window_manager.windows[0]
    area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)
    return window, area, next(r for r in area.regions if r.type == "WINDOW")


def redraw():
    """Seconds of a redraw of the viewport, up to its pixels."""
    window, area, region = viewport()
    began = time.perf_counter()
    with bpy.context.temp_override(window=window, area=area, region=region):
        bpy.ops.wm.redraw_timer(type="DRAW_SWAP", iterations=1)
    return time.perf_counter() - began


def session():
    bpy.ops.preferences.addon_enable(module=MODULE)
    scene = bpy.context.scene
    for item in list(scene.objects):
        bpy.data.objects.remove(item)
    folder = addon("vendor.nerf_core.contract.run_folder").RunFolder(Path(RUN))
    nerf = addon("objects.create").add_nerf(scene, folder)
    _window, area, region = viewport()
    view = area.spaces.active.region_3d
    matrix = np.array(nerf.matrix_world)
    view.view_location = matrix[:3, 3]
    view.view_distance = 3.0 * float(np.linalg.norm(matrix[:3, :3], axis=0).max()) * area.spaces.active.lens / 50.0
    request, state, overlay = (addon(f"inspect.{name}") for name in ("request", "state", "overlay"))
    settings = scene.nerf.inspector
    settings.sampler_b = "TRAINED"  # which every run has
    yield
    # What is looked at comes from aside: a ray that is looked along is a point.
    turned = view.view_rotation.copy()
    cases = []
    for name, side, compare in CASES:
        settings.patch, settings.spacing, settings.compare = side, 4, compare
        case = {key: [] for key in ("core", "trip", "answer", "build", "calls", "with", "without")}
        samples, bins, rays = [], [], 0
        for index in range(int(UPDATES) + 3):
            view.view_rotation = turned
            yield
            x, y = (region.width * (0.35 + 0.3 * (index % 10) / 10), region.height * (0.35 + 0.3 * (index % 7) / 7))
            depsgraph = bpy.context.evaluated_depsgraph_get()
            aim = addon("inspect.rays").viewport_aim(region, area.spaces.active, scene, depsgraph, x, y)
            view.view_rotation = type(turned)((0.0, 0.0, 1.0), 1.2) @ turned
            yield
            # Once without the window's own work, which draws between two looks at what has arrived.
            began = time.perf_counter()
            request.ask(bpy.context, aim, pinned=False)
            while request.settle():
                time.sleep(0.0005)
            trip = time.perf_counter() - began
            before, began = state.current().revision, time.perf_counter()
            request.ask(bpy.context, aim, pinned=False)
            while state.current().revision == before:
                if state.current().error:
                    raise AssertionError(state.current().error)
                if time.perf_counter() - began > PATIENCE:
                    raise AssertionError("no trace came")
                yield
            answer = time.perf_counter() - began
            redraw()  # makes the batches
            build = overlay.times.build
            with_overlay = redraw()
            calls = overlay.times.scene + overlay.times.words
            slots = list(state.current().slots)
            named = {key: value for key, value in vars(state.current()).items() if key not in ("slots", "revision")}
            state.current().clear()
            redraw()
            without = redraw()
            named.pop("error")
            state.current().show(slots, **named)
            if index < 3:  # the core loads the run, shaders are compiled
                continue
            numbers = (sum(slot.result["seconds"] for slot in slots), trip, answer, build, calls, with_overlay, without)
            for key, seconds in zip(case, numbers, strict=True):
                case[key].append(seconds)
            rays = slots[0].rays
            samples.append(sum(len(slot.arrays["t"]) for slot in slots))
            bins.append(sum(len(slot.arrays["bin_t0"]) for slot in slots))
        case |= {"name": name, "rays": rays, "samples": statistics.median(samples), "bins": statistics.median(bins)}
        cases.append(case)
    return {
        "version": bpy.app.version_string,
        "renderer": gpu.platform.renderer_get(),
        "width": region.width,
        "height": region.height,
        "cases": cases,
    }


running = session()


def tick():
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
