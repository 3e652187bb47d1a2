"""Scene-linear EXR from capture through training to a rendered picture: colours come out right."""

import os
import subprocess

import bpy
import numpy as np

from . import capture_scenes as scenes
from .small_run import ROOT, core_python, needs_core

SHOWN = 188  # sRGB of linear 0.5


@needs_core
def test_what_is_trained_on_linear_pictures_shows_the_scene_s_colours(tmp_path):
    scene = bpy.context.scene
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.0)
    bpy.context.object.data.materials.append(scenes.emission("Grey", 0.5))
    scenes.cycles(scene)
    scene.view_settings.view_transform = "AgX"
    settings = scene.nerf.capture
    scenes.small(settings, tmp_path, train=14, val=0, test=1, size=40)
    settings.samples, settings.picture_format = 4, "EXR"
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    run = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    train = ["train", str(run / "dataset"), "--run", str(run), "--steps", "150", "--device", "cpu"]
    views = ["render", str(run), "--cameras", str(run / "dataset/transforms_test.json"), "--out", str(tmp_path / "out")]
    both = f"from nerf_core.cli import main; assert not main({train!r}); assert not main({views!r})"
    subprocess.run([core_python(), "-c", both], check=True, capture_output=True, env=environment)
    pixels = scenes.picture(tmp_path / "out/0000.png").astype(int)
    middle = pixels[15:25, 15:25]
    assert np.median(middle[..., 3]) > 240 and pixels[..., 3].min() < 60
    assert np.abs(middle[..., :3].mean(axis=(0, 1)) - SHOWN).max() < 30, "not 127, as linear values are stored"
