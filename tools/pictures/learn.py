"""Capture and train the demonstration scene in Blender as a module: `python learn.py FOLDER`, which gets `run/`.

Many times as fast as some distributions' Blender, whose renderer may lack its accelerations.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demonstration.addon import BlenderWithAddon

SIDE, SAMPLES, VIEWS, HELD_OUT, SECONDS = 160, 10, 40, 2, 60.0


def main(folder: Path) -> None:
    """Leave a trained run in `folder`."""
    blender = BlenderWithAddon(sys.executable)
    try:
        import bpy
        from demonstration import capture, scene

        scene.build(SAMPLES)
        capture.set_up(folder, SIDE, SAMPLES, SECONDS)
        settings = bpy.context.scene.nerf.capture
        settings.train_count, settings.val_count = VIEWS, HELD_OUT
        run, _ = capture.capture(blender)
        capture.train(blender, run)
    finally:
        blender.close()
    print(run, flush=True)
    sys.stdout.flush()
    os._exit(0)  # Blender as a module may crash when the interpreter ends


main(Path(sys.argv[1]).absolute())
