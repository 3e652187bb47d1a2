"""Capture and training of the demo, through the add-on's own settings, driver and core process."""

import json
import time
from pathlib import Path
from typing import Any

import bpy
from tqdm import tqdm

from .addon import BlenderWithAddon, quiet_blender

RUN_NAME = "run"
TRAIN_VIEWS, HELD_OUT_VIEWS = 60, 10
CAMERA_DISTANCE = 5.2  # scene units: the table fills the picture


def set_up(folder: Path, resolution: int, samples: int, seconds: float) -> None:
    """Fill in the add-on's panels as a person would."""
    settings = bpy.context.scene.nerf.capture
    settings.folder, settings.name = str(folder), RUN_NAME
    settings.subject, settings.rig = "SCENE", "HEMISPHERE"
    settings.train_count, settings.val_count, settings.test_count = TRAIN_VIEWS, HELD_OUT_VIEWS, 0
    settings.use_auto_radius, settings.radius, settings.focal_length = False, CAMERA_DISTANCE, 50.0
    settings.resolution_x = settings.resolution_y = resolution
    settings.use_transparent, settings.samples, settings.use_denoise = True, samples, True
    training = bpy.context.scene.nerf.training
    training.method, training.budget, training.seconds = "FAST", "SECONDS", seconds


def capture(blender: BlenderWithAddon) -> tuple[Path, bool]:
    """Take the pictures, or find those of an earlier run with the same settings.

    Returns
    -------
    run : Path
        The run folder.
    was_there : bool
        Whether nothing was left to do.
    """
    scene, layer = bpy.context.scene, bpy.context.view_layer
    plan = blender.module("capture.planner").make_plan(scene, layer, scene.nerf.capture)
    if (run := _finished_capture(blender, plan)) is not None:
        return run, True
    job = blender.module("capture.driver").CaptureJob(scene, layer, scene.nerf.capture, plan)
    if job.statement:
        print(f"      {job.statement}")
    with tqdm(total=job.total, initial=job.done, desc="      views", unit="view", leave=False) as bar:
        try:
            more = True
            while more:
                with quiet_blender():
                    more = job.step()
                bar.update(job.done - bar.n)
        finally:
            job.close()
    return job.run.root, False


def _finished_capture(blender: BlenderWithAddon, plan: Any) -> Path | None:
    """The newest run of ours whose capture has just this plan and is complete."""
    folders = blender.module("capture.folders")
    wanted = json.loads(json.dumps(plan.fingerprint()))
    parent = Path(bpy.context.scene.nerf.capture.folder)
    for root in sorted(parent.glob(f"{RUN_NAME}*"), reverse=True):
        state = folders.read_state(root)
        if state is not None and state.get("complete") and state.get("plan") == wanted:
            return root
    return None


def train(blender: BlenderWithAddon, run: Path) -> bool:
    """Train for the set time in the add-on's core process; returns whether an earlier run had done it all."""
    training_module, pump = blender.module("jobs.training"), blender.module("jobs.pump")
    wanted = bpy.context.scene.nerf.training.seconds
    folder = blender.module("jobs.runs").RunFolder(run)
    spent = _spent(folder)
    if wanted - spent < 1.0:
        return True
    started = training_module.start(
        folder, {"seconds": wanted - spent}, more=spent > 0, method="fast", device="auto", seed=0
    )
    layout = "      {desc} |{bar}| {elapsed}{postfix}"
    with tqdm(total=1.0, desc=started.text, bar_format=layout, leave=False) as bar:
        shown = 0.0
        while started.under_way:
            pump.pump_until(lambda: not started.under_way, seconds=0.25)
            now = time.monotonic()
            if now - shown > 0.5:
                shown = now
                _show_training(bar, started)
    if started.phase != "finished":
        raise SystemExit(f"The training did not finish: {started.text}")
    return False


def _show_training(bar: tqdm, training: Any) -> None:
    words = [f"step {training.step}"] if training.step else []
    words += [f"held-out {training.val_psnr:.1f} dB"] if training.val_psnr is not None else []
    words += [f"{training.seconds_left:.0f} s left"] if training.seconds_left is not None else []
    bar.set_postfix_str(", ".join(words), refresh=False)
    bar.set_description_str(training.phase, refresh=False)
    bar.update(max(0.0, training.fraction - bar.n))
    bar.refresh()


def _spent(folder: Any) -> float:
    """Seconds of training that the run has had."""
    if not folder.checkpoint.is_file():
        return 0.0
    return float((folder.read().get("spent") or {}).get("seconds", 0.0))


def facts(blender: BlenderWithAddon, run: Path) -> dict[str, Any]:
    """What the run's `run.json` says."""
    return blender.module("jobs.runs").RunFolder(run).read()
