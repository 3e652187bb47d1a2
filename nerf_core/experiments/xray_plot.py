"""The plot of an X-ray experiment: volume PSNR against the number of radiographs, drawn from its results alone."""

from pathlib import Path
from typing import Any

from .plot import COLORS, GRID, INK, MARKERS, saved_figure


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> bool:
    """Draw the results as SVG or PNG, by the path's suffix; returns whether there was anything to draw.

    Parameters
    ----------
    rows : list of dict
        As `results.jsonl` holds them; those without a volume are left out.
    title : str
    path : Path

    Raises
    ------
    NerfError
        When matplotlib is missing, or the file cannot be written.
    """
    points = [row for row in rows if isinstance((row.get("metrics") or {}).get("volume_psnr"), int | float)]
    if not points:
        return False
    saved_figure(path, lambda figure: _axes(figure, points, title))
    return True


def _axes(figure: Any, points: list[dict[str, Any]], title: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes = figure.subplots()
    patients = list(dict.fromkeys(row["patient"] for row in points))
    series = list(dict.fromkeys(_series(row) for row in points))
    for index, name in enumerate(series):
        for column, patient in enumerate(patients):
            own = sorted(
                (row["given"], row["metrics"]["volume_psnr"])
                for row in points
                if row["patient"] == patient and _series(row) == name
            )
            if own:
                axes.plot(
                    [x for x, _ in own],
                    [y for _, y in own],
                    MARKERS[column % len(MARKERS)],
                    ls="-" if column == 0 else "--",
                    color=COLORS[index % len(COLORS)],
                    ms=6,
                    label=name if len(patients) == 1 else f"{name}, {patient}",
                    zorder=3,
                )
    views = sorted({row["given"] for row in points})
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(views))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    low, high = axes.get_xlim()
    if high / low < 4:
        axes.set_xlim(low / 1.5, high * 1.5)
    axes.set_xlabel("radiographs given (logarithmic)")
    axes.set_ylabel("volume PSNR, dB")
    axes.margins(x=0.08, y=0.14)
    axes.grid(color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    if len(series) * len(patients) > 1:
        figure.legend(frameon=False, loc="outside lower left", ncols=min(4, len(series)), fontsize=8.5)


def _series(row: dict[str, Any]) -> str:
    """What is joined by a line: a system, by its label on the plan's axis where there is one."""
    return str((row.get("labels") or {}).get("system") or row["system"])
