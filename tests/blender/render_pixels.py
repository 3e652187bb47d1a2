"""What Blender renders, as pixels: a small Cycles render, scene-linear."""

import os

import bpy
import numpy as np


def picture(scene, folder, samples=8, transparent=True) -> np.ndarray:
    """(H, W, 4) float32 premultiplied scene-linear pixels of a Cycles render, top row first."""
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.device = samples, False, "CPU"
    if transparent:
        scene.render.film_transparent = True
    return rendered(scene, folder)


def rendered(scene, folder) -> np.ndarray:
    """The same of whatever the scene is set to."""
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "OPEN_EXR"
    settings.color_mode, settings.color_depth = "RGBA", "32"
    scene.render.filepath = str(folder / "out.exr")
    bpy.ops.render.render(write_still=True, scene=scene.name)
    image = bpy.data.images.load(scene.render.filepath, check_existing=False)
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    bpy.data.images.remove(image)
    if keep := os.environ.get("NERF_TEST_PICTURES"):  # to look at what the tests look at
        from PIL import Image

        shown = np.clip(pixels.reshape(height, width, 4)[::-1], 0, 1)
        shown[..., :3] **= 1 / 2.2
        name = f"{os.environ['PYTEST_CURRENT_TEST'].split('::')[1].split(' ')[0]}-{len(os.listdir(keep)):03}.png"
        Image.fromarray((shown * 255).astype(np.uint8)).resize((width * 6, height * 6), 0).save(
            os.path.join(keep, name)
        )
    return pixels.reshape(height, width, 4)[::-1]
