"""Capture, train and import, end to end: the points of a cube lie on that cube, wherever it stands in the world."""

import math

import bpy
import numpy as np
import pytest
from mathutils import Euler, Matrix, Vector

from .capture_scenes import cycles
from .small_run import core_python

SIZE = 2.0  # of the cube's mesh, before its object's scale
FACES = [(0.9, 0.1, 0.1), (0.1, 0.7, 0.1), (0.1, 0.2, 0.9), (0.9, 0.8, 0.1), (0.8, 0.1, 0.8), (0.1, 0.8, 0.8)]


def checker(color) -> bpy.types.Material:
    """An emitting checker: a face that is all one colour tells a NeRF nothing about its depth."""
    material = bpy.data.materials.new("Checker")
    if not material.node_tree:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    emission = tree.nodes.new("ShaderNodeEmission")
    texture = tree.nodes.new("ShaderNodeTexChecker")
    place = tree.nodes.new("ShaderNodeTexCoord")
    texture.inputs["Color1"].default_value = (*color, 1.0)
    texture.inputs["Color2"].default_value = (*(0.3 * c for c in color), 1.0)
    texture.inputs["Scale"].default_value = 6.0
    # Generated coordinates end exactly on the checker's borders: half a field off, faces are clean.
    shift = tree.nodes.new("ShaderNodeVectorMath")
    shift.inputs[1].default_value = (0.013, 0.017, 0.019)
    tree.links.new(place.outputs["Generated"], shift.inputs[0])
    tree.links.new(shift.outputs[0], texture.inputs["Vector"])
    tree.links.new(texture.outputs["Color"], emission.inputs["Color"])
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    return material


@pytest.fixture
def placed_cube(monkeypatch):
    """The default scene with its cube at (3, -2, 1), unevenly scaled and rotated, every face another checker."""
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    scene = bpy.context.scene
    cycles(scene)
    cube = scene.objects["Cube"]
    cube.data.materials.clear()
    for i, color in enumerate(FACES):
        cube.data.materials.append(checker(color))
        cube.data.polygons[i].material_index = i
    cube.matrix_world = Matrix.LocRotScale(
        Vector((3.0, -2.0, 1.0)), Euler((math.radians(20), math.radians(-35), math.radians(50))), (0.5, 0.35, 0.6)
    )
    bpy.context.view_layer.update()
    return cube


def distance_to_surface(points: np.ndarray, cube) -> np.ndarray:
    """World distances from points to the surface of the box that `cube` is."""
    matrix = np.array(cube.matrix_world)
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    local = (points - matrix[:3, 3]) @ (matrix[:3, :3] / scale)  # in the box's own axes, world lengths
    beyond = np.abs(local) - 0.5 * SIZE * scale
    outside = np.linalg.norm(np.maximum(beyond, 0.0), axis=1)
    return np.where((beyond <= 0).all(axis=1), -beyond.max(axis=1), outside)


def test_points_of_a_captured_cube_lie_on_it(placed_cube, tmp_path):
    scene = bpy.context.scene
    capture = scene.nerf.capture
    capture.folder, capture.name = str(tmp_path), "cube"
    capture.train_count, capture.val_count, capture.test_count = 30, 2, 0
    capture.resolution_x = capture.resolution_y = 96
    capture.samples, capture.use_denoise = 4, False
    training = scene.nerf.training
    training.budget, training.steps = "STEPS", 500
    assert bpy.ops.nerf.capture(then_train=True) == {"FINISHED"}

    scene.nerf.points.count = 4000
    assert bpy.ops.nerf.import_points() == {"FINISHED"}
    cloud = scene.nerf.points.object
    points = np.empty(3 * len(cloud.data.vertices), np.float32)
    cloud.data.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3) @ np.array(cloud.matrix_world)[:3, :3].T + np.array(cloud.matrix_world)[:3, 3]
    assert len(points) == 4000

    size = SIZE * float(np.min(placed_cube.matrix_world.to_scale()))
    distances = distance_to_surface(points, placed_cube)
    assert np.median(distances) < 0.02 * size
    assert np.quantile(distances, 0.95) < 0.1 * size
    # On all of it, not on one corner: every face has its share.
    matrix = np.array(placed_cube.matrix_world)
    local = (points - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T
    face = 2 * np.abs(local).argmax(axis=1) + (
        np.take_along_axis(local, np.abs(local).argmax(axis=1)[:, None], 1)[:, 0] > 0
    )
    assert (np.bincount(face, minlength=6) > 4000 / 6 / 4).all()
    # The original is untouched and still there.
    assert scene.objects["Cube"] == placed_cube
