"""``blender SCENE.blend --command nerf capture|train|render|points|inspect ...``: the same work without a window."""

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bpy

from .jobs import core, runs, tasks, training
from .jobs.training import Training
from .vendor.nerf_core.contract.errors import NerfError

PROGRAM = "blender SCENE.blend --command nerf"
EXIT_BAD = 2
PROGRESS_SECONDS = 1.0
CORE_SECONDS = 10.0  # for the core to save and leave

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
    save = getattr(options, "save", None)
    try:
        if save is not None:
            _check_save(save)  # before the work, not after it
        options.execute(options, bpy.context.scene)
        if save is not None:
            _save(save)
    except (NerfError, RuntimeError) as error:
        print(f"nerf: {_sentence(error)}", file=sys.stderr, flush=True)
        return EXIT_BAD
    except KeyboardInterrupt:
        print("nerf: interrupted", file=sys.stderr, flush=True)
        return 130
    finally:
        training.on_progress.remove(progress.training)
        tasks.on_progress.remove(progress.task)
        core.leave(CORE_SECONDS)
    return 0


def _capture(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings = scene.nerf.capture
    settings.folder, settings.name = str(options.run.parent), options.run.name
    for name, value in (
        ("rig", options.rig and options.rig.upper()),
        ("subject", options.subject and options.subject.upper()),
        ("elevation", None if options.elevation is None else math.radians(options.elevation)),
        ("train_count", options.train),
        ("val_count", options.val),
        ("test_count", options.test),
        ("focal_length", options.lens),
        ("samples", options.samples),
        ("frame_step", options.frame_step),
    ):
        if value is not None:
            setattr(settings, name, value)
    if options.radius is not None:
        settings.use_auto_radius, settings.radius = False, options.radius
    if options.resolution is not None:
        if len(options.resolution) > 2:
            raise NerfError("--resolution takes one number, or width and height.")
        settings.use_scene_size = False
        settings.resolution_x, settings.resolution_y = options.resolution[0], options.resolution[-1]
    if options.opaque:
        settings.use_transparent = False
    _run(bpy.ops.nerf.capture)
    print(f"Captured into {runs.run_folder(scene).root}", flush=True)


def _train(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    settings = scene.nerf.training
    settings.data = str(options.data) if options.data else ""
    # A run that is gone on with keeps what it was made with, unless another choice is given (and then refused).
    folder = runs.run_folder(scene)
    known = folder.read() if folder.settings.is_file() else {}
    settings.method = (options.method or known.get("method") or "fast").upper()
    settings.device = options.device.upper()
    settings.seed = known.get("seed", 0) if options.seed is None else options.seed
    if options.steps is not None:
        settings.budget, settings.steps = "STEPS", options.steps
    else:
        settings.budget, settings.seconds = "SECONDS", options.seconds
    if not runs.has_views(scene):
        raise NerfError(
            f"There is nothing to train on in '{options.run}': capture views first, or name a data set with --data."
        )
    _run(bpy.ops.nerf.train, more=options.more)
    ended = training.current()
    print(f"{ended.text}, {ended.step} steps. The run is {runs.run_folder(scene).root}", flush=True)


def _render(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.render
    settings.views, settings.percentage = options.views.upper(), options.scale
    if options.camera:
        camera = scene.objects.get(options.camera)
        if camera is None or camera.type != "CAMERA":
            raise NerfError(f"The scene has no camera '{options.camera}'.")
        scene.camera = camera
    _run(bpy.ops.nerf.render_view)
    for image in tasks.current().results:
        print(bpy.path.abspath(image.filepath), flush=True)


def _points(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    settings = scene.nerf.points
    settings.count, settings.automatic = options.count, options.threshold is None
    if options.threshold is not None:
        settings.threshold = options.threshold
    _run(bpy.ops.nerf.import_points)
    print(f"{len(settings.object.data.vertices)} points, density {settings.threshold:g} and more", flush=True)


def _inspect(options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    runs.trained_run(scene)
    if scene.camera is None:
        raise NerfError("The scene has no camera to look through; add one.")
    settings = scene.nerf.inspect
    if options.pixel is not None:
        settings.pixels, settings.use_center, settings.pixel = "PIXEL", False, options.pixel
    else:
        settings.pixels, settings.grid = "GRID", options.grid
    _run(bpy.ops.nerf.inspect_samples)
    print(f"{len(settings.object.data.vertices)} samples", flush=True)


def _run(operator: Callable[..., set[str]], **options: Any) -> None:
    # An operator that reports an error raises a RuntimeError with its sentence.
    if operator(**options) != {"FINISHED"}:
        raise NerfError("It was cancelled.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Capture a scene, train a NeRF on it, and bring back what it learned."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    capture = _command(commands, "capture", _capture, "take pictures of the scene from many cameras")
    capture.epilog = "What is not given stays as it is set in the .blend file."
    capture.add_argument("--train", type=_count, metavar="N", help="pictures to train on")
    capture.add_argument("--val", type=_natural, metavar="N", help="held-out pictures for validation")
    capture.add_argument("--test", type=_natural, metavar="N", help="held-out pictures for testing")
    capture.add_argument("--resolution", type=_count, nargs="+", metavar="PIXELS", help="side, or width and height")
    capture.add_argument(
        "--rig",
        choices=("sphere", "hemisphere", "orbit", "cameras", "animation"),
        help="where the cameras stand",
    )
    capture.add_argument("--subject", choices=("scene", "selected"), help="everything, or the selected objects")
    capture.add_argument("--elevation", type=float, metavar="DEGREES", help="of the orbit's cameras above the horizon")
    capture.add_argument("--lens", type=float, metavar="MM", help="focal length of the rig's cameras")
    capture.add_argument("--radius", type=float, metavar="R", help="their distance; fitted to the subject by default")
    capture.add_argument("--frame-step", type=_count, metavar="N", help="of the camera animation, every Nth frame")
    capture.add_argument("--samples", type=_natural, metavar="N", help="render samples a pixel; 0: the scene's own")
    capture.add_argument("--opaque", action="store_true", help="keep the background instead of transparency")

    train = _command(commands, "train", _train, "train on captured views, or go on with a run")
    train.add_argument("--data", type=_path, metavar="DATA", help="a data set elsewhere, with transforms.json")
    train.add_argument("--method", choices=("fast", "classic"), help="(default: fast, or the run's own)")
    budget = train.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, default=60.0, metavar="S", help="training time (default: 60)")
    budget.add_argument("--steps", type=_count, metavar="N", help="training steps")
    train.add_argument("--more", action="store_true", help="on top of what is trained")
    train.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    train.add_argument("--seed", type=_natural, metavar="N", help="(default: 0, or the run's own)")

    render = _command(commands, "render", _render, "render novel views into the run's folder 'renders'")
    render.add_argument("--views", choices=("active", "all", "frames"), default="active", help="(default: active)")
    render.add_argument("--camera", metavar="NAME", help="the camera to use as the active one")
    render.add_argument("--scale", type=_count, default=100, metavar="PERCENT", help="of the scene's resolution")

    points = _command(commands, "points", _points, "import density points into the scene")
    points.add_argument("--count", type=_count, default=100_000, metavar="N", help="(default: 100000)")
    points.add_argument("--threshold", type=float, metavar="D", help="smallest density per scene unit")
    _add_save(points)

    inspect = _command(commands, "inspect", _inspect, "import the samples along rays of the active camera")
    pixels = inspect.add_mutually_exclusive_group()
    pixels.add_argument("--grid", type=_count, nargs=2, default=(8, 8), metavar=("COLUMNS", "ROWS"), help="(8 8)")
    pixels.add_argument("--pixel", type=_natural, nargs=2, metavar=("X", "Y"), help="one pixel, from the top left")
    _add_save(inspect)
    return parser


def _command(commands: Any, name: str, execute: Callable[..., None], text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--run", type=_path, required=True, metavar="DIR", help="the run folder")
    parser.set_defaults(execute=lambda options, scene: _with_run(execute, options, scene))
    return parser


def _with_run(execute: Callable[..., None], options: argparse.Namespace, scene: bpy.types.Scene) -> None:
    scene.nerf.run_folder = str(options.run)
    execute(options, scene)


def _add_save(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", type=_path, metavar="FILE.blend", help="save the scene with the result as a new file")


def _path(text: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(text)))


def _count(text: str) -> int:
    value = _natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _natural(text: str) -> int:
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from error
    if value < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return value


def _check_save(path: Path) -> None:
    if path.suffix.lower() != ".blend":
        raise NerfError(f"--save writes a Blender file: '{path}' must end in .blend.")
    if path.exists():
        raise NerfError(f"'{path}' exists already and is not overwritten; choose another name.")


def _save(path: Path) -> None:
    _check_save(path)
    _run(bpy.ops.wm.save_as_mainfile, filepath=str(path), copy=True)
    print(path, flush=True)


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
            self._say(told.title.lower(), f"{told.fraction:4.0%}  {told.text}")

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
