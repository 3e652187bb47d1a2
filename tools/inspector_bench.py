"""How live the inspector is: traces of up to 256 rays, one after another, in a real window.

    NERF_TEST_BLENDER=blender python tools/inspector_bench.py --run out/demo/RUN

Prints how long the core takes for a trace, how long Blender waits for it, alone and between redraws, what making the
batches takes once a trace, and what a redraw takes with the overlay and without it: its difference is what the overlay
costs, the graphics card's work included. Where Blender draws in software, the window itself is what takes longest. The
core's Python is NERF_CORE_PYTHON, or the one that runs this.
"""

import argparse
import statistics
import sys
from pathlib import Path

from viewport_bench import bench

STEPS = (
    ("core", "trace, in the core"),
    ("trip", "from asking to having it"),
    ("answer", "from asking to showing"),
    ("build", "batches, once a trace"),
    ("calls", "drawing calls, each redraw"),
    ("with", "redraw of the viewport"),
    ("without", "the same without overlay"),
)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a trained run's folder")
    parser.add_argument("--updates", type=int, default=60, metavar="N", help="traces of each kind (default 60)")
    return bench(parser, "updates", 5, "inspector_session.py", report)


def report(found: dict) -> None:
    """Print the table."""
    print(f"Blender {found['version']}, {found['renderer']}, viewport {found['width']}x{found['height']}")
    for case in found["cases"]:
        print(f"\n{case['name']}: {case['rays']} rays, {case['samples']:.0f} samples, {case['bins']:.0f} bins (median)")
        for key, text in STEPS:
            times = sorted(case[key])
            late = times[min(len(times) - 1, int(0.95 * len(times)))]
            middle, worst = statistics.median(times), times[-1]
            print(
                f"  {text:28} median {1e3 * middle:7.2f} ms   95 % {1e3 * late:7.2f} ms   worst {1e3 * worst:7.2f} ms"
            )
        one = [statistics.median(case[key]) for key in ("answer", "build", "with", "without", "trip")]
        print(f"  {'the overlay, of a redraw':28} {1e3 * (one[2] - one[3]):14.2f} ms")
        print(f"  {'redraws a second':28} {1.0 / one[2]:14.1f}      (without overlay {1.0 / one[3]:.1f})")
        print(f"  {'updates a second':28} {1.0 / (one[0] + one[1] + one[2]):14.1f}      (trace, batches and redraw)")
        own = one[4] + one[1] + max(0.0, one[2] - one[3])
        print(f"  {'without the window itself':28} {1.0 / own:14.1f}      (having it, batches, the overlay's part)")


if __name__ == "__main__":
    sys.exit(main())
