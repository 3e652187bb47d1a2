"""The explainer: its scene against the core's own numbers, the person's scenes, pixels, the video, the command."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from PIL import Image

from .small_run import core_python, needs_core, trained_run

pytestmark = needs_core

SIZE = (256, 144)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("Erklärung – 説明"))


@pytest.fixture(scope="module")
def jobs(addon_module):
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("NERF_CORE_PYTHON", core_python())
    gather = addon_module("explainer.gather")
    for name, small in (("POINTS", 1500), ("NOVEL_WIDTH", 96), ("CANDIDATES", 12), ("FAN", 5)):
        monkeypatch.setattr(gather, name, small)

    class Jobs:
        core, pump, tasks = (addon_module(f"jobs.{name}") for name in ("core", "pump", "tasks"))
        stage, keys = addon_module("explainer.stage"), addon_module("explainer.keys")
        build, pick = addon_module("explainer.build"), addon_module("explainer.pick")

        def ask(self, method, **params):
            call = self.core.request(method, params)
            assert self.pump.pump_until(lambda: call.done, 120) and call.error is None, call.error
            return call

    yield Jobs()
    Jobs.core.leave(20)
    monkeypatch.undo()


_told: list[Path] = []


@pytest.fixture
def story(run, jobs, tmp_path_factory):
    """The story's scene, in a file that was saved and opened again."""
    if not _told:
        bpy.context.scene.nerf.run_folder = str(run)
        assert bpy.ops.nerf.explain() == {"FINISHED"}
        path = tmp_path_factory.mktemp("story") / "story.blend"
        bpy.ops.wm.save_as_mainfile(filepath=str(path), copy=True, compress=True)
        _told.append(path)
    bpy.ops.wm.open_mainfile(filepath=str(_told[0]))
    scene = jobs.stage.find()
    bpy.context.window.scene = scene
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    return scene


def at(scene, frame):
    """What the objects are at a frame."""
    layer = scene.view_layers[0]
    scene.frame_set(int(frame))
    layer.update()
    found = {}
    for item in scene.objects:
        shown = item.evaluated_get(layer.depsgraph)
        found[item.name] = SimpleNamespace(
            color=list(shown.color), scale=list(shown.scale), hide_render=shown.hide_render, data=shown.data
        )
    return found


def there(items, prefix):
    return sorted(name for name, item in items.items() if name.startswith(prefix) and not item.hide_render)


def chapters(scene):
    """First frames of the six parts, and the last frame."""
    return [marker.frame for marker in sorted(scene.timeline_markers, key=lambda m: m.frame)] + [scene.frame_end]


def linear(srgb):
    srgb = np.clip(np.asarray(srgb, dtype=float), 0, 1)
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def traced(jobs, run, scene, **more):
    told = scene["nerf_story"]
    view = {"split": told["split"], "index": told["view"]}
    arrays = jobs.ask("trace", run=str(run), view=view, pixels=[list(told["pixel"])], **more).arrays
    arrays = {name: np.asarray(array, dtype=float) for name, array in arrays.items()}
    counts = arrays["selected"] > 0  # the colours of the others are not added up
    samples = ("t", "color", "density", "weight", "transmittance")
    return {name: array[counts] if name in samples else array for name, array in arrays.items()}


def seen(rgba, background=(1.0, 1.0, 1.0)):
    return np.clip(rgba[:3] + (1 - rgba[3]) * np.array(background), 0, 1)


def error_of(arrays):
    truth = arrays["truth"][0]
    return np.sqrt(np.mean((seen(arrays["rgba"][0]) - seen([*(truth[:3] * truth[3]), truth[3]])) ** 2))


def test_samples_stand_where_the_core_placed_them_and_take_its_colours(jobs, run, story):
    arrays = traced(jobs, run, story)
    _, marching, asking, adding, training, *_ = chapters(story)
    beads = sorted(
        (item for item in story.objects if item.name.startswith("Sample ") and item.type == "MESH"),
        key=lambda i: i.name,
    )
    beads = [item for item in beads if item.name[7:].isdigit()]
    assert len(beads) == len(arrays["t"]) > 2
    found = np.array([item.location for item in beads])
    np.testing.assert_allclose(found, arrays["origin"] + arrays["t"][:, None] * arrays["direction"], atol=1e-4)
    grey, asked = at(story, asking), at(story, adding - 1)
    opacity = arrays["weight"] / np.maximum(arrays["transmittance"], 1e-9)
    clear = np.abs(opacity - 0.02) > 1e-3
    for index in np.flatnonzero(clear):
        name, color = beads[index].name, linear(arrays["color"][index])
        assert np.ptp(grey[name].color[:3]) < 0.1  # nothing is known of it yet
        if opacity[index] > 0.02:
            np.testing.assert_allclose(asked[name].color[:3], color, atol=2e-3)
        else:
            assert asked[name].scale[0] < 0.5 * grey[name].scale[0]  # empty ones shrink away
    acting = np.flatnonzero(opacity > 0.05)
    sizes = np.array([asked[beads[i].name].scale[0] for i in acting])
    assert (np.diff(sizes[np.argsort(opacity[acting])]) > -1e-6).all()  # the denser, the larger
    assert not there(at(story, marching), "Sample 001") and there(grey, "Sample 001")


def test_the_sum_is_the_pixel_and_the_difference_is_told(jobs, run, story):
    arrays = traced(jobs, run, story)
    *_, adding, training, _ending, _last = chapters(story)
    items = at(story, training - 1)
    np.testing.assert_allclose(items["Swatch NeRF"].color[:3], linear(seen(arrays["rgba"][0])), atol=2e-3)
    truth = arrays["truth"][0]
    np.testing.assert_allclose(
        items["Swatch Picture"].color[:3], linear(seen([*(truth[:3] * truth[3]), truth[3]])), atol=2e-3
    )
    assert story.objects["Difference"].data.body == f"difference  {error_of(arrays):.1%}"
    assert there(items, "Difference") and not there(at(story, adding + 30), "Difference")
    # It grows from nothing, and what is see-through shrinks.
    shares = [at(story, frame)["See-Through Bar"].scale[0] for frame in np.linspace(adding + 15, training - 1, 9)]
    assert (np.diff(shares) <= 1e-6).all() and shares[-1] < 0.05 * shares[0]
    assert max(at(story, adding + 16)["Swatch NeRF"].color[:3]) < 1e-3


def test_every_stored_moment_has_its_picture_its_error_and_its_point(jobs, run, story):
    steps = sorted(int(path.stem) for path in (run / "snapshots").iterdir())
    *_, training, ending, _last = chapters(story)
    errors = [error_of(traced(jobs, run, story, snapshot=step)) for step in steps[:-1]]
    errors.append(error_of(traced(jobs, run, story)))  # the last one is the run itself
    assert errors[0] > 2 * errors[-1]
    points = {
        int(item.name.split()[-1]): item.location for item in story.objects if item.name.startswith("Error Point")
    }
    assert sorted(points) == steps
    heights = np.array([points[step][1] for step in steps])
    slope, zero = np.polyfit(errors, heights, 1)
    np.testing.assert_allclose(heights, zero + slope * np.array(errors), atol=2e-3)
    assert abs(zero - 0.55) < 5e-3 and slope > 0
    texts = {step: story.objects[f"Error at Step {step}"].data.body for step in steps}
    assert texts == {step: f"{error:.1%}" for step, error in zip(steps, errors, strict=True)}
    shown, grown = [], []
    for frame in range(training, ending, 3):
        items = at(story, frame)
        pictures = [name for name in there(items, "NeRF at Step")]
        assert len(pictures) == 1
        shown.append(int(pictures[0].split()[-1]))
        grown.append(items["Error Curve"].data.bevel_factor_end)
    assert sorted(set(shown)) == steps and shown == sorted(shown)
    assert grown[0] == 0 and grown[-1] == pytest.approx(1) and (np.diff(grown) >= -1e-6).all()


def said(scene, curves):
    """(begin, end) of each sentence in the band, in frames; the last one stays."""
    spans = []
    for item in scene.objects:
        if item.name.startswith("Text: "):
            (curve,) = (each for each in curves(item.animation_data) if each.data_path == "hide_render")
            keys = {tuple(map(float, point.co)) for point in curve.keyframe_points}
            shown, gone = sorted(f for f, hidden in keys if not hidden), sorted(f for f, hidden in keys if hidden and f)
            assert len(shown) == 1 and len(gone) <= 1, item.name
            spans.append((shown[0], gone[0] if gone else scene.frame_end + 1.0))
    return sorted(spans)


@pytest.mark.parametrize("samples", [1, None])
def test_one_sentence_is_said_at_a_time_and_can_be_read(run, jobs, story, addon_module, monkeypatch, samples):
    """A sampler that needs one sample a ray is told of in its own words, as slowly as any other."""
    if samples is not None:
        monkeypatch.setattr(addon_module("explainer.gather"), "MOST_SAMPLES", samples)
        bpy.context.scene.nerf.run_folder = str(run)
        assert bpy.ops.nerf.explain() == {"FINISHED"}
        story = jobs.stage.find()
    spans = said(story, addon_module("compat").action_curves)
    assert spans[0][0] == 1 and spans[-1][1] >= story.frame_end
    assert all(end == begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False)), spans
    assert min(end - begin for begin, end in spans) >= 24
    sentences = [item.data.body for item in story.objects if item.name.startswith("Text: ")]
    assert samples != 1 or "1 sample is left, where something may be." in sentences


def test_nothing_plays_by_handlers_or_drivers(story, jobs):
    for item in bpy.data.objects:
        assert item.animation_data is None or not item.animation_data.drivers
    keyed = [item for item in story.objects if item.animation_data is not None and item.animation_data.action]
    assert len(keyed) > 60
    assert [marker.name[:1] for marker in sorted(story.timeline_markers, key=lambda m: m.frame)] == list("N123TD")
    assert 24 * 25 < story.frame_end < 24 * 50 and story.render.fps == 24


def test_a_second_story_renews_its_own_scene_alone(jobs, run, story, tmp_path):
    home = next(scene for scene in bpy.data.scenes if scene is not story)
    bpy.context.window.scene = home
    assert Path(bpy.path.abspath(home.nerf.run_folder)).resolve() == run.resolve()
    before = sorted(item.name for item in home.objects), home.render.engine, home.frame_end, home.camera.name
    uid, count = story.session_uid, len(story.objects)
    own = bpy.data.objects.new("Mine", None)
    story.collection.objects.link(own)
    kept = {kind: len(getattr(bpy.data, kind)) for kind in ("meshes", "curves", "actions", "materials", "worlds")}
    assert bpy.ops.nerf.explain() == {"FINISHED"}
    scene = jobs.stage.find()
    assert scene.session_uid == uid and len(scene.objects) == count + 1 and scene.objects.get("Mine") is not None
    assert {kind: len(getattr(bpy.data, kind)) for kind in kept} == kept
    assert len(bpy.data.scenes) == 2
    # Now of a run that kept no moments: it tells its error alone.
    copy = shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(copy / "snapshots")
    home.nerf.run_folder = str(copy)
    assert bpy.ops.nerf.explain() == {"FINISHED"}
    scene = jobs.stage.find()
    assert scene.session_uid == uid and scene.objects.get("Mine") is not None
    assert len([item for item in scene.objects if item.name.startswith("Error Point")]) == 1
    assert "Error Curve" not in scene.objects
    assert len(there(at(scene, chapters(scene)[4] + 40), "NeRF at Step")) == 1
    after = sorted(item.name for item in home.objects), home.render.engine, home.frame_end, home.camera.name
    assert after == before


@pytest.mark.parametrize("engine", ["workbench", "cycles"])
def test_a_rendered_frame_shows_both_colours_in_every_engine(jobs, run, story, tmp_path, engine):
    arrays = traced(jobs, run, story)
    jobs.stage.choose_engine(story, engine)
    if engine == "cycles":
        story.cycles.samples = 2
    *_, training, _ending, _last = chapters(story)
    story.frame_set(training - 2)
    story.render.filepath = str(tmp_path / "frame.png")
    bpy.ops.render.render(write_still=True, scene=story.name)
    picture = np.asarray(Image.open(tmp_path / "frame.png").convert("RGB")).astype(int)
    assert picture.shape == (SIZE[1], SIZE[0], 3)

    def pixel(x, y):
        return picture[round((4.5 - y) / 9 * SIZE[1]), round((x + 8) / 16 * SIZE[0])]

    truth = arrays["truth"][0]
    for place, color in ((2.0, seen(arrays["rgba"][0])), (5.4, seen([*(truth[:3] * truth[3]), truth[3]]))):
        np.testing.assert_allclose(pixel(place, 2.0), 255 * color, atol=2.5)
    np.testing.assert_allclose(pixel(7.8, -4.2), 255 * np.array([0.025, 0.03, 0.042]), atol=4)  # the band
    assert picture.max() > 220 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


DECODE = """
import sys, imageio_ffmpeg, numpy
reader = imageio_ffmpeg.read_frames(sys.argv[1])
facts = next(reader)
width, height = facts["size"]
frames = [numpy.frombuffer(data, numpy.uint8).reshape(height, width, 3) for data in reader]
numpy.savez(sys.argv[2], fps=facts["fps"], frames=numpy.stack(frames))
"""


def decoded(path):
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "frames.npz"
        subprocess.run([core_python(), "-c", DECODE, str(path), str(target)], check=True)
        found = np.load(target)
        return float(found["fps"]), found["frames"]


def test_the_video_has_the_frames_that_blender_renders(jobs, story, tmp_path, monkeypatch):
    own = tmp_path / "temporary"
    own.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    out = tmp_path / "vidéo" / "story.mp4"
    first = chapters(story)[4] - 3
    home = next(scene for scene in bpy.data.scenes if scene is not story)
    bpy.context.window.scene = home  # where a person may be while the story is rendered
    home.nerf.explainer.scale = 50
    assert bpy.ops.nerf.export_story(filepath=str(out), first=first, last=first + 4) == {"FINISHED"}
    fps, frames = decoded(out)
    assert fps == 24 and frames.shape == (5, 72, 128, 3)
    assert np.abs(frames[0].astype(float) - frames[4]).mean() > 3  # from the end of one part to the next
    bpy.context.window.scene = story
    story.frame_set(first + 2)
    story.render.resolution_percentage, story.render.filepath = 50, str(tmp_path / "still.png")
    bpy.ops.render.render(write_still=True, scene=story.name)
    still = np.asarray(Image.open(tmp_path / "still.png").convert("RGB")).astype(float)
    assert np.abs(frames[2] - still).mean() < 6  # sharp words lose more than pictures do
    before = out.read_bytes()
    with pytest.raises(RuntimeError, match="exists already and is not overwritten"):
        bpy.ops.nerf.export_story(filepath=str(out), first=first, last=first)
    assert out.read_bytes() == before
    with pytest.raises(RuntimeError, match=r"must end in \.mp4"):
        bpy.ops.nerf.export_story(filepath=str(tmp_path / "story.avi"))
    with pytest.raises(RuntimeError, match="The story has the frames 1 to"):
        bpy.ops.nerf.export_story(filepath=str(tmp_path / "late.mp4"), first=99_999)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["still.png", "temporary", "vidéo"]
    assert not list(own.iterdir())


def test_what_cannot_be_told_is_said(jobs, run, tmp_path):
    scene = bpy.context.scene
    assert not bpy.ops.nerf.export_story.poll() and not bpy.ops.nerf.explain.poll()
    copy = shutil.copytree(run, tmp_path / "run")
    facts = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**facts, "data": str(tmp_path / "gone")}))
    scene.nerf.run_folder = str(copy)
    with pytest.raises(RuntimeError, match="The data set .*gone' is gone"):
        bpy.ops.nerf.explain()
    assert jobs.stage.find() is None


def test_an_undo_while_it_is_built_ends_it_with_a_sentence(jobs, monkeypatch):
    def parts(_story):
        for handler in list(bpy.app.handlers.undo_pre):
            if handler.__name__ == "note":
                handler(None, None)
        yield 0.1
        raise AssertionError("stale references were used")

    monkeypatch.setattr(jobs.build, "_parts", parts)
    building = jobs.build.build(None)
    assert next(building) == 0.1
    with pytest.raises(Exception, match="Something was undone while the story was being built"):
        next(building)
    assert not [handler for handler in bpy.app.handlers.undo_pre if handler.__name__ == "note"]


def test_the_command_builds_saves_and_renders(jobs, run, addon_module, tmp_path, capsys):
    cli = addon_module("cli")
    out, saved = tmp_path / "told.mp4", tmp_path / "told.blend"
    words = [
        "explain",
        "--run",
        str(run),
        "--out",
        str(out),
        "--scale",
        "10",
        "--frames",
        "5",
        "6",
        "--save",
        str(saved),
    ]
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "NeRF Explained: frames 1 to" in told and str(out) in told and "Add up" in told
    assert decoded(out)[1].shape == (2, 72, 128, 3)
    assert saved.stat().st_size > 10_000
    assert cli.main(words) == 2 and "exists already" in capsys.readouterr().err
    assert cli.main(["explain", "--run", str(tmp_path / "no run")]) == 2 and "no run" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(3))
def test_chosen_pixels_lie_on_the_object_away_from_its_edge(jobs, seed):
    chance = np.random.default_rng(np.random.SeedSequence().entropy + seed)
    height, width = chance.integers(30, 60, 2)
    y, x = np.mgrid[:height, :width]
    radius = 0.33 * min(height, width)
    inside = np.hypot(y - height / 2, x - width / 2)
    rgba = np.zeros((height, width, 4))
    rgba[inside < radius] = [*chance.uniform(0.2, 0.8, 3), 1.0]
    rgba[..., :3] *= chance.uniform(0.6, 1.0, (height, width, 1))
    found = jobs.pick.choose_pixels(rgba, 20)
    assert len(found) and len({tuple(pair) for pair in found.tolist()}) == len(found)
    assert (inside[found[:, 1], found[:, 0]] < radius - 2).all()
    np.testing.assert_array_equal(found, jobs.pick.choose_pixels(rgba, 20))
    empty = jobs.pick.choose_pixels(np.zeros((8, 8, 4)), 5)
    assert len(empty) and (empty < 8).all()
