"""Turntables and animations."""


def turntable(stage):
    """A turntable that is being rendered, its newest frame in an Image Editor."""
    stage.need("nerf.render_turntable")
    settings = stage.scene.nerf.video
    settings.frames, settings.width, settings.height, settings.background = 240, 480, 480, (0.92, 0.91, 0.88)
    editor = stage.image_editor(large=True)
    yield from stage.panels("NERF_PT_results", "NERF_PT_video")
    stage.run_operator("nerf.render_turntable")
    tasks = stage.addon("jobs.tasks")
    yield from stage.wait(lambda: tasks.current().fraction > 0.08 or not tasks.running(), "some frames")
    stage.fit_image(editor)
    yield 1.0
    stage.part("window")


PICTURES = {"turntable": turntable}
