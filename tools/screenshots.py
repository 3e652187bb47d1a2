"""Make the pictures of the documentation in a real Blender window.

    NERF_TEST_BLENDER=blender python tools/screenshots.py            every picture, into docs/pictures/
    ... python tools/screenshots.py --only turntable --only points   some of them
    ... python tools/screenshots.py --run DIR                        with a run that is trained already
    python tools/screenshots.py --list                               what pictures there are

The program gets a display from whoever starts it (on Linux, Xvfb will do); the extension is built, installed into a
user folder of its own, and the demonstration scene is captured and trained once, in build/pictures/.
"""

import argparse
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import environment


def main() -> int:
    """Run the command line; 1 when a picture could not be made, 2 when it was asked for wrongly."""
    from pictures import names

    options = _parse(names())
    if options.list:
        print("\n".join(names()))
        return 0
    if not all(find_spec(name) for name in ("PIL", "bpy", "torch", "tqdm")):
        environment.enter(("demo",))
    if not options.blender or shutil.which(options.blender) is None:
        print(f"No Blender to photograph: set NERF_TEST_BLENDER to its program (now: {options.blender!r}).")
        return 2
    if options.run is not None and not (options.run / "checkpoint.safetensors").is_file():
        print(f"'{options.run}' holds nothing trained; name a trained run, or leave --run away.")
        return 2
    return _take_all(options, options.only or names())


def _parse(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=known, metavar="NAME", help="make this one; may be repeated")
    parser.add_argument("--list", action="store_true", help="say which pictures there are")
    parser.add_argument("--run", type=lambda text: Path(text).absolute(), metavar="DIR", help="a trained run")
    parser.add_argument(
        "--out",
        type=lambda text: Path(text).absolute(),
        default=environment.ROOT / "docs" / "pictures",
        help="default: docs/pictures",
    )
    parser.add_argument("--blender", default=os.environ.get("NERF_TEST_BLENDER"), help="default: NERF_TEST_BLENDER")
    return parser.parse_args()


def _take_all(options: argparse.Namespace, wanted: list[str]) -> int:
    from pictures.studio import Studio

    core = os.environ.get("NERF_TEST_CORE_PYTHON") or os.environ.get("NERF_CORE_PYTHON") or sys.executable
    studio = Studio(options.blender, core, environment.ROOT / "build" / "pictures", options.run)
    failed = []
    try:
        studio.open()
        for name in wanted:
            target = options.out / f"{name}.png"
            print(f"{name} ...", end=" ", flush=True)
            reason = studio.take(name, target)
            print(reason or f"{target.stat().st_size // 1000} KB", flush=True)
            if reason is not None:
                failed.append(name)
    finally:
        studio.close()
    if failed:
        print(f"Not made: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
