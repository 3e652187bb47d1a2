"""The plot of a ray as a PNG or SVG file: the picture that Blender shows, drawn without it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import MARK, write_beside
from ..contract.ray_axes import color_difference
from ..contract.ray_plot import COLORS, Plot, Sampled, color_so_far, plot_of_traces, step_segments
from ..rendering.trace_pixels import TracedPixels

KINDS = (".png", ".svg")
# As Blender's overlay marks them: colour and line.
MARKS = {"expected": ("#ffffff", "--"), "median": ("#ffdb40", ":"), "true": ("#59f273", "-"), "end": ("#ff6b5c", ":")}
SAMPLERS = ("#ff9e2e", "#59c7ff")
SIZE = (7.2, 7.4)  # inches, for one sampler
DOTS = 110  # pixels an inch, of PNG
MOST_STEMS = 220  # samples in view; more are drawn as bars


def plot_traces(traces: Sequence[TracedPixels], ray: int | None, heading: str = "", focus: bool = True) -> Plot:
    """What is drawn of traces of the same rays.

    Parameters
    ----------
    traces : sequence of TracedPixels
        By one sampler or two.
    ray : int or None
        Which; None: the mean of all.
    heading : str
        Which ray, for a person.
    focus : bool
        Show closely where something is, instead of all that lies in the box.
    """
    found = [(traced.arrays, traced.sampler.to_dict(), traced.seconds) for traced in traces]
    return plot_of_traces(found, ray, focus, heading=heading)


def check_kind(path: str | Path) -> Path:
    """The path, when it names a kind of file that a plot can be.

    Raises
    ------
    NerfError
        When its suffix is another.
    """
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise NerfError(f"A plot is a .png or an .svg file, not '{path.name}'.")
    return path


def write_plot(path: str | Path, plot: Plot) -> Path:
    """Draw a plot into a file, beside and renamed; the same plot gives the same file.

    Raises
    ------
    NerfError
        When matplotlib is missing, the suffix is another than .png and .svg, or the file cannot be written.
    """
    path = check_kind(path)
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise NerfError(
            "The plot needs the package 'matplotlib', which this Python does not have; run 'nerf doctor' to see how "
            "to get it."
        ) from error
    kind = path.suffix.lower().lstrip(".")
    settings = {"svg.hashsalt": "nerf-toolkit", "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 8.5}
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "agg", **settings, **_dark()}):
        count = len(plot.parts)
        figure = Figure(
            figsize=(SIZE[0] * count, SIZE[1]), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.03, hspace=0.01)
        )
        rows = figure.subplots(5, count, squeeze=False, height_ratios=(0.3, 0.07, 1, 1, 1))
        for column, part in enumerate(plot.parts):
            _Part(plot, part, rows[:, column]).draw(SAMPLERS[column], column)
        figure.suptitle(_heading(plot), x=0.012, ha="left", fontsize=9, color=COLORS["dim"])
        metadata = {"Date": None, "Creator": MARK} if kind == "svg" else {"Software": MARK}
        write_beside(path, lambda temporary: figure.savefig(temporary, format=kind, dpi=DOTS, metadata=metadata))
    return path


def _dark() -> dict[str, Any]:
    grey, dim = COLORS["ground"], COLORS["dim"]
    return {
        "figure.facecolor": grey,
        "savefig.facecolor": grey,
        "axes.facecolor": COLORS["field"],
        "axes.edgecolor": COLORS["border"],
        "axes.labelcolor": dim,
        "axes.axisbelow": True,
        "xtick.color": COLORS["border"],
        "ytick.color": COLORS["border"],
        "xtick.labelcolor": dim,
        "ytick.labelcolor": dim,
        "text.color": COLORS["text"],
        "grid.color": COLORS["grid"],
        "legend.frameon": False,
    }


def _heading(plot: Plot) -> str:
    words = [plot.heading] if plot.heading else []
    if len(plot.parts) == 2:
        first, second = (part.curves.rgba for part in plot.parts)
        words.append(f"colours differ by {color_difference(first, second):.0f}/255")
    return "  ·  ".join(words)


class _Part:
    """One sampler's column: the strip of the whole ray, density, weight with transmittance, PDF with CDF."""

    def __init__(self, plot: Plot, part: Sampled, rows: Any) -> None:
        self.plot, self.part, self.curves = plot, part, part.curves
        self.head, self.strip, self.density, self.weight, self.sampling = rows

    def draw(self, color: str, number: int) -> None:
        """Draw it all; `number` is the column's."""
        self.number = number
        self._head(color)
        self._strip()
        self._density()
        self._weight()
        self._sampling()
        for axes in (self.density, self.weight, self.sampling):
            axes.set_xlim(self.plot.t.low, self.plot.t.high)
            axes.grid(axis="y", lw=0.7)
            axes.tick_params(length=2, labelbottom=axes is self.sampling)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            self._behind(axes)
            self._marks(axes)
        self.sampling.set_xlabel("t: distance from the camera, world units")

    def _head(self, color: str) -> None:
        """The sampler, what it cost, its colour beside the true one."""
        axes, truth = self.head, self.curves.truth
        axes.axis("off")
        axes.text(0.0, 1.0, self.part.title, color=color, fontsize=11.5, va="top", gid=f"title-{self.number}")
        for line, words in enumerate((self.part.cost, self._color_words())):
            axes.text(0.0, 0.44 - 0.4 * line, words, color=COLORS["dim"], fontsize=8.5, va="top")
        # On a checkerboard as far as they are transparent.
        pictures = [("NeRF", _over_checker(self.curves.rgba))]
        if truth is not None:
            pictures.append(("true", _over_checker(np.append(truth[:3] * truth[3], truth[3]))))
        for place, (name, picture) in enumerate(reversed(pictures)):
            inset = axes.inset_axes((0.935 - 0.07 * place, 0.0, 0.065, 0.85))
            inset.imshow(picture, aspect="auto", interpolation="nearest")
            inset.set(xticks=[], yticks=[])
            inset.set_title(name, fontsize=7, color=COLORS["dim"], pad=2)

    def _color_words(self) -> str:
        curves = self.curves
        words = f"alpha {curves.rgba[3]:.2f}"
        if curves.truth is not None:
            true = curves.truth[:3] * curves.truth[3]
            words += f", predicted colour off by {color_difference(curves.rgba, true):.0f}/255"
        return words

    def _strip(self) -> None:
        from matplotlib.collections import PolyCollection
        from matplotlib.patches import Rectangle

        axes, whole = self.strip, self.plot.whole
        edges, colors = color_so_far(self.curves, whole, _rgb(COLORS["field"]))
        boxes = [[(a, 0), (b, 0), (b, 1), (a, 1)] for a, b in zip(edges[:-1], edges[1:], strict=True)]
        axes.add_collection(PolyCollection(boxes, facecolors=colors, edgecolors="none", gid=f"strip-{self.number}"))
        self._hatch(axes)
        axes.set(xlim=(whole.low, whole.high), ylim=(0, 1), yticks=[])
        axes.set_xticks([whole.low, whole.high], [whole.text(whole.low), whole.text(whole.high)], fontsize=7.5)
        axes.tick_params(length=0, pad=1)
        if self.plot.zoomed:
            low, high = self.plot.t.low, self.plot.t.high
            axes.add_patch(Rectangle((low, 0), high - low, 1, fill=False, ec=COLORS["text"], lw=1.2, clip_on=False))

    def _density(self) -> None:
        axes, curves, axis = self.density, self.curves, self.plot.density
        axes.set_yscale("log")
        axes.set_ylim(axis.low, axis.high)
        if len(curves.first_t0):
            self._steps(axes, curves.first_t0, curves.first_t1, curves.first_density, axis.low, "first", 0.0)
        self._steps(axes, curves.t0, curves.t1, curves.density, axis.low, "density", 0.35)
        named = [("density", "density per world unit")]
        named += [("first", "first look")] * bool(len(curves.first_t0))
        self._legend(axes, named + [("skip", "hatched: skipped, empty")] * bool(len(curves.skips)))

    def _weight(self) -> None:
        axes, curves = self.weight, self.curves
        high = self.part.weight_axis.high
        axes.set_ylim(0.0, high)
        shown = (curves.t >= self.plot.t.low) & (curves.t <= self.plot.t.high)
        t, weight, color = curves.t[shown], curves.weight[shown], np.clip(curves.color[shown], 0.0, 1.0)
        if len(t) > MOST_STEMS:
            length = (curves.t1 - curves.t0)[shown]
            axes.bar(curves.t0[shown], weight, length, align="edge", color=color, gid=f"weight-{self.number}")
        else:
            counts = weight > 0.002 * high
            axes.vlines(t[counts], 0.0, weight[counts], color=COLORS["stem"], lw=1.0, gid=f"stems-{self.number}")
            axes.scatter(t[~counts], weight[~counts], 4.0, COLORS["dim"], zorder=4, clip_on=False)
            size = np.clip(2500.0 / max(len(t), 1), 14.0, 60.0)
            axes.scatter(
                t[counts], weight[counts], size, color[counts], edgecolors=COLORS["stem"], linewidths=0.8, zorder=4,
                clip_on=False, gid=f"weight-{self.number}",
            )  # fmt: skip
        right = self._right(axes)
        self._line(right, *curves.transmittance_line(), "transmittance")
        self._legend(axes, [("stem", "weight, in its sample's colour"), ("transmittance", "transmittance")])

    def _sampling(self) -> None:
        axes, curves = self.sampling, self.curves
        right = self._right(axes)
        named = [("accumulated", "weight so far")]
        if len(curves.bin_mass):
            axes.set_ylim(0.0, self.plot.pdf.high)
            self._steps(axes, curves.bin_t0, curves.bin_t1, curves.pdf, 0.0, "pdf", 0.4)
            self._line(right, *curves.cdf_line(), "cdf")
            named = [("pdf", "PDF per world unit"), ("cdf", "CDF"), *named]
        else:
            axes.set_yticks([])
            named.append(("", "no PDF: evenly placed"))
        self._line(right, *curves.accumulated_line(), "accumulated")
        self._legend(axes, named)

    def _steps(
        self, axes: Any, t0: np.ndarray, t1: np.ndarray, values: np.ndarray, base: float, name: str, fill: float
    ) -> None:
        from matplotlib.collections import LineCollection, PolyCollection

        values = np.maximum(values, base)
        if fill:
            boxes = [[(a, base), (b, base), (b, y), (a, y)] for a, b, y in zip(t0, t1, values, strict=True) if y > base]
            axes.add_collection(PolyCollection(boxes, facecolors=COLORS[name], alpha=fill, edgecolors="none"))
        ends = list(step_segments(t0, t1, values, base).reshape(-1, 2, 2))
        axes.add_collection(
            LineCollection(
                ends,
                colors=COLORS[name],
                linewidths=1.2,
                alpha=0.6 if name == "first" else 1.0,
                gid=f"{name}-{self.number}",
            )
        )

    def _line(self, axes: Any, t: np.ndarray, values: np.ndarray, name: str) -> None:
        if not len(t):
            return
        whole = self.plot.whole
        t = np.concatenate([[min(whole.low, t[0])], t, [max(whole.high, t[-1])]])
        values = np.concatenate([values[:1], values, values[-1:]])
        axes.plot(t, values, color=COLORS[name], lw=1.6, gid=f"{name}-{self.number}")

    def _right(self, axes: Any) -> Any:
        """A second axis from 0 to 1 at the right."""
        right = axes.twinx()
        right.set_ylim(0.0, 1.0)
        right.set_xlim(self.plot.t.low, self.plot.t.high)
        right.tick_params(length=2)
        for spine in right.spines.values():
            spine.set_visible(False)
        return right

    def _behind(self, axes: Any) -> None:
        """What was skipped, hatched; what lies outside the box or was not looked at, dark."""
        curves = self.curves
        self._hatch(axes)
        ended = curves.end if curves.near < curves.end < curves.far else curves.far
        for low, high in ((self.plot.t.low, curves.near), (ended, self.plot.t.high)):
            if high > low and not curves.missed:
                axes.axvspan(low, high, color=COLORS["ground"], lw=0, zorder=0.5)

    def _hatch(self, axes: Any) -> None:
        for low, high in self.curves.skips:
            axes.axvspan(low, high, facecolor="none", edgecolor=COLORS["border"], hatch="////", lw=0, zorder=0.6)

    def _marks(self, axes: Any) -> None:
        curves, told = self.curves, self.plot.t.text
        found = {
            "true": curves.true_depth,
            "median": curves.median_depth,
            "expected": curves.expected_depth,
            "end": curves.end if curves.end_reason == "opaque" else 0.0,
        }
        names = []
        for name, t in found.items():
            if t > 0 and self.plot.t.low <= t <= self.plot.t.high:
                color, style = MARKS[name]
                axes.axvline(t, color=color, ls=style, lw=1.1, zorder=3, gid=f"{name}-{self.number}")
                words = f"ended: {curves.end_reason}" if name == "end" else f"{name} {told(t)}"
                names.append((words, color, style))
        if axes is not self.density or not names:
            return
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], color=color, ls=style, lw=1.1) for _, color, style in names]
        legend = axes.legend(lines, [words for words, _, _ in names], loc="upper left", fontsize=7.5, handlelength=1.6)
        axes.add_artist(legend)
        legend.set_zorder(5)

    def _legend(self, axes: Any, named: list[tuple[str, str]]) -> None:
        """What the curves of a row are, in one line above it."""
        from matplotlib.lines import Line2D

        handles = []
        for name, _ in named:
            dot, color = name == "stem", COLORS.get(name, "none")
            handles.append(Line2D([], [], color=color, lw=0 if dot else 3, marker="o" if dot else ""))
        legend = axes.legend(
            handles, [words for _, words in named], loc="lower left", bbox_to_anchor=(-0.01, 0.98), ncols=len(named),
            fontsize=7.5, handlelength=0.9, borderpad=0.2, columnspacing=1.4, handletextpad=0.5,
        )  # fmt: skip
        axes.add_artist(legend)


def _rgb(code: str) -> np.ndarray:
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0


def _over_checker(rgba: np.ndarray) -> np.ndarray:
    """(2, 2, 3): a premultiplied colour over a checkerboard."""
    behind = np.array([[0.32, 0.46], [0.46, 0.32]])[..., None]
    return np.clip(rgba[:3] + (1.0 - rgba[3]) * behind, 0.0, 1.0)
