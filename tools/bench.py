"""Measure the core beside its peers: quality after so many seconds of training, time a frame, peak memory, starts.

    python tools/bench.py cpu --data DATA                               budgets of 10, 30 and 60 seconds
    python tools/bench.py cpu --data DATA --seconds 60,120 --seeds 3 --methods fast
    python tools/bench.py gpu --data DATA --seconds 5,30,60             on CUDA (or Apple's GPU)
    python tools/bench.py samplers --data DATA --seconds 120            what each sampler reaches with few samples a ray
    python tools/bench.py plot benchmarks/results/RESULT.json           draw a result once more

Each budget is a run of its own in a process of its own, judged on the data set's val views (or `--split test`). Leave
the machine alone meanwhile. Every number goes to --out as it comes, as JSON and as one SVG plot.
"""

import argparse
import importlib.util
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import environment

RESULTS = environment.ROOT / "benchmarks" / "results"
CORE = ("torch", "numpy", "safetensors", "PIL", "skimage", "tqdm")


def main() -> int:
    """Run the command line."""
    options = _parse()
    if options.mode == "plot":
        _enter(("matplotlib",))
        return _draw_again(options.result)
    if options.mode == "samplers":
        _enter((*CORE, "numba", "matplotlib"))
        return _run_samplers(options)
    _enter((*CORE, "numba") if options.mode == "cpu" else CORE)
    return _run(options)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True, metavar="cpu|gpu|samplers|plot")
    for mode, about in (("cpu", "measure on the CPU"), ("gpu", "measure on the GPU, its kernels too")):
        measuring = modes.add_parser(mode, help=about, description=about)
        _add_data(measuring)
        measuring.add_argument("--seconds", type=_budgets, default=[10.0, 30.0, 60.0], metavar="S,S,...")
        measuring.add_argument("--seeds", type=int, default=1, metavar="N", help="medians over N seeds (default 1)")
        measuring.add_argument(
            "--methods", metavar="M,M,...", help="of fast, reference, classic, nerfacc (default all)"
        )
        measuring.add_argument(
            "--no-starts", action="store_true", help="do not measure the time from the command to the first step"
        )
    _add_samplers(modes)
    plot = modes.add_parser("plot", help="draw a result once more", description="draw a result once more")
    plot.add_argument("result", type=Path, metavar="RESULT.json")
    options = parser.parse_args()
    if options.mode != "plot":
        if not options.data.exists():
            parser.error(f"there is no data set '{options.data}'")
        if options.mode != "samplers" and not 1 <= options.seeds <= 100:
            parser.error("--seeds must lie between 1 and 100")
        if options.views is not None and options.views < 1:
            parser.error("--views must be at least 1")
    return options


def _add_data(parser: argparse.ArgumentParser) -> None:
    """What is measured on, and where the numbers go."""
    parser.add_argument("--data", type=Path, required=True, help="data set: a folder or a transforms.json")
    parser.add_argument("--downscale", type=int, metavar="N", help="shrink the images by this factor")
    parser.add_argument("--split", choices=("val", "test"), default="val", help="views to judge on (default val)")
    parser.add_argument("--views", type=int, metavar="N", help="judge on N views, evenly spread (default all)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="default benchmarks/results")


def _add_samplers(modes: Any) -> None:
    about = "what each sampler reaches with few samples a ray"
    parser = modes.add_parser("samplers", help=about, description=about)
    _add_data(parser)
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", type=float, default=120.0, metavar="S", help="of each training (default 120)")
    budget.add_argument("--steps", type=int, metavar="N", help="of each training, instead of a time")
    parser.add_argument(
        "--budgets", type=_sample_counts, default=[1, 2, 4, 8, 16, None], metavar="N,N,...,all",
        help="samples a ray (default 1,2,4,8,16,all)",
    )  # fmt: skip
    parser.add_argument(
        "--samplers", type=lambda text: text.split(","), metavar="NAME,...", help="default: all of them",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the trainings (default 0)")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="keep the trained runs there (default: do not)")


def _sample_counts(text: str) -> list[int | None]:
    words = text.split(",")
    if not all(word == "all" or (word.isdigit() and 1 <= int(word) <= 4096) for word in words):
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of sample counts such as 1,4,all")
    return [None if word == "all" else int(word) for word in words]


def _budgets(text: str) -> list[float]:
    try:
        budgets = sorted({float(part) for part in text.split(",")})
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a list of seconds such as 10,30,60") from None
    if not all(1 <= budget <= 1e6 for budget in budgets):
        raise argparse.ArgumentTypeError("each budget must be at least 1 second")
    return budgets


def _enter(modules: tuple[str, ...]) -> None:
    """Go on in this Python where it has what is needed (a GPU machine's own), else in `.venv`, made on first use."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        print(f"This Python has no {', '.join(missing)}: going on in .venv.", flush=True)
        environment.enter(("bench",))


def _run(options: argparse.Namespace) -> int:
    """Measure everything."""
    sys.path.insert(0, str(environment.ROOT))
    from benchmark import measure, methods, progress

    device = "cpu" if options.mode == "cpu" else _gpu()
    chosen = methods.named(options.methods, device) if options.methods else methods.for_device(device)
    setup = measure.Setup(options.data.resolve(), device, options.downscale, options.split, options.views)
    frame, views = _views(setup)
    titles = {"titles": {method.name: method.titles[device] for method in chosen}, "versions": {}}
    kept = _record(options, setup, (frame, views), titles, [method.name for method in methods.METHODS])
    for method in list(chosen):
        if problem := method.missing():
            _say(kept, problem)
            chosen.remove(method)
    kept.write()
    # Being told to end is taken like Ctrl-C: the child is ended too, and what was measured is drawn.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _measure_all(kept, chosen, setup, options, progress, measure)
        kept.content["complete"] = True
    except measure.MeasurementError as problem:
        _say(kept, f"The kernels cannot be prepared: {problem}")
    except KeyboardInterrupt:
        print("\nStopped; what was measured is kept.", flush=True)
    _finish(kept)
    return 0 if kept.content["complete"] and not kept.content["failures"] else 1


def _run_samplers(options: argparse.Namespace) -> int:
    """Train, and judge each sampler with each budget."""
    sys.path.insert(0, str(environment.ROOT))
    from benchmark import measure, sampling

    from nerf_core.contract.samplers import SAMPLERS

    options.samplers = options.samplers or list(SAMPLERS)
    unknown = [name for name in options.samplers if name not in SAMPLERS]
    if unknown:
        raise SystemExit(f"There is no sampler '{unknown[0]}'; --samplers takes {', '.join(SAMPLERS)}.")
    setup = measure.Setup(options.data.resolve(), "cpu", options.downscale, options.split, options.views)
    kept = _record(options, setup, _views(setup), {"trained": {}}, [])
    kept.write()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sampling.measure_all(options, setup, kept)
        kept.content["complete"] = True
    except measure.MeasurementError as problem:
        _say(kept, f"A training failed: {problem}")
    except KeyboardInterrupt:
        print("\nStopped; what was measured is kept.", flush=True)
    kept.write()
    if kept.content["measurements"]:
        print("\n" + sampling.table(kept.content["measurements"]) + "\n")
        sampling.draw(kept.content["measurements"], kept.plot_path, f"{setup.data.name}, fast method")
    print(f"Written to {kept.path}", flush=True)
    return 0 if kept.content["complete"] and not kept.content["failures"] else 1


def _record(
    options: argparse.Namespace, setup: Any, views: tuple[list[int], int], facts: dict[str, Any], order: list[str]
) -> Any:
    """A new result file, which knows what is measured on; says so where others use the machine."""
    from benchmark import record
    from benchmark.machine import busy_cores, machine

    now = datetime.now(UTC)
    path = options.out / f"{options.mode}-{setup.data.name}-{now.strftime('%Y%m%d-%H%M%S')}.json"
    busy = busy_cores(1.0)
    shared = {
        "date": now.isoformat(timespec="seconds"),
        "command": " ".join(["python", "tools/bench.py", *sys.argv[1:]]).replace(str(options.data), setup.data.name),
        "device": setup.device,
        "data": setup.data.name,
        "downscale": options.downscale or 1,
        "split": options.split,
        "frame": views[0],
        "views": views[1],
        "machine": {**machine(setup.device), "busy_cores_before": busy},
    }
    kept = record.Record(path, {**shared, **facts}, order)
    if (busy or 0.0) > 0.3:
        _say(kept, f"{busy:g} cores are busy with something else: expect worse numbers.")
    return kept


def _measure_all(kept: Any, chosen: list[Any], setup: Any, options: argparse.Namespace, progress: Any, measure: Any):
    """Starts first, then seed by seed and budget by budget, so that a stopped benchmark holds whole comparisons."""
    starts = [
        (method, kind)
        for method in chosen
        for kind in ("cold", "warm")
        if method.is_ours and not options.no_starts and (method.compiles or kind == "warm")
    ]
    has_kernels = options.mode == "gpu" and any(method.name == "fast" for method in chosen)
    runs = [
        (method, seconds, seed) for seed in range(options.seeds) for seconds in options.seconds for method in chosen
    ]
    compiled = [method for method in chosen if method.compiles]
    jobs = [progress.Job(method.name, "compiling the kernels, where that is still to do", 0.0) for method in compiled]
    jobs += [progress.Job(method.name, f"{kind} start", 0.0) for method, kind in starts]
    jobs += [progress.Job("fast", "steps, frames and kernels", 0.0)] if has_kernels else []
    jobs += [progress.Job(method.name, f"{seconds:g} s, seed {seed}", seconds) for method, seconds, seed in runs]
    told = progress.Progress(jobs)
    for _ in compiled:
        with told.job():
            measure.nerf("warm-up", "--device", setup.device)
    for method, kind in starts:
        try:
            with told.job():
                seconds = measure.start_seconds(method, setup, kind == "cold")
        except measure.MeasurementError as problem:
            _fail(kept, method.name, f"{kind} start", problem)
        else:
            kept.start(method.name, kind, seconds)
            print(f"    at most {seconds:.1f} s to the first step", flush=True)
    if has_kernels:
        try:
            with told.job():
                kept.content["kernels"] = measure.kernels(setup)
        except measure.MeasurementError as problem:
            _fail(kept, "fast", "steps, frames and kernels", problem)
        kept.write()
    for method, seconds, seed in runs:
        try:
            with told.job():
                row = measure.measure(method, setup, seconds, seed)
        except measure.MeasurementError as problem:
            _fail(kept, method.name, f"{seconds:g} s, seed {seed}", problem)
            continue
        kept.content["versions"].update(row.pop("versions"))
        kept.add(row)
        _draw(kept)
        ssim = "" if row["ssim"] is None else f", SSIM {row['ssim']:.4f}"
        print(
            f"    {row['psnr']:.2f} dB{ssim}, {row['steps']} steps, {1000 * row['frame_seconds']:.1f} ms a frame, "
            f"{row['wall_seconds']:.1f} s wall, {row['peak_memory_mb']:.0f} MB",
            flush=True,
        )


def _views(setup: Any) -> tuple[list[int], int]:
    """Read the views to judge on, before anything takes long; the first one's width and height, and how many."""
    from nerf_core.contract.errors import NerfError
    from nerf_core.data.dataset import load_dataset

    try:
        views = load_dataset(setup.data, setup.downscale or 1, splits=(setup.split,)).splits[setup.split].views
    except NerfError as error:
        raise SystemExit(str(error)) from None
    return [views[0].camera.width, views[0].camera.height], min(len(views), setup.views or len(views))


def _gpu() -> str:
    """The GPU's kind, as torch calls it."""
    from nerf_core.methods.registry import available_devices

    kind = available_devices()[0]["kind"]
    if kind == "cpu":
        raise SystemExit("This machine, or the torch installed here, has no GPU: `nerf doctor` says more.")
    return kind


def _say(kept: Any, text: str) -> None:
    print(text, flush=True)
    kept.note(text)


def _fail(kept: Any, method: str, what: str, problem: Exception) -> None:
    print(f"    FAILED: {problem}", flush=True)
    kept.fail(method, what, str(problem))


def _finish(kept: Any) -> None:
    """Write what is known, and print the medians."""
    from benchmark.kernels import lines
    from benchmark.record import table

    kept.write()
    for start in kept.content["starts"]:
        title = kept.content["titles"][start["method"]]
        print(f"{title}: at most {start['seconds']:.1f} s from the command to the first step, {start['kind']}")
    if "kernels" in kept.content:
        print("\n" + "\n".join(lines(kept.content["kernels"])))
    if kept.content["medians"]:
        print("\n" + table(kept.content["medians"], kept.content["titles"]) + "\n")
        _draw(kept, last=True)
    print(f"Written to {kept.path}", flush=True)


def _draw(kept: Any, last: bool = False) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        if last:
            print(f"No plot, because matplotlib is missing here; elsewhere: python tools/bench.py plot {kept.path}")
        return
    from benchmark.plot import draw

    draw(kept.content, kept.plot_path)
    if last:
        print(f"Drawn in {kept.plot_path}")


def _draw_again(path: Path) -> int:
    from benchmark import plot, sampling
    from benchmark.record import read

    content = read(path)
    if not content["measurements"]:
        raise SystemExit(f"'{path}' holds no measurement to draw.")
    if "trained" in content:
        sampling.draw(content["measurements"], path.with_suffix(".svg"), f"{content['data']}, fast method")
    else:
        plot.draw(content, path.with_suffix(".svg"))
    print(f"Drawn in {path.with_suffix('.svg')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
