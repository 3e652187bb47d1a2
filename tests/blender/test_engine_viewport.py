"""The viewport's parts that need no window: its camera, and which resolution is asked for next."""

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix


@pytest.fixture
def parts(addon_module):
    class Parts:
        camera = addon_module("engine.view_camera")
        refining = addon_module("engine.refining")
        cameras = addon_module("capture.cameras")

    return Parts()


@pytest.mark.parametrize("kind", ["PERSP", "ORTHO"])
def test_the_view_s_camera_is_that_of_blender_s_matrices(parts, kind):
    """A Blender camera's own projection and pose, taken for a view's, give the camera that the capture reads."""
    scene = bpy.context.scene
    item, data = scene.camera, scene.camera.data
    data.type, data.shift_x, data.shift_y, data.ortho_scale = kind, 0.1, -0.2, 3.0
    item.matrix_world = Matrix.Translation((1.0, 2.0, 3.0)) @ Euler((1.0, 0.2, 0.5)).to_matrix().to_4x4()
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 320, 180, 100
    bpy.context.view_layer.update()
    depsgraph = bpy.context.evaluated_depsgraph_get()
    window = item.calc_matrix_camera(depsgraph, x=320, y=180)
    found = parts.camera.view_camera(320, 180, window, item.matrix_world.inverted())
    expected = parts.cameras.camera_from_blender(item, depsgraph, parts.cameras.Frame.of_render(scene.render))
    points = np.array([[0.2, 0.1, -3.0], [-0.5, 0.4, -8.0], [1.0, -0.7, -20.0]])
    points = points @ expected.c2w[:3, :3].T + expected.position
    pixels, depth = found.project(points)
    wanted, z = expected.project(points)
    np.testing.assert_allclose(pixels, wanted, atol=1e-3)
    # An orthographic view begins where Blender's does.
    begins = data.clip_start if kind == "ORTHO" else 0.0
    np.testing.assert_allclose(depth + begins, z, atol=1e-4)
    assert abs(found.clip_end + begins - data.clip_end) < 0.05 * data.clip_end


def test_a_view_is_refined_step_by_step(parts):
    refining = parts.refining
    camera = parts.camera.Camera(960, 540, 900.0, 900.0, 480.0, 270.0)
    speed = refining.Speed(250_000.0, True)
    first = refining.first_divisor(camera, speed)
    assert first == 16 and speed.seconds(camera, first) < refining.FIRST_SECONDS < speed.seconds(camera, 8)
    asked = [first]
    while (finer := refining.next_divisor(camera, speed, asked[-1])) is not None:
        asked.append(finer)
    assert asked == [16, 4, 2, 1]  # 0.01, 0.13, 0.5 and 2 seconds
    # Training gets on meanwhile: no picture of half a second.
    assert refining.next_divisor(camera, speed, 8, training=True) == 4
    assert refining.next_divisor(camera, speed, 4, training=True) is None
    assert refining.refreshed_divisor(camera, speed, 1, training=False) == 1
    assert refining.refreshed_divisor(camera, speed, 1, training=True) == 4
    small = refining.smaller(camera, 8)
    assert (small.width, small.height) == (120, 68) and small.fl_x == pytest.approx(112.5)
    faster = speed.after(500_000, 0.1)
    assert speed.rate < faster.rate < 5_000_000
