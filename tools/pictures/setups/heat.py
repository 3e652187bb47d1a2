"""Heat maps: one in an Image Editor with its numbers, and in the viewport with its legend."""


def heat_map(stage):
    """The heat map of the camera's view in an Image Editor, and the panel that chooses it."""
    stage.need("nerf.heat_map")
    scene = stage.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 640, 480, 100
    scene.nerf.heat.map = "SAMPLE_COUNT"
    editor = stage.image_editor(large=True)
    yield from stage.panels("NERF_PT_results", "NERF_PT_heat")
    stage.run_operator("nerf.heat_map")
    yield from stage.wait_task()
    yield 1.0
    if editor.spaces.active.image is None:
        raise AssertionError("the empty Image Editor does not show the heat map")
    stage.fit_image(editor)
    yield 1.0
    stage.part("window")


def heat_viewport(stage):
    """The viewport's Rendered mode as a heat map, with its legend."""
    stage.need("nerf.heat_map")
    stage.run_operator("nerf.add_object")
    stage.hide_subject()
    yield 0.5
    stage.select()
    yield from stage.panels("NERF_PT_object", "NERF_PT_engine")
    stage.run_operator("nerf.use_engine")
    stage.scene.render.film_transparent = False
    stage.scene.nerf_engine.viewport_show = "SAMPLE_COUNT"
    stage.shade("RENDERED")
    yield 25.0
    stage.part("area")


PICTURES = {"heat-map": heat_map, "heat-viewport": heat_viewport}
