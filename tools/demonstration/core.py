"""The core's side of the demo, by its command line: held-out views, the turntable, points."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def nerf(*arguments: str | Path | int) -> dict[str, Any]:
    """Run `nerf ARGUMENTS --json`, its progress bar on this terminal; returns the JSON line.

    Raises
    ------
    SystemExit
        When the command fails; what it said has been shown.
    """
    command = [sys.executable, "-m", "nerf_core", *map(str, arguments), "--json"]
    # Blender's settings are of no use to the core.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("BLENDER_")}
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=variables)
    if answer.returncode != 0:
        raise SystemExit(f"'nerf {arguments[0]}' failed with code {answer.returncode}; what it said is above.")
    return json.loads(answer.stdout.strip().splitlines()[-1])


def evaluate(run: Path, pictures: Path) -> dict[str, Any]:
    """PSNR and SSIM of the held-out views, with truth | NeRF | error pictures in `pictures`."""
    return nerf("evaluate", run, "--split", "val", "--pictures", pictures)


def turntable(run: Path, video: Path, views: int, size: int) -> dict[str, Any]:
    """A turn around the scene as a video."""
    return nerf("render", run, "--orbit", views, "--out", video, "--width", size, "--height", size, "--fps", 12)


def points(run: Path, target: Path, count: int) -> dict[str, Any]:
    """Density points as PLY."""
    return nerf("points", run, "--out", target, "--count", count)
