"""Samplers chosen in Blender: a training's settings, and what pictures are rendered with."""

import json

import bpy
import numpy as np
import pytest

from .small_run import core_python, look_from, needs_core, prepare_scene, trained_run, write_small_dataset

pytestmark = needs_core


@pytest.fixture
def addon(addon_module, monkeypatch):
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    yield addon_module
    addon_module("jobs.core").leave(20)


def settings_of(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["settings"]


def test_the_setting_says_what_was_chosen(addon):
    settings = bpy.context.scene.nerf.training
    chosen = addon("jobs.training_sampler").chosen_settings
    assert settings.sampler == "OWN" and chosen(settings) == {}
    settings.sampler, settings.samples, settings.opacity, settings.cdf = "HIERARCHICAL", 24, "LINEAR", "EXPONENTIAL"
    hierarchical = {"name": "hierarchical", "samples": 24, "opacity": "linear", "cdf": "exponential"}
    assert chosen(settings) == {"sampler": hierarchical}
    settings.sampler, settings.samples = "SURFACE", 0
    assert chosen(settings) == {"sampler": {"name": "surface"}}  # what belongs to another sampler is left out
    settings.sampler = "UNIFORM"
    assert chosen(settings) == {"sampler": {"name": "uniform", "opacity": "linear"}}
    names = {item.identifier for item in settings.bl_rna.properties["sampler"].enum_items}
    assert names == {"OWN", "UNIFORM", "HIERARCHICAL", "OCCUPANCY", "PROPOSAL", "SURFACE"}  # no oracle


def test_a_run_is_trained_with_the_sampler_that_was_chosen_and_keeps_it(addon, tmp_path):
    run = tmp_path / "run"
    scene = prepare_scene(run, write_small_dataset(tmp_path / "data", 6), steps=3)
    settings = scene.nerf.training
    settings.method, settings.sampler, settings.samples = "CLASSIC", "SURFACE", 8
    assert bpy.ops.nerf.train() == {"FINISHED"}
    assert settings_of(run) == {"sampler": {"name": "surface", "samples": 8}}
    assert bpy.ops.nerf.train(more=True) == {"FINISHED"}
    settings.samples = 16
    with pytest.raises(RuntimeError, match=r"with the sampler Surface, 8 samples: choose that, or The Method's Own"):
        bpy.ops.nerf.train(more=True)
    settings.sampler = "OWN"
    assert bpy.ops.nerf.train(more=True) == {"FINISHED"}
    settings.sampler = "UNIFORM"
    assert bpy.ops.nerf.train(anew=True) == {"FINISHED"}
    assert settings_of(tmp_path / "run-002") == {"sampler": {"name": "uniform", "samples": 16}}


def test_novel_views_are_rendered_with_the_sampler_that_was_chosen(addon, tmp_path):
    run = trained_run(tmp_path)
    scene = prepare_scene(run, "")
    look_from(scene)
    tasks = addon("jobs.tasks")

    def picture():
        assert bpy.ops.nerf.render_view() == {"FINISHED"}
        (image,) = tasks.current().results
        return np.array(image.pixels[:]).reshape(30, 40, 4)

    own = picture()
    engine = scene.nerf_engine
    engine.sampler, engine.sampler_samples = "UNIFORM", 2
    few = picture()
    engine.sampler, engine.sampler_samples = "OCCUPANCY", 16
    close = picture()
    seen = own[..., 3] > 0.9
    near, far = (np.abs(each - own)[seen].mean() for each in (close, few))
    assert seen.any() and near < 0.03 and far > 2 * near
    engine.sampler = "PROPOSAL"
    with pytest.raises(RuntimeError, match="This run has no proposal networks; train one with the sampler 'proposal'"):
        bpy.ops.nerf.render_view()
