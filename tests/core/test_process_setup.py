"""Making the managed environment, with real venvs and a real pip that needs no network."""

import importlib
import json
import os
import sys
import time
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def setup(tmp_path_factory):
    """The module `jobs.setup` of the staged add-on, whose top module, which needs bpy, is not run."""
    sys.path.insert(0, str(ROOT / "tools"))
    from build_extension import stage

    package = types.ModuleType("staged_for_setup")
    package.__path__ = [str(stage(tmp_path_factory.mktemp("staged") / "addon"))]
    sys.modules["staged_for_setup"] = package
    yield importlib.import_module("staged_for_setup.jobs.setup")
    for name in [name for name in sys.modules if name.startswith("staged_for_setup")]:
        del sys.modules[name]


@pytest.fixture
def places(setup, tmp_path):
    """Places with a core that needs no packages and says that it compiles."""
    vendor = tmp_path / "vendor folder"
    (vendor / "nerf_core").mkdir(parents=True)
    (vendor / "nerf_core" / "__init__.py").write_text("")
    (vendor / "nerf_core" / "__main__.py").write_text("import sys; print('kernel', *sys.argv[1:])")
    (vendor / "constraints.txt").write_text("")
    # pip wants something to do: itself is there already, so that nothing is downloaded.
    (vendor / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["pip"]\n')
    return setup.Places(
        tmp_path / "core" / "environment", tmp_path / "core" / "setup.json", tmp_path / "setup.log", vendor, "abc"
    )


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def run(setup, places, candidates=None):
    said = []
    job = setup.Setup(places, candidates or [sys.executable])
    job._on_change = lambda: said.append((job.fraction, job.text))
    job.start()
    assert job.wait(120)
    return job, said


def test_makes_an_environment_that_runs_the_core(setup, places):
    job, said = run(setup, places, ["/nowhere/python", sys.executable])
    assert job.phase == "ready", job.text
    assert places.python.exists() and job.fraction == 1.0
    assert [fraction for fraction, _ in said] == sorted(fraction for fraction, _ in said)
    assert any("Compiling the kernels: kernel warm-up" in text for _, text in said)
    assert json.loads(places.state.read_text()) == {"state": "ready", "fingerprint": "abc"}
    log = places.log.read_text()
    assert "-m venv --clear" in log and "pip" in log and "kernel warm-up" in log
    assert not list(places.vendor.rglob("setup.json"))


def test_a_package_that_cannot_be_installed_is_one_sentence(setup, places):
    (places.vendor / "pyproject.toml").write_text('[project]\ndependencies = ["no-such-package-here"]\n')
    job, _ = run(setup, places)
    assert job.phase == "failed"
    assert "Installing the core's packages failed" in job.text and "no-such-package-here" in job.text
    assert str(places.log) in job.text
    assert json.loads(places.state.read_text())["state"] == "running"  # known as interrupted from now on


def test_a_core_that_does_not_run_is_told(setup, places):
    (places.vendor / "nerf_core" / "__main__.py").write_text("raise SystemExit('the kernels do not compile')")
    job, _ = run(setup, places)
    assert job.phase == "failed" and "the kernels do not compile" in job.text
    assert json.loads(places.state.read_text())["state"] == "running"


def test_no_python_is_one_sentence(setup, places, tmp_path):
    job, _ = run(setup, places, [str(tmp_path / "no python")])
    assert job.phase == "failed" and "No Python 3.11 to 3.13" in job.text
    assert not places.state.exists() and not places.environment.exists()


def test_a_folder_that_cannot_be_made_is_one_sentence(setup, places, tmp_path):
    (tmp_path / "core").write_text("a file in the way")
    job, _ = run(setup, places)
    assert job.phase == "failed" and "Cannot make the folder" in job.text and str(tmp_path / "core") in job.text


@pytest.mark.skipif(os.name == "nt", reason="the sleeping core is ended by a POSIX signal")
def test_cancel_ends_the_child_and_a_second_set_up_works(setup, places):
    main = places.vendor / "nerf_core" / "__main__.py"
    working = main.read_text()
    main.write_text("import os, time; print('pid', os.getpid(), flush=True); time.sleep(120)")
    job = setup.Setup(places, [sys.executable])
    job.start()
    until = time.monotonic() + 60
    while "pid" not in job.text and time.monotonic() < until:
        time.sleep(0.05)
    pid = int(job.text.split()[-1])
    job.cancel()
    assert job.wait(30) and job.phase == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    main.write_text(working)
    assert run(setup, places)[0].phase == "ready"


def test_the_requirements_are_those_of_the_project(setup):
    names = {text.split(">")[0].lower() for text in setup.requirements(ROOT)}
    assert {"torch", "numba", "numpy", "safetensors"} <= names and "bpy" not in names


def test_pythons_that_are_found_exist(setup):
    found = setup.find_pythons()
    assert found and all(Path(path).exists() for path in found) and len(found) == len(set(found))
