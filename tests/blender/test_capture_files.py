"""Nothing of the person's is lost, a stopped capture goes on, and a killed one leaves no half picture."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bpy
import pytest

from . import capture_scenes as scenes
from .conftest import ROOT

NAMES = ["train/0001.png", "train/0002.png", "train/0003.png", "val/0001.png", "test/0001.png"]


@pytest.fixture
def scene(tmp_path):
    """The default scene in Workbench, set up for five small views into `tmp_path/run`."""
    scene = bpy.context.scene
    scenes.workbench(scene)
    scenes.small(scene.nerf.capture, tmp_path)
    return scene


@pytest.fixture
def start(addon_module, scene):
    """Begin a capture as the operator does, to be stepped by hand."""
    planner, driver = addon_module("capture.planner"), addon_module("capture.driver")

    def begin():
        settings, layer = scene.nerf.capture, bpy.context.view_layer
        return driver.CaptureJob(scene, layer, settings, planner.make_plan(scene, layer, settings))

    return begin


def _pictures(run: Path) -> dict[str, tuple[int, bytes]]:
    """Name -> (time of writing, content) of all PNGs of a run."""
    dataset = run / "dataset"
    return {
        path.relative_to(dataset).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in dataset.glob("*/*.png")
    }


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_stopped_capture_renders_only_what_is_missing(scene, start, tmp_path):
    job = start()
    assert (job.resumed, job.done, job.total, job.seconds_left) == (False, 0, 5, None)
    job.step()
    job.step()
    assert job.seconds_left > 0 and job.text.startswith("2 of 5 views, ")
    job.close()
    first = _pictures(tmp_path / "run")
    assert sorted(first) == NAMES[:2]
    assert not (tmp_path / "run/dataset/transforms.json").exists()

    again = start()
    assert (again.resumed, again.done, again.total) == (True, 2, 5)
    assert again.statement == f"Going on with the capture in '{tmp_path / 'run'}'."
    again.close()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    second = _pictures(tmp_path / "run")
    assert sorted(second) == sorted(NAMES)
    assert {name: second[name] for name in first} == first
    assert len(scenes.document(tmp_path / "run")["frames"]) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert bpy.path.abspath(scene.nerf.run_folder) == str(tmp_path / "run")


def test_broken_pictures_and_leftovers_are_replaced(scene, start, tmp_path):
    job = start()
    while job.step() and job.done < 4:
        pass
    job.close()
    dataset = tmp_path / "run/dataset"
    whole = (dataset / NAMES[0]).read_bytes()
    (dataset / NAMES[0]).write_bytes(whole[: len(whole) // 2])
    (dataset / NAMES[1]).write_bytes(b"")
    (dataset / "train/.0003-abcd1234.png").write_bytes(whole[:100])
    again = start()
    assert again.done == 2
    again.close()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert sorted(path.relative_to(dataset).as_posix() for path in dataset.glob("*/*")) == sorted(NAMES)
    assert (dataset / NAMES[0]).read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "told"),
    [("radius", "cameras"), ("samples", "samples"), ("use_transparent", "transparent"), ("train_count", "cameras")],
)
def test_other_settings_go_to_a_new_folder(scene, start, tmp_path, change, told):
    job = start()
    job.step()
    job.close()
    before = _tree(tmp_path / "run")
    settings = scene.nerf.capture
    settings.use_auto_radius = change != "radius"
    setattr(settings, change, {"radius": 8.0, "samples": 3, "use_transparent": False, "train_count": 4}[change])
    other = start()
    assert other.run.root == tmp_path / "run-002"
    assert f"captured with other settings ({told}) and is kept" in other.statement
    other.close()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert (tmp_path / "run-002/dataset/transforms.json").exists()
    assert _tree(tmp_path / "run") == before
    # Set back, the first one goes on, though the scene's run is the second by now.
    settings.use_auto_radius, settings.samples, settings.use_transparent = True, 1, True
    settings.train_count = 3
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert len(_pictures(tmp_path / "run")) == 5


def test_a_finished_capture_is_kept_and_the_next_gets_a_number(scene, tmp_path):
    for _ in range(3):
        assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-002", "run-003"]


def test_an_animation_goes_on_with_its_cameras(scene, start, tmp_path):
    camera = scene.camera
    for frame, x in ((1, 5.0), (9, 8.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    scene.frame_start, scene.frame_end = 1, 9
    settings = scene.nerf.capture
    settings.rig, settings.frame_step, settings.val_count, settings.test_count = "ANIMATION", 2, 1, 0
    job = start()
    job.step()
    job.step()
    job.close()
    first = _pictures(tmp_path / "run")
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    second = _pictures(tmp_path / "run")
    assert {name: second[name] for name in first} == first
    whole = scenes.document(tmp_path / "run")
    x = sorted(entry["transform_matrix"][0][3] for entry in whole["frames"])
    assert len(set(x)) == 5 and x[0] == pytest.approx(5) and x[-1] == pytest.approx(8)


def test_a_killed_blender_leaves_whole_pictures_only(tmp_path):
    """kill -9 in the middle of capturing; what lies there is whole, and a new process goes on with it."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT / 'tools')!r})\n"
        f"os.environ['BLENDER_USER_RESOURCES'] = {str(tmp_path / 'user')!r}\n"
        "import bpy\n"
        "from pathlib import Path\n"
        "from build_extension import stage\n"
        "bpy.ops.wm.read_factory_settings(use_empty=False)\n"
        "target = Path(bpy.utils.user_resource('EXTENSIONS')) / 'user_default' / 'nerf_toolkit'\n"
        "if not target.exists():\n    stage(target)\n"
        "bpy.ops.preferences.addon_enable(module='bl_ext.user_default.nerf_toolkit')\n"
        "scene = bpy.context.scene\n"
        "scene.render.engine = 'BLENDER_WORKBENCH'\n"
        "settings = scene.nerf.capture\n"
        f"settings.folder, settings.name = {str(tmp_path)!r}, 'run'\n"
        "settings.train_count = int(sys.argv[1])\n"
        "settings.resolution_x = settings.resolution_y = 200\n"
        "print(bpy.ops.nerf.capture())\n"
        "bpy.ops.preferences.addon_disable(module='bl_ext.user_default.nerf_toolkit')\n"
    )
    command = [sys.executable, str(script), "40"]
    train = tmp_path / "run/dataset/train"
    with open(tmp_path / "first.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 120
            while not (train.is_dir() and len(list(train.glob("00*.png"))) >= 3):
                assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "first.log").read_text()
                time.sleep(0.005)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    first = {name: entry for name, entry in _pictures(tmp_path / "run").items() if "/." not in name}
    assert 3 <= len(first) < 50
    for name in first:
        assert scenes.picture(tmp_path / "run/dataset" / name).shape == (200, 200, 4)  # decodes whole
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert "{'FINISHED'}" in result.stdout, result.stdout + result.stderr
    second = _pictures(tmp_path / "run")
    assert len(second) == 50
    assert {name: second[name] for name in first} == first


# --- the person's own files -------------------------------------------------------------------------------------------


def test_a_folder_of_the_persons_is_never_touched(scene, tmp_path):
    own = tmp_path / "run/dataset/train"
    own.mkdir(parents=True)
    (own / "0001.png").write_bytes(b"holiday")
    (tmp_path / "run/notes.txt").write_text("mine")
    (tmp_path / "run-002").write_text("a file of that name")
    before = _tree(tmp_path)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    after = _tree(tmp_path)
    assert {name: after[name] for name in before} == before
    assert (tmp_path / "run-003/dataset/transforms.json").exists()


def test_a_folder_with_a_foreign_run_json_is_never_touched(scene, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text('{"format": "somebody else\'s"}')
    before = _tree(tmp_path)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert (tmp_path / "run-002/dataset/transforms.json").exists()
    assert {name: _tree(tmp_path)[name] for name in before} == before


def test_a_run_trained_on_other_data_is_never_touched(scene, tmp_path, addon_module):
    folder = addon_module("vendor.nerf_core.contract.run_folder").claim_run_folder(tmp_path / "run")
    folder.write({"data": "/somewhere/else", "method": "fast"})
    before = _tree(tmp_path)
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert (tmp_path / "run-002/dataset/transforms.json").exists()
    assert {name: _tree(tmp_path)[name] for name in before} == before


def test_a_saved_blend_captures_beside_itself_in_any_script(scene, tmp_path):
    folder = tmp_path / "Würfel und 立方体 Ω"
    folder.mkdir()
    blend = folder / "mein кубик é.blend"
    scene.nerf.capture.folder = scene.nerf.capture.name = ""
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    run = folder / "nerf" / "mein кубик é"
    assert len(scenes.document(run)["frames"]) == 5
    assert sorted(_pictures(run)) == sorted(NAMES)
    assert scene.nerf.run_folder.startswith("//")


def test_an_unsaved_blend_captures_into_the_home_folder(scene, tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    scene.nerf.capture.folder = scene.nerf.capture.name = ""
    assert not bpy.data.filepath
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    assert len(scenes.document(tmp_path / "home/NeRF Toolkit/Scene")["frames"]) == 5


def test_a_relative_folder_of_an_unsaved_blend_is_told(scene, addon_module):
    scene.nerf.capture.folder = "//nerf"
    with pytest.raises(RuntimeError, match="'//nerf' lies beside the .blend file, which is not saved yet"):
        bpy.ops.nerf.capture()


@pytest.mark.parametrize(
    ("asked", "made"),
    [("a/b:c*?", "a_b_c__"), (" trailing. ", "trailing"), ("CON", "run_CON"), ("..", "Scene"), ("x" * 300, "x" * 100)],
)
def test_names_are_safe_everywhere(scene, addon_module, asked, made):
    expected = "run_" if asked == ".." else made
    assert addon_module("capture.folders").run_name(asked, scene) == expected


# --- folders that cannot be written -----------------------------------------------------------------------------------


def _refused(scene, pattern):
    before = scenes.dump()
    with pytest.raises(RuntimeError, match=pattern):
        bpy.ops.nerf.capture()
    assert scenes.differences(before, scenes.dump()) == []


def test_a_folder_below_a_file_is_told(scene, tmp_path):
    (tmp_path / "file.txt").write_text("mine")
    scene.nerf.capture.folder = str(tmp_path / "file.txt" / "below")
    _refused(scene, r"Cannot (make|read) the folder '.*below.*': .*choose another folder|Choose another folder")
    assert (tmp_path / "file.txt").read_text() == "mine"


@pytest.fixture
def mounted(tmp_path):
    """A file system of one's own in memory, mounted with the given options."""
    points = []

    def mount(*options):
        point = tmp_path / f"mount{len(points)}"
        point.mkdir()
        if shutil.which("mount") is None or os.name != "posix" or os.geteuid() != 0:
            pytest.skip("mounting a small file system needs root on Linux")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", point], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        points.append(point)
        return point

    yield mount
    for point in points:
        subprocess.run(["umount", "-l", point], check=False)


def test_a_read_only_folder_is_told(scene, mounted, tmp_path):
    if os.name == "posix" and os.geteuid() != 0:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    else:
        folder = mounted("ro,size=1m")
    scene.nerf.capture.folder = str(folder)
    _refused(
        scene,
        r"Cannot make the folder '.*run': (Read-only file system|Permission denied)\. Choose a folder that you may",
    )
    assert list(folder.iterdir()) == []


def test_a_full_disk_is_told_and_the_capture_goes_on_later(scene, mounted, tmp_path):
    scene.nerf.capture.resolution_x = scene.nerf.capture.resolution_y = 160
    folder = mounted("size=256k")
    scene.nerf.capture.folder = str(folder)
    (folder / "filler").write_bytes(bytes(232 * 1024))
    _refused(scene, r"Cannot write '.*': No space left on device\. Free some disk space")
    dataset = folder / "run/dataset"
    for path in dataset.glob("*/*.png"):
        assert scenes.picture(path).shape == (160, 160, 4)
    assert not list(dataset.glob("*/.*"))
    kept = _pictures(folder / "run")
    (folder / "filler").unlink()
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    after = _pictures(folder / "run")
    assert sorted(after) == sorted(NAMES) and {name: after[name] for name in kept} == kept


def test_state_is_plain_json(scene, tmp_path):
    assert bpy.ops.nerf.capture() == {"FINISHED"}
    state = json.loads((tmp_path / "run/dataset/capture.json").read_text(encoding="utf-8"))
    assert state["format"] == "nerf_toolkit.capture" and state["complete"] is True
    assert [view["file_path"] for view in state["plan"]["views"]] == NAMES
