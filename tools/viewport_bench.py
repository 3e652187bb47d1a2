"""How live the viewport is with the render engine NeRF Toolkit: 200 view changes at about 960x540, in a real window.

    NERF_TEST_BLENDER=blender python tools/viewport_bench.py --run out/demo/RUN

Prints how long a changed view waits for its first picture and for full resolution, and the longest step on Blender's
main thread: of the add-on's own code, and between two turns of Blender's own loop with its drawing, beside the same in
Solid mode. The core's Python is NERF_CORE_PYTHON, or the one that runs this.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from build_extension import stage

HERE = Path(__file__).resolve().parent
WINDOW = (1162, 640)  # whose biggest viewport is about 960x540 in Blender's own layout
LIMIT_SECONDS = 1800


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained run's folder")
    parser.add_argument("--changes", type=int, default=200, metavar="N", help="view changes (default 200)")
    return bench(parser, "changes", 10, "viewport_session.py", report)


def bench(
    parser: argparse.ArgumentParser, counted: str, least: int, script: str, report: Callable[[dict], None]
) -> int:
    """Parse, measure a session in a window, and tell; `counted` is the option that says how often, at least `least`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    count = getattr(options, counted)
    blender = os.environ.get("NERF_TEST_BLENDER") or "blender"
    if shutil.which(blender) is None:
        parser.error(f"there is no program '{blender}': set NERF_TEST_BLENDER to a Blender that can open a window")
    if not (options.run / "checkpoint.safetensors").is_file():
        parser.error(f"nothing is trained in '{options.run}'")
    if count < least:
        parser.error(f"--{counted} must be {least} or more")
    with tempfile.TemporaryDirectory(prefix="nerf-bench-") as folder:
        found = measure(blender, script, [str(options.run.resolve()), str(count)], Path(folder))
    if found is None:
        return 1
    report(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def measure(blender: str, script: str, arguments: list[str], folder: Path) -> dict | None:
    """Run a session in a window, which writes what it measured to its last argument; that, or None."""
    stage(folder / "extensions" / "user_default" / "nerf_toolkit")
    result, log = folder / "result.json", folder / "blender.log"
    variables = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(folder),
        "NERF_CORE_PYTHON": os.environ.get("NERF_CORE_PYTHON") or sys.executable,
    }
    session = [str(HERE / script), "--", *arguments, str(result)]
    window = ["--window-geometry", "0", "0", *map(str, WINDOW)]
    with open(log, "wb") as stream:
        subprocess.run(
            [blender, *window, "--python", *session],
            env=variables,
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
        )
    found = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {"error": "Blender left early"}
    if "error" in found:
        print(f"{found['error']}\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}", file=sys.stderr)
        return None
    return found


def report(found: dict) -> None:
    """Print the table."""
    print(
        f"Blender {found['version']}, viewport {found['width']}x{found['height']}, {len(found['first'])} view changes"
    )
    for name, text in (("first", "first picture"), ("full", "full resolution")):
        times = sorted(found[name])
        worst, late = times[-1], times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"{text:28} median {statistics.median(times):6.3f} s   95 % {late:6.3f} s   worst {worst:6.3f} s")
    print(f"{'sides of the first picture':28} divided by {statistics.median(found['divisors']):.0f} (median)")
    for name, seconds in sorted(found["steps"].items(), key=lambda item: -item[1]):
        print(f"{'longest step, ' + name:28} {1000 * seconds:7.1f} ms")
    print(
        f"{'longest turn of the loop':28} {1000 * found['turn']:7.1f} ms   (Solid mode: {1000 * found['solid']:.1f} ms)"
    )


if __name__ == "__main__":
    sys.exit(main())
