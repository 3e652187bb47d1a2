"""Measure the core: quality after so many seconds of training, time a frame, peak memory; as a table and as JSON.

    python tools/bench.py cpu --data DATA                     budgets of 10, 30 and 60 seconds
    python tools/bench.py cpu --data DATA --seconds 60,120    others

Each budget is a run of its own in a process of its own, judged on the data set's val views (or `--split test`).
Leave the machine alone meanwhile. The numbers go to benchmarks/results/.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environment

RESULTS = environment.ROOT / "benchmarks" / "results"


def main() -> int:
    """Run the command line."""
    options = _parse()
    environment.enter(())
    rows = []
    first_step = seconds_to_first_step(options.data, options.device, options.downscale)
    print(f"At most {first_step:.1f} s from the command to the first step (its run being saved and judged included)")
    print(
        f"{'budget s':>9}{'wall s':>9}{'steps':>8}{'PSNR dB':>9}{'SSIM':>8}{'frame ms':>10}{'memory MB':>11}",
        flush=True,
    )
    for seconds in options.seconds:
        row = measure(options.data, seconds, options.device, options.downscale, options.split)
        rows.append(row)
        print(
            f"{seconds:9g}{row['wall_seconds']:9.1f}{row['steps']:8d}{row['psnr']:9.2f}{row['ssim']:8.4f}"
            f"{1000 * row['frame_seconds']:10.1f}{row['peak_memory_mb']:11.0f}",
            flush=True,
        )
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "tools/bench.py", *sys.argv[1:]]),
        "device": options.device,
        "data": options.data.resolve().name,
        "machine": machine(),
        "versions": rows[0].pop("versions"),
        "first_step_seconds": first_step,
        "rows": [{key: value for key, value in row.items() if key != "versions"} for row in rows],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = RESULTS / f"{options.device}-{content['data']}-{stamp}.json"
    target.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"Written to {target}")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--data", type=Path, required=True, help="data set: a folder or a transforms.json")
    parser.add_argument("--seconds", type=_budgets, default=[10.0, 30.0, 60.0], metavar="S,S,...")
    parser.add_argument("--downscale", type=int, metavar="N", help="shrink the images by this factor")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="views to judge on (default val)")
    options = parser.parse_args()
    if not options.data.exists():
        parser.error(f"there is no data set '{options.data}'")
    return options


def _budgets(text: str) -> list[float]:
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of seconds such as 10,30,60") from None
    if not budgets or min(budgets) < 1:
        raise argparse.ArgumentTypeError("each budget must be at least 1 second")
    return budgets


def seconds_to_first_step(data: Path, device: str, downscale: int | None) -> float:
    """Wall time of a training of one step, from the process's start to its end, with the kernels compiled before."""
    nerf("warm-up", "--device", device)
    shrink = ["--downscale", str(downscale)] if downscale else []
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-bench-") as folder:
        began = time.perf_counter()
        nerf("train", data, "--run", Path(folder) / "run", "--steps", "1", "--device", device, *shrink)
        return time.perf_counter() - began


def measure(data: Path, seconds: float, device: str, downscale: int | None, split: str) -> dict[str, Any]:
    """Train a new run for `seconds` and judge it; the run folder is temporary."""
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-bench-") as folder:
        run = Path(folder) / "run"
        shrink = ["--downscale", str(downscale)] if downscale else []
        began = time.perf_counter()
        trained, memory = nerf(
            "train", data, "--run", run, "--seconds", str(seconds), "--device", device, *shrink, "--seed", "0"
        )
        wall = time.perf_counter() - began
        judged, _ = nerf("evaluate", run, "--split", split, "--device", device)
        facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {
        "seconds": seconds,
        "wall_seconds": wall,
        "steps": trained["step"],
        "psnr": judged["psnr"],
        "ssim": judged["ssim"],
        "frame_seconds": judged["seconds"],
        "views": len(judged["views"]),
        "peak_memory_mb": memory,
        "backend": facts["backend"],
        "versions": facts["versions"],
    }


def nerf(*arguments: str | Path) -> tuple[dict[str, Any], float]:
    """Run `nerf ARGUMENTS --json`; returns its JSON and the process's peak resident memory in MB."""
    command = [sys.executable, "-m", "nerf_core", *map(str, arguments), "--json"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        output = process.stdout.read()
        memory = float("nan")
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            memory = usage.ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0 * 1024.0)
        if process.wait() != 0:
            errors.seek(0)
            raise SystemExit(f"'nerf {arguments[0]}' failed:\n{errors.read()[-2000:]}")
    return json.loads(output.strip().splitlines()[-1]), memory


def machine() -> dict[str, Any]:
    """What was measured on."""
    name = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"system": platform.platform(), "processor": name, "cores": cores, "load_at_end": load}


if __name__ == "__main__":
    sys.exit(main())
