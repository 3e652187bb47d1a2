"""Experiments: a small grid's results, and the wipe between two of its turntables; the same of radiographs."""

GRID = """
[experiment]
title = "Samples on the tea table"
views = 1
turntable = { frames = 4, size = 192 }

[defaults]
method = "classic"
downscale = 2
seconds = 50
settings = { preset = "small" }

[grid.samples]
"64+128" = { coarse = 64, fine = 128 }
"64+16" = { coarse = 64, fine = 16 }
"0+64" = { sampler = "surface", samples = 64 }
"0+16" = { sampler = "surface", samples = 16 }
"""

RADIOGRAPHS = """
[experiment]
kind = "xray"
title = "A synthetic chest from few radiographs"
data = "phantom:chest:101"
held_out = 12
turntable = { frames = 12, size = 192 }

[defaults]
pixels = 96
voxels = 96

[grid.system]
"field" = { system = "field", seconds = 20, settings = { noise_floor = 0.15 } }
"FDK" = { system = "fdk" }
"SART" = { system = "sart" }

[grid.views]
"5 views" = { views = 5 }
"25 views" = { views = 25 }

[[cell]]
name = "truth"
system = "truth"
"""


def experiments(stage):
    """The list of results beside the wipe."""
    settings = stage.scene.nerf.experiment
    settings.data = str(stage.run / "dataset")
    yield from _run(stage, "tea-table.toml", GRID, "64+128", "0+16", frame=2)


def xray_experiment(stage):
    """The same of radiographs: the attenuation field against filtered back-projection."""
    yield from _run(stage, "chest.toml", RADIOGRAPHS, "field 25 views", "FDK 25 views", frame=2)


def _run(stage, name, plan, a, b, frame):
    stage.need("nerf.experiment_run", "nerf.compare_load")
    settings = stage.scene.nerf.experiment
    settings.text = stage.bpy.data.texts.new(name)
    settings.text.write(plan)
    settings.plan, settings.folder = "TEXT", str(stage.folder / "experiment")
    editor = stage.image_editor(large=True)
    yield from stage.panels("NERF_PT_experiment")
    yield from stage.widen(90)
    stage.run_operator("nerf.experiment_run")
    state = stage.addon("experiments.state")
    yield from stage.wait(lambda: not state.under_way(), "the experiment", 1200)
    if state.current().phase != "finished":
        raise AssertionError(state.current().text)
    settings.a, settings.b, settings.shown = a, b, "WIPE"
    stage.run_operator("nerf.compare_load")
    stage.scene.frame_set(frame)
    stage.fit_image(editor)
    yield 1.0
    stage.part("window")


PICTURES = {"experiments": experiments, "xray-experiment": xray_experiment}
