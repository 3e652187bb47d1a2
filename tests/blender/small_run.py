"""A small data set, and a trained run on it, for the tests that need the real core."""

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Matrix
from PIL import Image

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.transforms import DatasetFacts, FrameRecord, write_transforms

ROOT = Path(__file__).resolve().parents[2]
SIDE = 40
CENTER = np.array([2.0, -1.0, 0.5])
RADIUS = 0.8
COLOR = np.array([220, 90, 40])


def core_python() -> str | None:
    """The Python to run the core with: the named one, or this one when it has torch and numba."""
    if named := os.environ.get("NERF_CORE_PYTHON"):
        return named
    if all(importlib.util.find_spec(name) for name in ("torch", "numba")):
        return sys.executable
    return None


needs_core = pytest.mark.skipif(
    core_python() is None, reason="no Python with torch: set NERF_CORE_PYTHON, or run python tools/test.py"
)


def sphere_image(camera: Camera) -> np.ndarray:
    """(H, W, 4) uint8, straight alpha: one sphere, shaded by its normal."""
    origins, directions = camera.rays()
    offset = origins - CENTER
    b = np.sum(offset * directions, axis=-1)
    c = np.sum(offset * offset, axis=-1) - RADIUS**2
    root = b * b - c
    hit = root > 0
    t = -b - np.sqrt(np.where(hit, root, 0.0))
    normal = (offset + directions * t[..., None]) / RADIUS
    shade = 0.65 + 0.35 * normal[..., 2:]
    rgba = np.zeros((*hit.shape, 4), dtype=np.uint8)
    rgba[..., :3] = np.where(hit[..., None], COLOR * shade, 0).astype(np.uint8)
    rgba[..., 3] = np.where(hit, 255, 0)
    return rgba


def small_camera(index: int, count: int) -> Camera:
    """One of `count` cameras around the sphere."""
    angle, height = 2 * np.pi * index / count, 0.9 * np.sin(2.4 * index)
    position = CENTER + 3.2 * np.array([np.cos(angle), np.sin(angle), height])
    return Camera(SIDE, SIDE, 1.4 * SIDE, 1.4 * SIDE, SIDE / 2, SIDE / 2, look_at(position, CENTER))


def write_small_dataset(folder: Path, count: int = 16) -> Path:
    """A data set of the sphere: the last two views are held out."""
    frames = []
    for index in range(count):
        split = "val" if index >= count - 2 else "train"
        camera = small_camera(index, count)
        path = f"{split}/{index:04d}.png"
        (folder / split).mkdir(parents=True, exist_ok=True)
        Image.fromarray(sphere_image(camera)).save(folder / path)
        frames.append(FrameRecord(path, split, camera))
    bounds = np.stack([CENTER - 1.1 * RADIUS, CENTER + 1.1 * RADIUS])
    write_transforms(folder, frames, DatasetFacts(bounds=bounds))
    return folder


def prepare_scene(run: Path, data: Path, steps: int = 150) -> bpy.types.Scene:
    """Point the current scene at a new run on `data`."""
    scene = bpy.context.scene
    scene.nerf.run_folder = str(run)
    scene.nerf.training.data = str(data)
    scene.nerf.training.budget = "STEPS"
    scene.nerf.training.steps = steps
    scene.nerf.training.device = "CPU"
    return scene


def process_gone(pid: int, seconds: float = 10.0) -> bool:
    """Whether process `pid` is gone within so many seconds; a zombie counts as gone."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").exists():
                state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
                if state == "Z":
                    return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.05)
    return False


_trained: list[Path] = []


def trained_run(folder: Path) -> Path:
    """A copy, in `folder`, of a run that was trained on the small data set once per test session."""
    if not _trained:
        home = Path(tempfile.mkdtemp(prefix="nerf-toolkit-run-"))
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        data = write_small_dataset(home / "data")
        command = [core_python(), "-m", "nerf_core", "train", str(data), "--run", str(home / "run")]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(
            [*command, "--steps", "150", "--device", "cpu"], check=True, capture_output=True, env=environment
        )
        _trained.append(home)
    shutil.copytree(_trained[0] / "data", folder / "data")
    shutil.copytree(_trained[0] / "run", folder / "run")
    return folder / "run"


def look_from(scene: bpy.types.Scene, index: int = 1, width: int = 40, height: int = 30) -> None:
    """Put the scene's camera where a training camera was, with a small picture."""
    scene.camera.matrix_world = Matrix(small_camera(index, 16).c2w.tolist())
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    bpy.context.view_layer.update()
