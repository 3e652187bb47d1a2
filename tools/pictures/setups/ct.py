"""A CT in Blender: a synthetic chest as bones and slices, with the panel that brings one in."""


def ct(stage):
    """Bones and the three slices, in solid mode."""
    stage.need("nerf.xray_add_phantom")
    scene = stage.scene
    stage.hide_subject()
    scene.nerf.capture.folder = str(stage.folder)
    shown = {"use_volume": False, "use_skin": False, "use_slices": True}
    stage.run_operator("nerf.xray_add_phantom", kind="chest", seed=1, window="SOFT_TISSUE", **shown)
    yield from stage.wait_task()
    box = next(item for item in scene.objects if item.nerf_xray.kind == "CT")
    yield from stage.panels("NERF_PT_xray", "NERF_PT_xray_subject")
    stage.run_operator("nerf.xray_ct_slices", window="SOFT_TISSUE", places=(0.3, 0.18, 0.5))
    yield from stage.wait_task()
    stage.select(box)
    stage.solid_color("TEXTURE")
    stage.look(azimuth=58.0, elevation=14.0, distance=0.68, center=(0.0, 0.0, -0.01))
    yield 2.0
    stage.part("window")


PICTURES = {"ct": ct}
