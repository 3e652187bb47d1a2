"""Print the least time that each CUDA kernel can take, by the model of two numbers, as a table in Markdown.

    python tools/kernel_floors.py                       a step of 2^18 samples, of which a quarter are trained
    python tools/kernel_floors.py --trained 262144      all of them trained

What a GPU needs in fact stands beside these numbers in what ``python tools/bench.py gpu`` prints.
"""

import argparse
import sys

import environment


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1 << 18, help="packed samples of a step (default: 262144)")
    parser.add_argument("--trained", type=int, default=1 << 16, help="those that get a gradient (default: 65536)")
    parser.add_argument("--rays", type=int, default=1 << 14, help="rays of a step (default: 16384)")
    options = parser.parse_args()
    sys.path[:0] = [str(environment.ROOT), str(environment.ROOT / "tools")]
    from benchmark.floors import Sizes

    print(table(Sizes(options.rays, options.samples, options.trained)))
    return 0


def table(sizes: "Sizes") -> str:  # noqa: F821 - imported where the path is set
    """A row a kernel: what it moves and computes, and on each known GPU the floor in microseconds and what sets it."""
    from benchmark.floors import DEVICES, Model, step_floor
    from benchmark.kernels import TITLES

    from nerf_core.fields.hash_grid import FastSettings

    model = Model(FastSettings(scene="bounded").sized_for(800.0, cuda=True))
    costs = model.training(sizes)
    head = ["", "kernel", "MB", "MFLOP", "million atomics", *(f"{name}, us" for name in DEVICES)]
    rows = [head, ["---"] * len(head)]
    for name, cost in costs.items():
        floors = [cost.floor(device, model.table_bytes) for device in DEVICES.values()]
        shown = [f"{1e6 * seconds:.0f} ({reason})" for seconds, reason in floors]
        numbers = [f"{cost.bytes / 1e6:.1f}", f"{cost.tensor / 1e6:.0f}", f"{cost.atomics / 1e6:.1f}"]
        rows.append([name, TITLES[name], *numbers, *shown])
    whole = [f"{1e6 * step_floor(costs, device, model.table_bytes):.0f}" for device in DEVICES.values()]
    rows.append(["", "a step", "", "", "", *whole])
    frame = model.frame(800 * 800, 800 * 800 * 8.0)
    seconds = [frame.floor(device, model.table_bytes) for device in DEVICES.values()]
    numbers = [f"{frame.bytes / 1e6:.0f}", f"{frame.tensor / 1e6:.0f}", "0"]
    shown = [f"{1e6 * each:.0f} ({reason})" for each, reason in seconds]
    rows.append(["K10", "800x800, 8 samples a pixel", *numbers, *shown])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
