"""What a NeRF gave back stays out of the next capture, and the scene is as it was afterwards."""

import bpy
import numpy as np
from PIL import Image

from .test_importers_points import cloud


def capture(tmp_path, name):
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    settings = scene.nerf.capture
    settings.folder, settings.name = str(tmp_path), name
    settings.train_count, settings.val_count, settings.test_count = 2, 0, 0
    settings.resolution_x = settings.resolution_y = 24
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    return [np.asarray(Image.open(path)) for path in sorted((tmp_path / name / "dataset" / "train").iterdir())]


def test_points_are_neither_captured_nor_part_of_the_bounds(addon_module, tmp_path):
    before = capture(tmp_path, "before")
    points = addon_module("importers.points")
    item = points.import_points(bpy.context.scene, points.prepare(*cloud(center=(0, 0, 3)), radius=0.3))
    after = capture(tmp_path, "after")
    assert before[0][..., 3].max() > 250
    for first, second in zip(before, after, strict=True):
        np.testing.assert_array_equal(first, second)
    assert not item.hide_render
