"""Take the rays of pixels apart: every sample, what it cost, where the ray ended and why."""

import argparse
import re
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.samplers import SamplerChoice
from .common import add_device, add_json, add_overwrite, add_sampler, read_sampler, say

HELP = "the samples along the rays of pixels, in numbers"
NUMBER = r"\s*(-?\d+(?:\.\d*)?|-?\.\d+)\s*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf trace` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    through = parser.add_mutually_exclusive_group(required=True)
    through.add_argument("--camera", metavar="FILE", help="cameras.json, transforms.json or nerfstudio's camera path")
    through.add_argument("--view", metavar="SPLIT:INDEX", help="a view of the run's data set, such as test:0")
    parser.add_argument(
        "--pixel",
        action="append",
        required=True,
        metavar="X,Y",
        help="column and row from the top left, from 0; with a decimal point a place in the picture, where the first "
        "pixel's centre is 0.5,0.5; may be given several times",
    )
    parser.add_argument("--frame", type=int, metavar="N", help="which camera of FILE, from 0 (default: the first)")
    parser.add_argument("--width", type=int, metavar="W", help="of the picture, with --camera (default: its own)")
    parser.add_argument("--height", type=int, metavar="H", help="of the picture, with --camera (default: its own)")
    add_sampler(parser)
    parser.add_argument("--compare", metavar="NAME[:N]", help="the same rays under a second sampler, with N samples")
    parser.add_argument("--snapshot", type=int, metavar="STEP", help="the run as it was at one of its snapshots")
    parser.add_argument("--brief", action="store_true", help="a summary of each ray, without its samples")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw density, weight, transmittance, PDF and CDF along the ray as .png or .svg; with several pixels one "
        "file each, numbered",
    )
    parser.add_argument("--plot-mean", action="store_true", help="one plot instead: the mean of all pixels' rays")
    parser.add_argument("--plot-whole", action="store_true", help="plot all of the ray, not only where something is")
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trace and tell."""
    import numpy as np

    from ..export.trace_table import ray_lines, trace_document
    from ..rendering.trace_pixels import trace_pixels, whole_pixels
    from ..training.load import load_run
    from ..training.run_view import run_view

    pixels = np.array([parse_pixel(text) for text in arguments.pixel])
    samplers = [read_sampler(arguments)]
    if arguments.compare is not None:
        samplers.append(parse_sampler(arguments.compare))
    asked = None if arguments.view is None else parse_view(arguments.view)
    if asked is None:
        camera = _camera(arguments)
    elif not (arguments.frame is arguments.width is arguments.height is None):
        raise NerfError("--frame, --width and --height choose of the cameras of --camera; --view has one of its own.")
    targets = _plot_targets(arguments, len(pixels))
    loaded = load_run(arguments.run_dir, arguments.device, arguments.snapshot)
    view = None
    if asked is not None:
        view = run_view(loaded, *asked)
        camera = view.camera
    whole_pixels(camera, pixels)
    traces = [trace_pixels(loaded.method, camera, pixels, sampler, view=view) for sampler in samplers]
    name = f"frame {arguments.frame or 0} of '{arguments.camera}'" if view is None else f"view '{view.name}'"
    if not arguments.json:
        say(arguments, f"{name}, {camera.width}x{camera.height}, step {loaded.spent.steps}")
        for ray, (x, y) in enumerate(pixels):
            origin, direction = traces[0].origin[ray], traces[0].direction[ray]
            say(
                arguments,
                f"\nray {ray} through ({x:g}, {y:g}), from {_triple(origin)} along {_triple(direction)}",
            )
            for traced in traces:
                for line in ray_lines(traced, ray, not arguments.brief):
                    say(arguments, line)
        if not arguments.brief:
            say(arguments, "\n* the sample's colour is a part of the pixel; distances in world units")
    for plotted, target in targets.items():
        _plot(arguments, target, traces, plotted, pixels, name)
    return {
        "run": arguments.run_dir,
        "step": loaded.spent.steps,
        "view": None if view is None else view.name,
        "camera": camera.to_dict(),
        "pixels": pixels.tolist(),
        "traces": [trace_document(traced) for traced in traces],
        "plots": [str(target) for target in targets.values()],
    }


def _plot_targets(arguments: argparse.Namespace, rays: int) -> dict[int | None, Path]:
    """Where which ray's plot goes (None: the mean's), refused before anything is computed."""
    if arguments.plot is None:
        if arguments.plot_mean or arguments.plot_whole:
            raise NerfError("--plot-mean and --plot-whole say how to plot: name the file with --plot.")
        return {}
    from ..export.ownership import check_writable
    from ..export.ray_plot import check_kind

    path = check_kind(arguments.plot)
    targets: dict[int | None, Path] = {None: path} if arguments.plot_mean else {0: path}
    if rays > 1 and not arguments.plot_mean:
        targets = {ray: path.with_name(f"{path.stem}-{ray}{path.suffix}") for ray in range(rays)}
    return {ray: check_writable(target, arguments.overwrite) for ray, target in targets.items()}


def _plot(
    arguments: argparse.Namespace, target: Path, traces: list[Any], ray: int | None, pixels: Any, name: str
) -> None:
    from ..export.ray_plot import plot_traces, write_plot

    heading = f"Mean of {len(pixels)} rays, {name}"
    if ray is not None:
        heading = f"Pixel ({pixels[ray][0]:g}, {pixels[ray][1]:g}), {name}"
    write_plot(target, plot_traces(traces, ray, heading, not arguments.plot_whole))
    say(arguments, f"wrote {target}")


def _camera(arguments: argparse.Namespace) -> Any:
    from ..export.camera_paths import read_cameras

    cameras = read_cameras(arguments.camera, arguments.width, arguments.height)
    index = arguments.frame or 0
    if not 0 <= index < len(cameras):
        raise NerfError(
            f"'{arguments.camera}' has {len(cameras)} cameras, 0 to {len(cameras) - 1}; there is no --frame {index}."
        )
    return cameras[index]


def parse_pixel(text: str) -> tuple[float, float]:
    """`x,y`: a pixel's centre where both are whole numbers, else the very place."""
    found = re.fullmatch(NUMBER + "," + NUMBER, text)
    if found is None:
        raise NerfError(f"--pixel wants a column and a row such as 120,80, not '{text}'.")
    x, y = (float(part) for part in found.groups())
    return (x, y) if "." in text else (x + 0.5, y + 0.5)


def parse_view(text: str) -> tuple[str, int]:
    """`split:index`."""
    split, _, index = text.partition(":")
    if not re.fullmatch(r"\d{1,9}", index):
        raise NerfError(f"--view wants a split and a number such as test:0, not '{text}'.")
    return split, int(index)


def parse_sampler(text: str) -> SamplerChoice:
    """`name` or `name:samples`."""
    name, colon, number = text.partition(":")
    if colon and not re.fullmatch(r"\d{1,9}", number):
        raise NerfError(f"--compare wants a sampler, or a sampler and a number such as uniform:64, not '{text}'.")
    return SamplerChoice(name, int(number) if colon else None)


def _triple(values: Any) -> str:
    return "({:.4f}, {:.4f}, {:.4f})".format(*values)
