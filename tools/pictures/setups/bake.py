"""Baked traces: objects in the viewport, and their numbers in the Spreadsheet."""


def bake(stage):
    """The rays of a few pixels across the pot as objects, from beside, above the Spreadsheet with their samples."""
    stage.need("nerf.trace_pixels", "nerf.bake_trace")
    scene = stage.scene
    width = scene.render.resolution_x * scene.render.resolution_percentage // 100
    height = scene.render.resolution_y * scene.render.resolution_percentage // 100
    across = [(x, y) for y in (0.42, 0.52, 0.62) for x in (0.3, 0.38, 0.46, 0.54, 0.62)]
    yield from stage.panels("NERF_PT_inspect", "NERF_PT_inspect_shown")
    stage.run_operator("nerf.trace_pixels", pixels=" ".join(f"{int(x * width)},{int(y * height)}" for x, y in across))
    stage.run_operator("nerf.bake_trace")
    stage.run_operator("nerf.inspect_clear")  # what is drawn over the objects would hide them
    samples = next(entry.object for entry in scene.nerf.baked if entry.part == "samples")
    stage.hide_subject()
    stage.look(azimuth=-95.0, elevation=24.0, distance=3.6, center=(0.3, 0.1, 0.45))
    yield from stage.spreadsheet(samples)
    stage.part("window")


PICTURES = {"bake": bake}
