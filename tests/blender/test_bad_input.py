"""Bad input in Blender: the operator is cancelled with one sentence that names the file, and the scene is as it was."""

import json
import sys
import zlib
from pathlib import Path

import bpy
import pytest
from PIL import Image

from . import capture_scenes as scenes
from .conftest import MODULE
from .small_run import core_python, look_from, needs_core, prepare_scene, process_gone, trained_run, write_small_dataset


@pytest.fixture(scope="module", autouse=True)
def _fresh_scene(_extension):
    """One scene for all tests here, in place of a new one each: loading a file would end the core that they share."""
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    yield
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)


@pytest.fixture(scope="module")
def core(addon_module):
    """The core, which one process serves for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NERF_CORE_PYTHON", core_python())
        core = addon_module("jobs.core")
        core.leave(20)
        yield core
        process = core.running()
        core.leave(20)
        assert process is None or process_gone(process.pid)


@pytest.fixture
def refused(monkeypatch):
    """Call an operator that is to be cancelled; gives the sentence that it reports. The scene must not change."""

    def call(name: str, **options) -> str:
        operator = getattr(bpy.ops.nerf, name)
        registered = getattr(bpy.types, operator.idname())
        execute, outcomes = registered.execute, []

        def recorded(self, context):
            outcomes.append(execute(self, context))
            return outcomes[-1]

        before = scenes.dump()
        with monkeypatch.context() as patch:  # a raised error hides from the caller what the operator returned
            patch.setattr(registered, "execute", recorded)
            with pytest.raises(RuntimeError) as raised:
                operator(**options)
        assert outcomes == [{"CANCELLED"}]
        assert scenes.differences(before, scenes.dump()) == []
        sentence = str(raised.value).strip().removeprefix("Error: ")
        assert "\n" not in sentence and sentence.endswith(".") and len(sentence) < 400, sentence
        return sentence

    return call


# --- data sets --------------------------------------------------------------------------------------------------------


def _rewrite(data: Path, change) -> None:
    for path in data.glob("transforms*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        change(document["frames"])
        path.write_text(json.dumps(document), encoding="utf-8")


def _nan_matrix(data: Path) -> None:
    def change(frames):
        frames[0]["transform_matrix"][1][3] = float("nan")

    _rewrite(data, change)


def _wrong_size(data: Path) -> None:
    Image.new("RGBA", (41, 40)).save(data / "train" / "0002.png")


def _huge_header(data: Path) -> None:
    """A valid PNG header that claims 65535 x 65535 pixels."""
    path = data / "train" / "0002.png"
    content = bytearray(path.read_bytes())
    content[16:24] = b"\0\0\xff\xff\0\0\xff\xff"
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)


def _cut_image(data: Path) -> None:
    path = data / "train" / "0002.png"
    path.write_bytes(path.read_bytes()[:-60])


def _cut_json(data: Path) -> None:
    for path in data.glob("transforms*.json"):
        path.write_text(path.read_text(encoding="utf-8")[:-40], encoding="utf-8")


def _no_frames(data: Path) -> None:
    _rewrite(data, lambda frames: frames.clear())


def _gone(data: Path) -> None:
    data.rename(data.with_name("moved"))


DATA_FAULTS = {
    _wrong_size: ("0002.png' is 41x40 pixels", "resize the image or correct w and h"),
    _nan_matrix: ("transforms", ".json", "holds NaN or infinity"),
    _huge_header: ("0002.png'", "million pixels"),
    _cut_image: ("0002.png' is truncated or broken",),
    _cut_json: ("transforms", ".json' is not valid JSON"),
    _no_frames: ("transforms", ".json' has no frames"),
    _gone: ("data' does not exist",),
}


@needs_core
@pytest.mark.parametrize("fault", DATA_FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_bad_data_set_is_refused(core, refused, tmp_path, fault):
    data = write_small_dataset(tmp_path / "data", 6)
    fault(data)
    held = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    prepare_scene(tmp_path / "run", data, steps=2)
    process = core.running()
    sentence = refused("train")
    for part in DATA_FAULTS[fault]:
        assert part in sentence
    assert {path: path.read_bytes() for path in held} == held
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    # The same core serves the next one: a mistake of the person's does not end it.
    assert core.running() is not None and process in (None, core.running())
    assert sys.modules[f"{MODULE}.jobs.training"].current().phase == "failed"


@needs_core
def test_training_goes_on_once_the_data_set_is_repaired(core, refused, tmp_path):
    data = write_small_dataset(tmp_path / "data", 6)
    picture = data / "train" / "0002.png"
    whole = picture.read_bytes()
    _wrong_size(data)
    prepare_scene(tmp_path / "run", data, steps=2)
    assert "0002.png" in refused("train")
    process = core.running()
    picture.write_bytes(whole)
    assert bpy.ops.nerf.train() == {"FINISHED"}
    assert core.running() is process and (tmp_path / "run" / "checkpoint.safetensors").is_file()


# --- runs -------------------------------------------------------------------------------------------------------------

RESULTS = ("render_view", "import_points", "inspect_samples", "import_cameras")


def _cut_checkpoint(run: Path) -> str:
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return "checkpoint.safetensors' is not a whole safetensors file"


def _other_bytes(run: Path) -> str:
    (run / "checkpoint.safetensors").write_bytes(b"no checkpoint at all")
    return "checkpoint.safetensors' is not a "


def _cut_run_json(run: Path) -> str:
    path = run / "run.json"
    path.write_bytes(path.read_bytes()[:-20])
    return "run.json' is not valid JSON"


@needs_core
@pytest.mark.parametrize("fault", [_cut_checkpoint, _other_bytes, _cut_run_json], ids=lambda f: f.__name__.strip("_"))
def test_a_broken_run_is_refused_and_kept(core, refused, tmp_path, fault):
    run = trained_run(tmp_path)
    expected = fault(run)
    held = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    scene = prepare_scene(run, tmp_path / "data")
    look_from(scene)
    # The cameras are read from the checkpoint's header, which a cut leaves whole.
    for name in RESULTS if fault is not _cut_checkpoint else RESULTS[:-1]:
        assert expected in refused(name), name
    scene.nerf.training.data = ""
    assert expected in refused("train", more=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == held


@needs_core
def test_samples_of_a_checkpoint_of_another_version_are_refused(core, refused, tmp_path):
    run = trained_run(tmp_path)
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"version":"1"', b'"version":"9"'))
    look_from(prepare_scene(run, tmp_path / "data"))
    assert "checkpoint.safetensors' is a checkpoint of version 9" in refused("inspect_samples")
    assert bpy.context.scene.nerf.inspect.object is None


# --- scenes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_camera():
    """The scene without its camera, which comes back afterwards."""
    scene = bpy.context.scene
    camera = scene.camera
    scene.collection.children[0].objects.unlink(camera)
    scene.camera = None
    bpy.context.view_layer.update()
    yield scene
    scene.collection.children[0].objects.link(camera)
    scene.camera = camera


@needs_core
@pytest.mark.parametrize("views", ["ACTIVE", "ALL", "FRAMES"])
def test_a_novel_view_without_a_camera_is_refused(core, refused, no_camera, tmp_path, views):
    run = trained_run(tmp_path)
    prepare_scene(run, tmp_path / "data")
    no_camera.nerf.render.views = views
    assert "no camera" in refused("render_view")
    assert not (run / "renders").exists() or not list((run / "renders").iterdir())


@pytest.mark.parametrize(("rig", "told"), [("CAMERAS", "has no camera"), ("ANIMATION", "no active camera")])
def test_a_rig_without_a_camera_is_refused(refused, no_camera, tmp_path, rig, told):
    scenes.small(no_camera.nerf.capture, tmp_path)
    no_camera.nerf.capture.rig = rig
    for name in ("capture", "preview_cameras"):
        assert told in refused(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subject", ["SELECTED", "SCENE"])
def test_an_empty_subject_is_refused(refused, tmp_path, subject):
    scene = bpy.context.scene
    scenes.small(scene.nerf.capture, tmp_path)
    scene.nerf.capture.rig, scene.nerf.capture.subject = "SPHERE", subject
    cube = bpy.data.objects["Cube"]
    cube.hide_render = True
    try:
        for name in ("capture", "preview_cameras"):
            assert "no geometry that is rendered" in refused(name)
    finally:
        cube.hide_render = False
    assert list(tmp_path.iterdir()) == []
