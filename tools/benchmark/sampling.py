"""What each sampler reaches with few samples a ray: the runs to train, the budgets to judge, the table and the plot."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .measure import MeasurementError, Setup, nerf
from .progress import Job, Progress
from .record import Record

BUDGETS = (1, 2, 4, 8, 16, None)
"""Full evaluations of the field a ray, at most; None: as many as the sampler likes."""
TRAINED = ("occupancy", "proposal", "surface")
"""What runs are trained with: these learn something of their own, or are the trainer's own sampler."""
HEAD = (
    "trained with", "sampler", "samples", "PSNR dB", "to full", "SSIM", "S_hit", "S_all", "S_max", "density only",
    "proposal", "frame ms", "depth error",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A run that was trained with a sampler, looked at with one and a budget."""

    trained: str
    sampler: str
    samples: int | None

    @property
    def words(self) -> str:
        """For progress lines."""
        return f"{self.sampler}, {'all' if self.samples is None else self.samples}, trained with {self.trained}"


def rows(budgets: Sequence[int | None], samplers: Sequence[str], with_depth: bool) -> list[Row]:
    """What is judged: each sampler with each budget on the run it learned in, and the surface without its training."""
    made = []
    for sampler in samplers:
        if sampler == "oracle" and not with_depth:
            continue
        runs = (
            (sampler,) if sampler == "proposal" else ("occupancy", "surface") if sampler == "surface" else TRAINED[:1]
        )
        made += [Row(run, sampler, budget) for run in runs for budget in budgets]
    if "surface" in samplers:
        made.append(Row("surface", "occupancy", None))  # what its own training leaves of full sampling
    return made


def train(setup: Setup, sampler: str, run: Path, budget: Sequence[object], seed: int) -> dict[str, Any]:
    """Train a run of the fast method; gives what `nerf train --json` says, and its peak memory in MB."""
    on = ("--device", setup.device, *setup.shrink)
    trained, memory = nerf(
        "train", setup.data, "--run", run, "--method", "fast", "--sampler", sampler, *budget, "--seed", seed, *on
    )
    return {**trained, "peak_memory_mb": memory}


def judge(setup: Setup, run: Path, row: Row) -> dict[str, Any]:
    """Evaluate a row on held-out views."""
    samples = () if row.samples is None else ("--samples", row.samples)
    judged, _ = nerf("evaluate", run, *setup.judged, "--device", setup.device, "--sampler", row.sampler, *samples)
    wanted = ("psnr", "ssim", "seconds", "cost", "depth_error", "depth_error_95")
    return {**vars(row), **{name: judged.get(name) for name in wanted}}


def with_losses(measured: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `to_full`: PSNR beside the same run's own full sampling, by the occupancy grid."""
    full = {one["trained"]: one["psnr"] for one in measured if one["sampler"] == "occupancy" and one["samples"] is None}
    return [
        {**one, "to_full": one["psnr"] - full[one["trained"]] if one["trained"] in full else None} for one in measured
    ]


def table(measured: Sequence[dict[str, Any]]) -> str:
    """A Markdown table that is readable as it is."""
    cells = [list(HEAD), *(list(_cells(one)) for one in with_losses(measured))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]

    def line(words: Sequence[str]) -> str:
        return "| " + " | ".join(
            word.ljust(width) if index < 2 else word.rjust(width)
            for index, (word, width) in enumerate(zip(words, widths, strict=True))
        ) + " |"  # fmt: skip

    rule = "|" + "|".join("-" * (w + 2) if index < 2 else "-" * (w + 1) + ":" for index, w in enumerate(widths)) + "|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def _cells(one: dict[str, Any]) -> Iterator[str]:
    cost = one["cost"] or {}
    yield from (one["trained"], one["sampler"], "all" if one["samples"] is None else str(one["samples"]))
    yield _shown(one["psnr"], ".2f")
    yield _shown(one["to_full"], "+.2f")
    yield _shown(one["ssim"], ".4f")
    for name, form in (
        ("s_hit", ".2f"),
        ("s_all", ".2f"),
        ("s_max", "d"),
        ("density_only", ".1f"),
        ("proposal", ".1f"),
    ):
        yield _shown(cost.get(name), form)
    yield _shown(1000 * one["seconds"], ".1f")
    yield _shown(one["depth_error"], ".4f")


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)


def draw(measured: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """PSNR against full evaluations a ray that hits, a line for each sampler and what its run was trained with."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "nerf-toolkit"
    figure, axes = pyplot.subplots(figsize=(7.5, 4.8), layout="constrained")
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for one in measured:
        if one["cost"] and one["cost"]["s_hit"] > 0:
            series.setdefault((one["sampler"], one["trained"]), []).append((one["cost"]["s_hit"], one["psnr"]))
    own = {"uniform": "occupancy", "hierarchical": "occupancy", "oracle": "occupancy"}
    for index, ((sampler, trained), points) in enumerate(series.items()):
        label = sampler if trained in (sampler, own.get(sampler)) else f"{sampler}, run trained with {trained}"
        label += " (true depth: an upper bound)" if sampler == "oracle" else ""
        x, y = zip(*sorted(points), strict=True)
        style = "--" if sampler == "oracle" else "-"
        axes.plot(x, y, style, marker="o", markersize=4, color=f"C{index}", label=label)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("full evaluations a ray that hits (S_hit)")
    axes.set_ylabel("PSNR, dB")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def measure_all(options: Any, setup: Setup, kept: Record) -> None:
    """Train what is to be trained, judge every row, and keep each number as it comes.

    Parameters
    ----------
    options : argparse.Namespace
        `seconds` or `steps`, `budgets`, `samplers`, `seed`, `runs` (a folder to keep the runs in, or None).
    setup : Setup
    kept : Record
    """
    with_depth = _has_depth(setup)
    if not with_depth and "oracle" in options.samplers:
        kept.note("The data set has no depth: the oracle is left out.")
        print(kept.content["notes"][-1], flush=True)
    judged = rows(options.budgets, options.samplers, with_depth)
    needed = [name for name in TRAINED if any(row.trained == name for row in judged)]
    budget = ("--seconds", options.seconds) if options.steps is None else ("--steps", options.steps)
    expected = options.seconds if options.steps is None else options.steps / 60
    jobs = [Job(name, "training", expected) for name in needed] + [Job(row.sampler, row.words, 0.0) for row in judged]
    told = Progress(jobs)
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-bench-") as folder:
        runs = options.runs or Path(folder)
        trained = {}
        for name in needed:
            with told.job():
                trained[name] = train(setup, name, runs / name, budget, options.seed)
            kept.content["trained"] = trained
            kept.write()
        for row in judged:
            with told.job():
                try:
                    one = judge(setup, runs / row.trained, row)
                except MeasurementError as problem:
                    print(f"    FAILED: {problem}", flush=True)
                    kept.fail(row.sampler, row.words, str(problem))
                    continue
            kept.content["measurements"].append(one)
            kept.write()
            cost = one["cost"] or {}
            print(f"    {one['psnr']:.2f} dB, S_hit {cost.get('s_hit', math.nan):.2f}, {1000 * one['seconds']:.1f} ms")


def _has_depth(setup: Setup) -> bool:
    """Whether the views to judge on say how far what they show is."""
    from nerf_core.contract.errors import NerfError
    from nerf_core.data.dataset import load_dataset

    try:
        views = load_dataset(setup.data, setup.downscale or 1, splits=(setup.split,), depth=(setup.split,))
    except NerfError:
        return False
    return all(view.depth is not None for view in views.splits[setup.split].views)
