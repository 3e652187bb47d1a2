"""Capture, training and what came with the first version: points, samples, the preferences."""


def capture(stage):
    """The capture's panels."""
    stage.scene.nerf.run_folder = ""
    yield from stage.panels("NERF_PT_capture", "NERF_PT_capture_cameras", "NERF_PT_capture_pictures")
    stage.part("sidebar")


def rigs(stage):
    """The cameras that a capture would use, previewed around the table."""
    stage.scene.nerf.capture.train_count = 40
    yield from stage.panels("NERF_PT_capture", "NERF_PT_capture_cameras")
    stage.run_operator("nerf.preview_cameras")
    stage.look(azimuth=-55.0, elevation=22.0, distance=17.0, center=(0.0, 0.0, 1.6))


def training(stage):
    """A training under way, with its live preview in an Image Editor."""
    settings = stage.scene.nerf.training
    settings.seconds, settings.preview_seconds, settings.preview_size = 400.0, 1.0, 640
    editor = stage.image_editor(large=True)
    yield from stage.panels("NERF_PT_train", "NERF_PT_results")
    stage.run_operator("nerf.train", more=True)
    current = stage.addon("jobs.training").current
    yield from stage.wait(lambda: current().val_psnr is not None, "the training's progress")
    yield from stage.wait(lambda: "NeRF Preview" in stage.bpy.data.images, "the live preview")
    yield 6.0
    stage.fit_image(editor)
    yield 1.0
    stage.part("window")


def samplers(stage):
    """What a training is told about its sampler, and a novel view."""
    settings = stage.scene.nerf.training
    settings.method, settings.sampler, settings.samples = "CLASSIC", "HIERARCHICAL", 64
    settings.cdf = "EXPONENTIAL"
    engine = stage.scene.nerf_engine
    engine.sampler, engine.sampler_samples = "OCCUPANCY", 4
    yield from stage.panels("NERF_PT_train", "NERF_PT_train_settings", "NERF_PT_results", "NERF_PT_render")
    stage.part("sidebar")


def points(stage):
    """Density points in place of the objects."""
    stage.scene.nerf.points.count = 60_000
    yield from stage.panels("NERF_PT_results", "NERF_PT_points")
    stage.run_operator("nerf.import_points")
    yield from stage.wait_task()
    stage.hide_subject()
    stage.look(azimuth=-65.0, elevation=28.0, distance=5.2)
    yield 1.0


def samples(stage):
    """The samples along a grid of rays, coloured by weight."""
    settings = stage.scene.nerf.inspect
    settings.grid, settings.size = (12, 9), 0.07
    yield from stage.panels("NERF_PT_inspect", "NERF_PT_inspect_grid")
    stage.run_operator("nerf.inspect_samples")
    yield from stage.wait_task()
    stage.hide_subject()
    stage.look(azimuth=-25.0, elevation=30.0, distance=7.0, center=(0.4, -1.2, 0.7))
    yield 1.0


def sidebar(stage):
    """The whole tab as it opens."""
    yield from stage.tab()
    stage.part("sidebar")


PICTURES = {
    "capture": capture,
    "rigs": rigs,
    "training": training,
    "samplers": samplers,
    "points": points,
    "samples": samples,
    "sidebar": sidebar,
}
