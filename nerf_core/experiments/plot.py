"""The plot of an experiment: PSNR against full evaluations a ray that hits, drawn from its results alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..contract.errors import NerfError
from ..contract.files import write_beside

# Okabe and Ito's colours, which stay apart with every kind of colour blindness; the markers tell the samplers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, GRID = "#222222", "#dddddd"


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> bool:
    """Draw the results as SVG or PNG, by the path's suffix; returns whether there was anything to draw.

    Parameters
    ----------
    rows : list of dict
        As `results.jsonl` holds them; those without PSNR or S_hit are left out.
    title : str
    path : Path

    Raises
    ------
    NerfError
        When matplotlib is missing, or the file cannot be written.
    """
    points = [point for row in rows if (point := _point(row)) is not None]
    if not points:
        return False
    saved_figure(path, lambda figure: _axes(figure, points, title))
    return True


def saved_figure(path: Path, fill: Callable[[Any], None]) -> None:
    """Write a figure that `fill` draws: SVG or PNG, by the path's suffix.

    Raises
    ------
    NerfError
        When matplotlib is missing, or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise NerfError(
            "The plot needs the package 'matplotlib', which this Python does not have; run 'nerf doctor' to see how "
            "to get it."
        ) from error

    kind = path.suffix.lstrip(".")
    # No date and no random ids: the same numbers give the same file on every machine.
    settings = {"svg.hashsalt": "nerf-toolkit", "svg.fonttype": "path", "font.family": "DejaVu Sans", "font.size": 9.5}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **settings}):
        figure = Figure(figsize=(9.0, 5.2), layout="constrained")
        fill(figure)
        metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        write_beside(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=144, metadata=metadata))


def _point(row: dict[str, Any]) -> dict[str, Any] | None:
    metrics = row.get("metrics") or {}
    psnr, s_hit = metrics.get("psnr"), metrics.get("s_hit")
    if psnr is None or not s_hit:
        return None
    sampler = (row.get("render") or (row["training"]["settings"] or {}).get("sampler") or {}).get("name")
    method = row["training"]["method"]
    labels = row.get("labels") or {}
    *others, last = [*labels.values()] or [row["cell"]]
    grouped = len(labels) > 1
    return {
        "x": s_hit,
        "y": psnr,
        "series": last if grouped else method,
        "sampler": sampler or ("its own" if method == "fast" else "coarse + fine"),
        "text": " ".join(others) if grouped else row["cell"],
    }


def _axes(figure: Any, points: list[dict[str, Any]], title: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes = figure.subplots()
    series = list(dict.fromkeys(point["series"] for point in points))
    samplers = list(dict.fromkeys(point["sampler"] for point in points))
    for row, name in enumerate(series):
        color = COLORS[row % len(COLORS)]
        for column, sampler in enumerate(samplers):
            own = sorted((p for p in points if p["series"] == name and p["sampler"] == sampler), key=lambda p: p["x"])
            if not own:
                continue
            label = name if len(samplers) == 1 else f"{name}, {sampler}"
            axes.plot(
                [p["x"] for p in own],
                [p["y"] for p in own],
                MARKERS[column % len(MARKERS)],
                ls="-" if column == 0 else "--",
                color=color,
                ms=6,
                label=label,
                zorder=3,
            )
            # Words once, on the first series: the others have the same under and over them.
            for p in own if row == 0 else ():
                axes.annotate(
                    p["text"], (p["x"], p["y"]), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8,
                    color=INK,
                )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(LogLocator(base=2))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("full evaluations a ray that hits the subject, S_hit (logarithmic)")
    axes.set_ylabel("PSNR, dB")
    axes.margins(x=0.08, y=0.14)
    low, high = axes.get_xlim()
    if high / low < 4:  # a few points side by side: leave them a decade to stand in
        axes.set_xlim(low / 1.5, high * 1.5)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    if len(series) > 1 or len(samplers) > 1:
        figure.legend(frameon=False, loc="outside lower left", ncols=min(3, len(series)), fontsize=8.5)
