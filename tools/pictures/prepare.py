"""Build the demonstration scene in Blender and save it; runs in `blender -b --python prepare.py -- FILE.blend`."""

import sys
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from demonstration import scene

SAMPLES = 12
SIDE = 160  # pixels of the training pictures
DISTANCE = 5.2  # scene units: the table fills the picture


def main(target: str) -> None:
    """Build, fill in the capture's settings, save."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=False)
    scene.build(SAMPLES)
    capture = bpy.context.scene.nerf.capture
    capture.subject, capture.rig = "SCENE", "HEMISPHERE"
    capture.train_count, capture.val_count, capture.test_count = 48, 4, 0
    capture.use_auto_radius, capture.radius, capture.focal_length = False, DISTANCE, 50.0
    capture.resolution_x = capture.resolution_y = SIDE
    capture.use_transparent, capture.samples = True, SAMPLES
    bpy.ops.wm.save_as_mainfile(filepath=target, check_existing=False)


main(sys.argv[sys.argv.index("--") + 1])
