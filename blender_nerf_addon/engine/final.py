"""A final render: asks the core for the picture, some rows at a time, and hands them to Blender as they come.

Blender calls this on a thread of its own (F12 in a window) or on the main thread, which then does nothing else: so
answers are waited for directly, without the timer, and nothing here touches the interface.
"""

import itertools
import time
import traceback
from typing import Any

import bpy
import numpy as np

from ..capture.cameras import Frame
from ..jobs import core, direct
from ..vendor.nerf_core.contract.errors import Cancelled, NerfError
from ..vendor.nerf_core.contract.heat import HEAT_MAPS, HEAT_NAMES, heat_kind
from .background import world_color
from .shot import shot_of

PART_SECONDS = 0.6  # of the core's work: what a person sees appear at once
FIRST_PIXELS = 16384
NOISY_ROWS = 16  # at a time where there is noise: it must be the same however fast the machine is
NOTHING = 1e10  # depth where nothing is hit, as in Cycles and Workbench

LINE_INTEGRAL = "Line Integral"
_HEAT_PASSES = {kind.label: kind.name for kind in HEAT_MAPS}
_numbers = itertools.count(1)


def render(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
    """Render a view layer; what goes wrong is told, and Blender's render fails."""
    try:
        _render(engine, depsgraph)
    except Cancelled:
        pass
    except NerfError as error:
        fail(engine, str(error))
    except Exception as error:  # a bug of ours must not look like a black picture
        traceback.print_exc()
        fail(engine, f"NeRF Toolkit failed: {type(error).__name__}: {error}")


def fail(engine: bpy.types.RenderEngine, sentence: str) -> None:
    """Tell an error so that the render fails: in the status bar, in the render window and to whoever called."""
    engine.report({"ERROR"}, sentence)
    engine.error_set(sentence)


def wanted_passes(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> list[tuple[str, int, str, str]]:
    """Name, number of channels, their letters and type of the passes beside Combined."""
    passes = []
    if layer.use_pass_z:
        passes.append(("Depth", 1, "Z", "VALUE"))
    if layer.use_pass_normal:
        passes.append(("Normal", 3, "XYZ", "VECTOR"))
    if scene.nerf_engine.use_opacity:
        passes.append(("Opacity", 1, "A", "VALUE"))
    if scene.nerf_engine.use_line_integral:
        passes.append((LINE_INTEGRAL, 1, "X", "VALUE"))
    passes += [(heat_kind(name).label, 1, "X", "VALUE") for name in wanted_heat(scene)]
    return passes


def wanted_heat(scene: bpy.types.Scene) -> list[str]:
    """The heat maps that are rendered, by the contract's names."""
    return [name for name in HEAT_NAMES if getattr(scene.nerf_engine, f"use_{name}")]


def _render(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
    scene, layer = depsgraph.scene, depsgraph.view_layer
    engine.update_stats("", "Asking the NeRF core")
    if scene.render.use_multiview:
        engine.report({"WARNING"}, "NeRF Toolkit renders no stereoscopy: all views show what the camera sees")
    passes = wanted_passes(scene, layer)
    asked = ["normal"] if any(name == "Normal" for name, *_ in passes) else []
    asked += ["line_integral"] if scene.nerf_engine.use_line_integral else []
    asked += wanted_heat(scene)
    item = engine.camera_override or scene.camera
    shot = shot_of(item.original if item else None, depsgraph, engine.frame_set, asked)
    world = world_color(scene)
    for name, channels, letters, _kind in passes:
        engine.add_pass(name, channels, letters, layer=layer.name)
    if shot is None:
        _write_nothing(engine, depsgraph, world)
        return
    process = core.start()
    tag = f"render-{next(_numbers)}"
    width, height = shot.camera.width, shot.camera.height
    noisy = shot.params["samples"] > 1
    top, count = 0, NOISY_ROWS if noisy else max(1, FIRST_PIXELS // width)
    began = time.monotonic()
    while top < height:
        if engine.test_break():
            raise Cancelled("the render was stopped")
        count = min(count, height - top)
        asked_at = time.monotonic()
        _result, arrays = direct.ask(process, "render", shot.rows(top, count), tag, engine.test_break)
        _write(engine, layer.name, shot.camera.height - top - count, arrays, world)
        top += count
        _tell(engine, top / height, time.monotonic() - began)
        if not noisy:
            ratio = PART_SECONDS / max(time.monotonic() - asked_at, 1e-6)
            count = max(1, int(count * min(max(ratio, 0.25), 4.0)))


def _tell(engine: bpy.types.RenderEngine, done: float, seconds: float) -> None:
    engine.update_progress(done)
    left = seconds * (1.0 - done) / max(done, 1e-6)
    engine.update_stats("", f"{done:.0%}, {left:.0f} s left")


def _write_nothing(
    engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph, world: tuple[float, float, float] | None
) -> None:
    """The picture of a view layer and frame in which every NeRF is hidden: what is behind them."""
    scene, layer = depsgraph.scene, depsgraph.view_layer
    engine.report({"WARNING"}, f"No NeRF is shown in the view layer '{layer.name}' at frame {scene.frame_current}")
    frame = Frame.of_render(scene.render, with_border=scene.render.use_border)
    width, height = frame.crop[2:] if frame.crop else (frame.width, frame.height)
    nothing = np.zeros((height, width, 4), dtype=np.float32)
    heat = {name: nothing[..., 0] for name in HEAT_NAMES}
    heat["captured_weight"] = heat["captured_weight"] + np.float32(1.0)  # there is nothing to catch
    _write(
        engine,
        layer.name,
        0,
        {
            "rgba": nothing,
            "depth": nothing[..., 0],
            "normal": nothing[..., :3],
            "line_integral": nothing[..., 0],
            **heat,
        },
        world,
    )


def _write(
    engine: bpy.types.RenderEngine,
    layer: str,
    bottom: int,
    arrays: dict[str, Any],
    world: tuple[float, float, float] | None,
) -> None:
    """Hand rows to Blender, which counts them from the bottom."""
    height, width = arrays["rgba"].shape[:2]
    result = engine.begin_result(0, bottom, width, height, layer=layer)
    for found in result.layers[0].passes:
        pixels = _pass_pixels(found.name, arrays, world)
        if pixels is not None:
            found.rect.foreach_set(np.ascontiguousarray(pixels[::-1], dtype=np.float32).ravel())
    engine.end_result(result)


def _pass_pixels(name: str, arrays: dict[str, Any], world: tuple[float, float, float] | None) -> np.ndarray | None:
    """The pixels of a pass, top row first; None for one that is not ours."""
    rgba = arrays["rgba"]
    if name == "Combined":
        return over(rgba, world)
    if name == "Depth":
        return np.where(rgba[..., 3] > 0.0, arrays["depth"], np.float32(NOTHING))
    if name == "Normal":
        return arrays["normal"]
    if name == "Opacity":
        return rgba[..., 3]
    if name == LINE_INTEGRAL:
        return arrays["line_integral"]
    return arrays.get(_HEAT_PASSES.get(name))


def over(rgba: np.ndarray, world: tuple[float, float, float] | None) -> np.ndarray:
    """Premultiplied pixels over the world's colour; as they are without one."""
    if world is None:
        return rgba
    shown = np.empty_like(rgba)
    shown[..., :3] = rgba[..., :3] + (1.0 - rgba[..., 3:]) * np.array(world, dtype=np.float32)
    shown[..., 3] = 1.0
    return shown
