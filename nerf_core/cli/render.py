"""Render new views of a run: along cameras from a file, or an orbit; as PNG or EXR pictures or an MP4 video."""

import argparse
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from .common import add_device, add_json, add_overwrite, parse_background, progress_bar, say
from .heat import write_heat
from .render_options import RenderOptions, add_options

HELP = "render new views as pictures or a video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `nerf render` takes."""
    parser.add_argument("run_dir", metavar="DIR", help="run folder")
    path = parser.add_mutually_exclusive_group(required=True)
    path.add_argument("--cameras", metavar="FILE", help="cameras.json, transforms.json or nerfstudio's camera path")
    path.add_argument("--orbit", type=int, metavar="N", help="N views around the scene")
    parser.add_argument("--out", metavar="FOLDER|FILE.mp4", required=True, help="a folder of pictures, or a video")
    parser.add_argument("--width", type=int, metavar="W", help="in pixels (default: the cameras' own)")
    parser.add_argument("--height", type=int, metavar="H", help="in pixels (default: the cameras' own)")
    parser.add_argument(
        "--background",
        metavar="COLOUR",
        help="white, black, #rrggbb or transparent (default: transparent for pictures of a subject that was cut out, "
        "else what the run was measured on)",
    )
    parser.add_argument(
        "--fps", type=float, default=24.0, metavar="F", help="pictures a second of a video (default 24)"
    )
    add_options(parser)
    add_overwrite(parser)
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Render."""
    from ..contract.files import make_folder
    from ..contract.heat import ERRORS
    from ..export.camera_paths import orbit, read_cameras
    from ..export.ownership import check_writable
    from ..export.pictures import to_picture
    from ..export.video import write_video
    from ..rendering.frame import Frame
    from ..rendering.heat import Heat, render_heat, truth_of
    from ..training.load import load_run

    out = Path(arguments.out)
    is_video = out.suffix.lower() == ".mp4"
    if not is_video and out.suffix and not out.is_dir():
        raise NerfError(f"'{out}' is neither a folder nor an .mp4; name one of these.")
    options = RenderOptions.read(arguments, is_video)
    background = parse_background(arguments.background) if arguments.background else None
    if is_video and arguments.background == "transparent":
        raise NerfError("A video has no transparency; choose a background colour, or write pictures to a folder.")
    loaded = load_run(arguments.run_dir, arguments.device)
    if arguments.background is None and (is_video or not loaded.scene.has_alpha):
        background = loaded.background
    size = (arguments.width, arguments.height)
    if arguments.orbit is not None:
        cameras = orbit(loaded.cameras, loaded.bounds, arguments.orbit, *size)
    else:
        cameras = read_cameras(arguments.cameras, *size)
    folder = out.parent if is_video else out
    make_folder(folder)
    files = [{"video": out}] if is_video else [options.files(out, index) for index in range(len(cameras))]
    targets = [check_writable(path, arguments.overwrite) for group in files for path in group.values()]
    layer = options.layer(loaded.method)
    by_data = arguments.against == "auto" and any(name in ERRORS for name in options.heat)
    truths = loaded.truths() if by_data else None
    seconds: list[float] = []
    told: list[dict[str, Any]] = []

    with progress_bar("rendering") as progress:

        def frame(index: int) -> tuple[Frame, Heat]:
            view = options.view(cameras[index])
            made, heat = render_heat(
                [layer],
                view,
                tuple(options.heat),
                loaded.background,
                truth_of(truths, [layer], view),
                on_progress=lambda done: progress((index + done) / len(cameras)),
            )
            seconds.append(made.seconds)
            return made, heat

        if is_video:
            pictures = (to_picture(frame(index)[0].rgba, background) for index in range(len(cameras)))
            write_video(out, pictures, arguments.fps)
        else:
            for index, group in enumerate(files):
                made, heat = frame(index)
                options.write(group, made, background)
                if options.heat:
                    told.append(write_heat(group, heat, options.heat))
    mean = sum(seconds) / len(seconds)
    say(arguments, f"Rendered {len(cameras)} views, {mean:.2f} s each: {out}")
    return {
        "run": arguments.run_dir,
        "out": str(out),
        "views": len(cameras),
        "files": [str(target) for target in targets],
        "seconds_per_view": mean,
        **({"heat": told} if options.heat else {}),
    }
