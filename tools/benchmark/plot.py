"""The benchmark's plot: PSNR against training seconds and frame times, drawn from a result's JSON alone."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Okabe and Ito's colours, which stay apart with every kind of colour blindness; the marker tells the same.
LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"))
INK, GRID = "#222222", "#dddddd"


def draw(content: dict[str, Any], path: Path) -> None:
    """Draw a result as SVG, written beside and renamed.

    Parameters
    ----------
    content : dict
        As `record.read` gives it; at least one measurement.
    path : Path
        Of the SVG file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # No date, no random ids, letters as outlines: the same numbers give the same file on every machine.
    settings = {"svg.hashsalt": "nerf-toolkit", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9.5}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "svg", **settings}):
        figure = Figure(figsize=(10.0, 4.4), layout="constrained")
        quality, frames = figure.subplots(1, 2, width_ratios=(1.5, 1.0))
        _quality(quality, content)
        _frames(frames, content)
        # Below, where no line can run through it.
        figure.legend(frameon=False, loc="outside lower left", ncols=len(content["titles"]), fontsize=8.5)
        figure.suptitle(_headline(content), fontsize=10, color=INK, x=0.01, ha="left")
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        os.chmod(name, 0o644)
        os.replace(name, path)


def _quality(axes: Any, content: dict[str, Any]) -> None:
    """A line a method through its medians; each seed a dot, the seeds' span a bar."""
    for index, (name, title) in enumerate(content["titles"].items()):
        rows = [row for row in content["medians"] if row["method"] == name]
        if not rows:
            continue
        color, marker = LOOKS[index % len(LOOKS)]
        seconds = [row["training_seconds"] for row in rows]
        axes.plot(seconds, [row["psnr"] for row in rows], marker, ls="-", color=color, ms=5.5, label=title, zorder=3)
        for row, x in zip(rows, seconds, strict=True):
            if row["seeds"] > 1:
                axes.plot(
                    [x, x],
                    [row["psnr_low"], row["psnr_high"]],
                    color=color,
                    lw=5,
                    alpha=0.3,
                    zorder=2,
                    solid_capstyle="butt",
                )
        singles = [one for one in content["measurements"] if one["method"] == name]
        if len(singles) > len(rows):
            x, y = [one["training_seconds"] for one in singles], [one["psnr"] for one in singles]
            axes.plot(x, y, ".", color=color, ms=3.5, alpha=0.6, zorder=2)
    times = [one["training_seconds"] for one in content["measurements"]]
    axes.set_xscale("log")
    axes.set_xlim(0.75 * min(times), 1.35 * max(times))
    _plain_ticks(axes.xaxis, sorted({one["seconds"] for one in content["measurements"]}))
    axes.set_xlabel("training time, s")
    axes.set_ylabel(f"PSNR on held-out views ({content['split']}), dB")
    seeds = max(row["seeds"] for row in content["medians"])
    spread = f"median of {seeds} seeds, bars from lowest to highest" if seeds > 1 else "one seed"
    axes.set_title(f"Quality against time ({spread})", fontsize=9.5, loc="left", color=INK)
    _tidy(axes, "both")


def _frames(axes: Any, content: dict[str, Any]) -> None:
    """A bar a method: the median time of one frame after its longest training."""
    last = {row["method"]: row for row in content["medians"]}  # rows are sorted by budget
    names = [name for name in content["titles"] if name in last and last[name]["frame_seconds"]]
    values = [1000.0 * last[name]["frame_seconds"] for name in names]
    colors = [LOOKS[list(content["titles"]).index(name) % len(LOOKS)][0] for name in names]
    places = range(len(names))
    axes.barh(places, values, color=colors, height=0.55, zorder=3)
    # Each bar carries its name above and its number beside it: no legend to look up, no room lost to labels.
    for place, name, value in zip(places, names, values, strict=True):
        axes.annotate(
            content["titles"][name], (0, place - 0.33), (3, 0), ("axes fraction", "data"), "offset points",
            va="bottom", fontsize=8.5, color=INK,
        )  # fmt: skip
        axes.annotate(_milliseconds(value), (value, place), (4, 0), "data", "offset points", va="center", fontsize=8.5)
    axes.set_yticks([])
    axes.set_ylim(max(len(names), 3) - 0.4, -0.8)
    axes.set_xscale("log")
    if values:
        low, high = min(values), max(values)
        axes.set_xlim(low / 3.0, high * (high / low) ** 0.2 * 2.5)
    _plain_ticks(axes.xaxis, None)
    axes.set_xlabel("time of one frame, ms, log scale (less is better)")
    width, height = content["frame"]
    axes.set_title(f"A frame of {width}x{height} after the longest training", fontsize=9.5, loc="left", color=INK)
    _tidy(axes, "x")


def _plain_ticks(axis: Any, values: Sequence[float] | None) -> None:
    """Numbers as people write them, instead of powers of ten; at the given places where there are any."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    if values is not None:
        axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _tidy(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, color=GRID, lw=0.7, zorder=0)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=3, color=INK)


def _milliseconds(value: float) -> str:
    return f"{value:.2g} ms" if value < 10 else f"{value:.0f} ms"


def _headline(content: dict[str, Any]) -> str:
    facts = content["machine"]
    gpu = (facts.get("gpu") or {}).get("name")
    where = gpu or f"{facts['cores']} cores of {facts['processor']}"
    partly = "" if content["complete"] else "  (not complete)"
    return f"{content['data']}, {where}, {content['date'][:10]}{partly}"
