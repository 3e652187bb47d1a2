"""A real Blender with a window: the built zip installed and enabled, and one session in it that all tests look at."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import ImageGrab

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SESSION_SECONDS = 900

sys.path.insert(0, str(ROOT / "tools"))


@dataclass
class Session:
    """What the session left."""

    folder: Path
    result: dict
    output: str
    exit_code: int


@pytest.fixture(scope="session")
def blender():
    """The program that NERF_TEST_BLENDER names."""
    program = os.environ.get("NERF_TEST_BLENDER")
    if not program:
        pytest.skip("no Blender with a window: set NERF_TEST_BLENDER to its program")
    if shutil.which(program) is None:
        pytest.fail(f"NERF_TEST_BLENDER names '{program}', which is no program")
    return program


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Blender's user folder of this session; nothing of the person's own is seen or touched."""
    return tmp_path_factory.mktemp("blender-user")


@pytest.fixture(scope="session")
def variables(home):
    """The environment that Blender runs in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BLENDER_USER_")}
    core = os.environ.get("NERF_TEST_CORE_PYTHON") or os.environ.get("NERF_CORE_PYTHON") or sys.executable
    return {**kept, "BLENDER_USER_RESOURCES": str(home), "NERF_CORE_PYTHON": core}


@pytest.fixture(scope="session")
def installed(blender, variables, tmp_path_factory):
    """The built zip, installed and enabled by Blender's own command; what that printed."""
    from build_extension import build

    package = build(tmp_path_factory.mktemp("zip"))
    answer = subprocess.run(
        [blender, "--command", "extension", "install-file", "-r", "user_default", "--enable", str(package)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout + answer.stderr


@pytest.fixture(scope="session")
def session(blender, installed, variables, tmp_path_factory):
    """One person's session in the window."""
    return perform(blender, variables, tmp_path_factory.mktemp("session"), "session.py")


@pytest.fixture(scope="session")
def ball_run(variables, tmp_path_factory):
    """Copies, one for each folder it is called with, of a run that was trained on a ball once."""
    from tests.core.tiny_scene import write_dataset

    home = tmp_path_factory.mktemp("ball")
    data = write_dataset(home / "data", train=16, size=40)
    command = [variables["NERF_CORE_PYTHON"], "-m", "nerf_core", "train", str(data), "--run", str(home / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--steps", "150", "--device", "cpu"], check=True, capture_output=True, env=environment)
    return lambda folder: shutil.copytree(home / "run", folder / "run")


def perform(blender, variables, folder, script, *arguments, simulate=True):
    """Run a session's script in a window of its own; what it left in `folder`.

    Where it may `simulate` events, Blender hears none of the window system's.
    """
    flags = ["--enable-event-simulate"] if simulate else []
    command = [blender, *flags, "--python", str(HERE / script), "--", str(folder), *arguments]
    log = folder / "blender.log"
    with open(log, "wb") as stream:
        process = subprocess.Popen(command, env=variables, stdout=stream, stderr=subprocess.STDOUT)
    until = time.monotonic() + SESSION_SECONDS
    try:
        while process.poll() is None and time.monotonic() < until:
            _take_pictures(folder)
            _press_keys(folder)
            time.sleep(0.1)
    finally:
        late = process.poll() is None
        if late:
            process.kill()
            process.wait()
        _keep_pictures(folder)
    output = log.read_text(encoding="utf-8", errors="replace")
    assert not late, f"the session did not end within {SESSION_SECONDS} s:\n{output[-3000:]}"
    path = folder / "result.json"
    assert path.exists(), f"Blender left without a result:\n{output[-4000:]}"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert "error" not in result, f"{result['error']}\n{output[-2000:]}"
    return Session(folder, result, output, process.returncode)


def _take_pictures(folder):
    """Take the screenshots that the session asks for: of the display that Blender's window is on."""
    for asked in folder.glob("*.asked"):
        display = asked.read_text(encoding="utf-8")
        beside = asked.with_suffix(".part")
        ImageGrab.grab(xdisplay=display or None).save(beside, format="PNG")
        beside.replace(asked.with_suffix(".png"))
        asked.unlink()


def _press_keys(folder):
    """Press the keys that the session asks for: Esc ends a render only when the window system sends it."""
    for asked in folder.glob("*.key"):
        display = asked.read_text(encoding="utf-8")
        if shutil.which("xdotool") is not None:
            environment = {**os.environ, "DISPLAY": display}
            subprocess.run(["xdotool", "mousemove", "400", "400", "key", asked.stem], env=environment, timeout=20)
        asked.unlink()


def _keep_pictures(folder):
    """Screenshots outlive the test's folder, for people to look at."""
    kept = ROOT / "build" / "window"
    kept.mkdir(parents=True, exist_ok=True)
    for picture in folder.glob("*.png"):
        shutil.copy2(picture, kept / picture.name)
