"""``blender SCENE.blend --command nerf COMMAND ...``: the same work without a window; one file a command."""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import bpy

from ..jobs import core, tasks, training
from ..jobs.training import Training
from ..vendor.nerf_core.contract.errors import NerfError
from ..xray import radiographs
from . import (
    animation,
    capture,
    compositing,
    experiment,
    explain,
    heat,
    import_data,
    inspect,
    layout,
    mesh,
    object,
    paths,
    points,
    render,
    trace,
    train,
    turntable,
    volume,
    xray_capture,
    xray_import,
)
from .common import check_save, save

PROGRAM = "blender SCENE.blend --command nerf"
EXIT_BAD = 2
PROGRESS_SECONDS = 1.0
CORE_SECONDS = 10.0  # for the core to save and leave
# Each has a function add(commands), which describes it and names what executes it.
COMMANDS: tuple[ModuleType, ...] = (
    capture,
    layout,
    train,
    render,
    turntable,
    animation,
    points,
    inspect,
    trace,
    object,
    import_data,
    paths,
    mesh,
    volume,
    compositing,
    experiment,
    heat,
    explain,
    xray_capture,
    xray_import,
)

_handle: Any = None


def main(arguments: Sequence[str]) -> int:
    """Run one command.

    Returns
    -------
    int
        0, or 2 when what was asked or given is wrong: one sentence on stderr says what.
    """
    _lines_at_once()
    try:
        options = _parser().parse_args(list(arguments))
    except SystemExit as left:  # argparse has said what is wrong, or printed its help
        return int(left.code or 0)
    progress = _Progress()
    training.on_progress.append(progress.training)
    tasks.on_progress.append(progress.task)
    radiographs.on_progress.append(progress.radiographs)
    target = getattr(options, "save", None)
    try:
        if target is not None:
            check_save(target)  # before the work, not after it
        options.execute(options, bpy.context.scene)
        if target is not None:
            save(target)
    except (NerfError, RuntimeError) as error:
        print(f"nerf: {_sentence(error)}", file=sys.stderr, flush=True)
        return EXIT_BAD
    except KeyboardInterrupt:
        print("nerf: interrupted", file=sys.stderr, flush=True)
        return 130
    finally:
        training.on_progress.remove(progress.training)
        tasks.on_progress.remove(progress.task)
        radiographs.on_progress.remove(progress.radiographs)
        core.leave(CORE_SECONDS)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Capture a scene, train a NeRF on it, and bring back what it learned."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser


def _sentence(error: Exception) -> str:
    """A RuntimeError of an operator is "Error: sentence", maybe with a line on where; only the sentence is wanted."""
    text = str(error).strip()
    lines = [line.removeprefix("Error: ").strip() for line in text.splitlines()]
    return next((line for line in lines if line and not re.match(r"(Location|Python|Traceback)\b", line)), text)


def _lines_at_once() -> None:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)


class _Progress:
    """A line now and then about what is going on."""

    def __init__(self) -> None:
        self._last = 0.0
        self._said = ""

    def training(self, told: Training) -> None:
        """Of a training."""
        parts = [told.text]
        if told.phase == "training":
            left = "" if told.seconds_left is None else f", {told.seconds_left:.0f} s left"
            loss = "" if told.loss is None else f", loss {told.loss:.5f}"
            parts = [f"{told.fraction:4.0%}", f"{told.text}{loss}{left}"]
        self._say("train", "  ".join(parts))

    def task(self, told: tasks.Task) -> None:
        """Of a picture, points or a trace."""
        if told.running:
            left = "" if told.seconds_left is None else f", {told.seconds_left:.0f} s left"
            self._say(told.title.lower(), f"{told.fraction:4.0%}  {told.text}{left}")

    def radiographs(self, told: radiographs.Radiographs) -> None:
        """Of radiographs."""
        if told.under_way:
            left = "" if told.seconds_left is None else f", {told.seconds_left:.0f} s left"
            self._say("radiographs", f"{told.fraction:4.0%}  {told.text}{left}")

    def _say(self, what: str, text: str) -> None:
        now = time.monotonic()
        if text != self._said and now - self._last >= PROGRESS_SECONDS:
            self._last, self._said = now, text
            print(f"{what}: {text}", flush=True)


def register() -> None:
    """Make `--command nerf` known to Blender."""
    global _handle
    _handle = bpy.utils.register_cli_command("nerf", main)


def unregister() -> None:
    """Take it away."""
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
        _handle = None
