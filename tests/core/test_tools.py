"""The project's own tools: environments, the test runner's summing up, the demo's folder and shapes, the zip."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Load a tool by its name, as its own module."""
    monkeypatch.syspath_prepend(str(TOOLS))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"tool_{name}", TOOLS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def run_tool(name, *arguments, **variables):
    return subprocess.run(
        [sys.executable, str(TOOLS / name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **variables},
    )


def test_environment_finds_the_running_python(tool):
    environment = tool("environment")
    path = environment.find_python(environment.python_version())
    answer = subprocess.run([path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True)
    assert answer.stdout.decode().strip() == environment.python_version()
    assert environment.find_python("3.99") is None


def test_environment_pins_each_blender_to_its_release(tool):
    environment = tool("environment")
    if environment.python_version() != "3.11":
        pytest.skip("bpy 4.2 needs Python 3.11")
    made = environment.blender_environment("4.2")
    pins = [line for line in made.constraints.splitlines() if line.startswith("bpy")]
    assert pins == ["bpy==4.2.23"]
    assert "torch" not in made.requirements
    with pytest.raises(SystemExit, match=r"2\.79 is not known"):
        environment.blender_environment("2.79")


def test_environment_says_which_python_is_missing(tool, monkeypatch):
    environment = tool("environment")
    monkeypatch.setattr(environment, "find_python", lambda version: None)
    with pytest.raises(LookupError, match=r"needs Python 3\.13"):
        environment.blender_environment("5.2")


def test_environment_is_up_to_date_until_its_inputs_change(tool, tmp_path):
    environment = tool("environment")
    made = environment.Environment(tmp_path, sys.executable, ("a", "b"), "a==1\n")
    made.python.parent.mkdir(parents=True)
    made.python.write_text("")
    assert made.missing() == ["a", "b"]
    made._write_stamp(["a"])
    assert made.missing() == ["b"]
    made._write_stamp(["b"])
    assert made.missing() == []
    changed = environment.Environment(tmp_path, sys.executable, ("a", "b"), "a==2\n")
    assert changed.missing() == ["a", "b"]


def test_environment_names_the_system_library_that_is_missing(tool, tmp_path):
    environment = tool("environment")
    fake = tmp_path / "python"
    fake.write_text(
        "#!/bin/sh\necho 'ImportError: libXi.so.6: cannot open shared object file: No such file' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    assert "libXi.so.6" in environment.import_problem(fake, "bpy")
    assert "apt install" in environment.import_problem(fake, "bpy")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("==== 2 failed, 5 passed in 61.20s (0:01:01) ====", "2 failed, 5 passed in 61.20s (0:01:01)"),
        ("868 passed, 7 skipped in 339.39s (0:05:39)", "868 passed, 7 skipped in 339.39s (0:05:39)"),
        ("==== no tests ran in 0.02s ====", "no tests ran in 0.02s"),
        ("SKIPPED [1] tests/x.py:1: 3 passed in 2.0s", None),
    ],
)
def test_pytest_s_closing_line_is_found_in_every_form(tool, line, said):
    found = tool("test").CLOSING_LINE.search(line)
    assert (found and found.group(1)) == said


def test_runs_beside_each_other_keep_their_output_apart_and_their_order(tool, capsys):
    runner = tool("test")
    both = threading.Barrier(2, timeout=60)

    def job(name):
        def run(out):
            out.write(f"{name} begins\n")
            both.wait()  # neither ends before the other has begun
            out.write(f"{name} ends\n")
            return runner.Outcome(name, "1 passed in 0.10s", False)

        return run

    outcomes = runner.run_all([job("first"), job("second")], 2)
    assert [outcome.title for outcome in outcomes] == ["first", "second"]
    lines = capsys.readouterr().out.splitlines()
    assert sorted([tuple(lines[:2]), tuple(lines[2:])]) == [
        ("first begins", "first ends"),
        ("second begins", "second ends"),
    ]


def test_all_runs_together_give_one_closing_line(tool):
    runner = tool("test")
    outcomes = [
        runner.Outcome("core", "2 failed, 10 passed, 1 skipped, 3 warnings in 12.50s", True),
        runner.Outcome("Blender 4.5", "5 passed in 7.25s (0:00:07)", False),
        runner.Outcome("Blender 5.2", "skipped: no python3.13.", False),
    ]
    assert runner.closing_line(outcomes) == "2 failed, 15 passed, 1 skipped, 3 warnings in 19.75s"
    broken = runner.Outcome("Blender 5.0", "pytest did not finish: the process ended with code -11", True)
    assert runner.closing_line([*outcomes, broken]).endswith("3 warnings, 1 error in 19.75s")


@pytest.mark.parametrize(
    ("body", "failed", "line"),
    [
        ("def test_good(): pass", False, "1 passed"),
        ("def test_bad(): assert 1 == 2", True, "1 failed"),
        ("import os\ndef test_dies(): os._exit(0)", True, "did not finish"),
        ("import atexit, time\natexit.register(time.sleep, 60)\ndef test_good(): pass", False, "1 passed"),
    ],
    ids=["passes", "fails", "dies", "hangs at exit"],
)
def test_runner_tells_how_a_process_ended(tool, tmp_path, monkeypatch, body, failed, line):
    runner = tool("test")
    monkeypatch.setattr(runner, "SECONDS_TO_LEAVE", 1.0)
    path = tmp_path / "test_it.py"
    path.write_text(body + "\n")
    arguments = [str(path), "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    outcome = runner.run_pytest("it", Path(sys.executable), arguments, 60.0)
    assert outcome.failed == failed
    assert line in outcome.line


def test_runner_ends_what_takes_too_long(tool, tmp_path):
    runner = tool("test")
    path = tmp_path / "test_it.py"
    path.write_text("import time\ndef test_slow(): time.sleep(60)\n")
    arguments = [str(path), "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "-c", os.devnull]
    outcome = runner.run_pytest("it", Path(sys.executable), arguments, 2.0)
    assert outcome.failed
    assert "took too long" in outcome.line


def test_runner_sends_named_tests_where_they_belong(tool, monkeypatch):
    runner = tool("test")
    monkeypatch.chdir(ROOT)
    chosen, others = runner._chosen(["tests/core/test_tools.py::test_x", "-k", "camera", "--", "-x"])
    assert chosen["core"] == ["tests/core/test_tools.py::test_x"]
    assert chosen["blender"] == []
    assert others == ["-k", "camera", "-x"]


def test_demo_refuses_somebody_elses_folder(tool, tmp_path):
    tool("environment")
    from demonstration.stages import OutputFolder

    mine = tmp_path / "letters.txt"
    mine.write_text("dear")
    with pytest.raises(SystemExit, match=r"letters\.txt"):
        OutputFolder(tmp_path)
    assert mine.read_text() == "dear" and sorted(os.listdir(tmp_path)) == ["letters.txt"]


def test_demo_knows_its_own_folder_again(tool, tmp_path):
    tool("environment")
    from demonstration.stages import OutputFolder, Stages

    folder = OutputFolder(tmp_path / "demo")
    stages = Stages(folder, 2)
    with stages.stage("Work"):
        pass
    assert json.loads((tmp_path / "demo" / "demo.json").read_text())["seconds"]["Work"] >= 0
    again = OutputFolder(tmp_path / "demo")
    later = Stages(again, 2)
    with later.stage("Work") as stage:
        stage.skipped = True
    assert later.rows()[0] == {"title": "Work", "seconds": again.seconds["Work"], "before": True}


def test_demo_keeps_a_file_that_somebody_changed(tool, tmp_path):
    tool("environment")
    from demonstration.stages import OutputFolder

    folder = OutputFolder(tmp_path / "demo")
    first = folder.place_for("demo.blend")
    first.write_bytes(b"ours")
    folder.wrote(first)
    again = OutputFolder(tmp_path / "demo")
    assert again.place_for("demo.blend") == first
    first.write_bytes(b"theirs")
    assert again.place_for("demo.blend").name == "demo-002.blend"
    assert first.read_bytes() == b"theirs"


def test_demo_checks_its_options():
    answer = run_tool("demo.py", "--resolution", "7")
    assert answer.returncode == 2
    assert "--resolution must lie between" in answer.stderr


def edges_used(faces):
    """How often each undirected edge is used; edges of collapsed quads count once."""
    counts = {}
    for face in faces:
        for a, b in zip(face, np.roll(face, -1), strict=True):
            key = (min(a, b), max(a, b))
            counts[key] = counts.get(key, 0) + 1
    return counts


def test_demo_shapes_have_the_geometry_they_promise(tool):
    tool("environment")
    from demonstration import shapes

    ring = shapes.ring(2.0, 0.25, 32)
    assert set(edges_used(ring.faces).values()) == {2}  # closed
    radius = np.hypot(ring.vertices[:, 0], ring.vertices[:, 1])
    np.testing.assert_allclose(np.hypot(radius - 2.0, ring.vertices[:, 2]), 0.25, atol=1e-12)

    path = np.stack([np.linspace(0, 3, 20), np.zeros(20), np.zeros(20)], axis=-1)
    tube = shapes.tube(path, 0.5, 12)
    np.testing.assert_allclose(np.hypot(tube.vertices[:, 1], tube.vertices[:, 2]), 0.5, atol=1e-9)

    lathe = shapes.lathe(np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 2.0)]), 16)
    assert np.isclose(np.hypot(lathe.vertices[:, 0], lathe.vertices[:, 1]).max(), 1.0)

    cloth = shapes.draped_cloth(1.0, (1.2, 0.0), 0.0, edge=1.5, drop_gap=0.05)
    reach = np.hypot(cloth.vertices[:, 0], cloth.vertices[:, 1])
    assert np.all(cloth.vertices[reach < 1.4][:, 2] > 0.0)  # on the table
    assert cloth.vertices[:, 2].min() < -0.1  # and hanging over its edge
    assert np.all(reach[cloth.vertices[:, 2] < -0.05] > 1.5)

    for shape in (ring, tube, lathe, cloth, shapes.leaf(1.0, 0.4, 0.7)):
        assert shape.faces.max() == len(shape.vertices) - 1
        assert len(shape.uv) == len(shape.vertices)


def test_zip_is_the_same_for_the_same_source(tool, tmp_path):
    build = tool("build_extension")
    staged = build.stage(tmp_path / "staged")
    build.zip_tree(staged, tmp_path / "a.zip")
    build.zip_tree(staged, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()
    assert "blender_manifest.toml" in names and "__init__.py" in names
    assert "vendor/nerf_core/contract/camera.py" in names
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('name = "NeRF Toolkit"', 'name = "NeRF for Blender"', "must not hold the word"),
        ('"SPDX:GPL-3.0-or-later"', '"GPL-3.0-or-later"', "SPDX"),
        ('version = "', 'version = "9.', "same version|three parts"),
    ],
)
def test_zip_with_a_fault_is_refused(tool, tmp_path, old, new, fault):
    build = tool("build_extension")
    staged = build.stage(tmp_path / "staged")
    manifest = staged / "blender_manifest.toml"
    text = manifest.read_text(encoding="utf-8")
    broken = text.replace(old, new).replace('schema_version = "9.', 'schema_version = "')
    assert broken != text
    manifest.write_text(broken, encoding="utf-8")
    with pytest.raises(SystemExit, match=fault):
        build.validate(staged)
