"""Experiments: a small grid's results, and the wipe between two of its turntables."""

GRID = """
[experiment]
title = "Samples on the tea table"
views = 1
turntable = { frames = 4, size = 192 }

[defaults]
method = "classic"
downscale = 2
seconds = 20
settings = { preset = "small" }

[grid.samples]
"64+128" = { coarse = 64, fine = 128 }
"64+16" = { coarse = 64, fine = 16 }
"0+64" = { sampler = "surface", samples = 64 }
"0+16" = { sampler = "surface", samples = 16 }
"""


def experiments(stage):
    """The list of results beside the wipe."""
    stage.need("nerf.experiment_run", "nerf.compare_load")
    settings = stage.scene.nerf.experiment
    settings.text = stage.bpy.data.texts.new("tea-table.toml")
    settings.text.write(GRID)
    settings.plan, settings.data, settings.folder = "TEXT", str(stage.run / "dataset"), str(stage.folder / "experiment")
    editor = stage.image_editor(large=True)
    yield from stage.panels("NERF_PT_experiment")
    yield from stage.widen(90)
    stage.run_operator("nerf.experiment_run")
    state = stage.addon("experiments.state")
    yield from stage.wait(lambda: not state.under_way(), "the experiment", 1200)
    if state.current().phase != "finished":
        raise AssertionError(state.current().text)
    settings.a, settings.b, settings.shown = "64+128", "0+16", "WIPE"
    stage.run_operator("nerf.compare_load")
    stage.scene.frame_set(2)
    stage.fit_image(editor)
    yield 1.0
    stage.part("window")


PICTURES = {"experiments": experiments}
