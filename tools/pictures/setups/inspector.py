"""The inspector: a pixel's ray in the scene, and a patch of rays; both with the legend."""


def inspect(stage):
    """One ray of the scene's camera from aside, through the rendered NeRF."""
    yield from _traced(stage, patch=1)
    stage.look(azimuth=-18.0, elevation=17.0, distance=4.6, center=(0.1, -0.75, 0.35))
    yield 4.0


def inspect_patch(stage):
    """256 rays of the scene's camera: their samples draw the surface that they found."""
    yield from _traced(stage, patch=16)
    stage.hide_subject()
    stage.look(azimuth=-8.0, elevation=22.0, distance=6.0, center=(0.2, -0.9, 0.45))
    yield 2.0


def _traced(stage, patch):
    """Trace the pixel of the picture at which the teapot is, and wait for it."""
    scene, settings = stage.scene, stage.scene.nerf.inspector
    settings.patch, settings.spacing = patch, 24
    yield from stage.panels("NERF_PT_inspect", "NERF_PT_inspect_shown")
    render = scene.render
    width = render.resolution_x * render.resolution_percentage // 100
    height = render.resolution_y * render.resolution_percentage // 100
    stage.bpy.ops.nerf.inspect_pixel(pixel=(int(0.5 * width), int(0.52 * height)))
    state = stage.addon("inspect.state")
    yield from stage.wait(lambda: state.current().slots or state.current().error, "the trace")
    assert not state.current().error, state.current().error


PICTURES = {"inspect": inspect, "inspect_patch": inspect_patch}
