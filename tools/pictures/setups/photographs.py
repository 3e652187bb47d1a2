"""Data sets in: cameras with their pictures behind what they see. And out, for other programs."""


def photographs(stage):
    """An imported data set, seen through one of its cameras."""
    stage.need("nerf.import_dataset", "nerf.look_through")
    bpy = stage.bpy
    before = set(bpy.data.objects)
    yield from stage.panels("NERF_PT_photographs")
    stage.run_operator("nerf.import_dataset", filepath=str(stage.run / "dataset" / "transforms.json"))
    yield from stage.wait_task()
    made = [item for item in bpy.data.objects if item not in before and item.type == "CAMERA"]
    stage.hide_subject()
    low = min(made, key=lambda item: abs(item.matrix_world.translation[2] - 2.0))
    stage.select(low)
    stage.run_operator("nerf.look_through")
    yield 1.5


def layouts(stage):
    """Which programs a captured data set is laid out for."""
    yield from stage.panels("NERF_PT_capture", "NERF_PT_layouts")
    stage.part("sidebar")


PICTURES = {"photographs": photographs, "layouts": layouts}
