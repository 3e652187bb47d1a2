"""The plots of a ray: an Image Editor with two samplers' curves beside the viewport with the ray."""

import numpy as np


def ray_plots(stage):
    """A pixel at the pot's side under two samplers."""
    stage.need("nerf.trace_pixels", "nerf.open_ray_plots")
    scene = stage.scene
    width = scene.render.resolution_x * scene.render.resolution_percentage // 100
    height = scene.render.resolution_y * scene.render.resolution_percentage // 100
    settings = scene.nerf.inspector
    settings.compare, settings.sampler_b, settings.samples_b = True, "HIERARCHICAL", 64
    stage.run_operator("nerf.trace_pixels", pixels=f"{int(0.42 * width)},{int(0.55 * height)}")
    stage.run_operator("nerf.open_ray_plots")
    yield 1.0
    settings.show_legend = False  # the plots say it
    shown = stage.addon("inspect.state").current()
    one = shown.slots[0].of_ray(0)
    seen = one["origin"] + float(one["median_depth"]) * one["direction"]
    stage.look(azimuth=-100.0, elevation=24.0, distance=3.6, center=tuple(seen - 0.5 * np.asarray(one["direction"])))
    yield 1.0
    stage.part("window", (0.1, 0.97))


PICTURES = {"ray-plots": ray_plots}
