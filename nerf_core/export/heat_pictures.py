"""Heat maps as pictures: colours, and below them a bar with numbers, the mean and what it was compared with."""

from typing import Any

import numpy as np

from ..contract.heat import HeatKind, colour_table, coloured, top_value
from ..methods.cost import HIT_ALPHA

PAPER, INK, PALE = (24, 24, 27), (238, 238, 238), (170, 170, 176)
SMALLEST_WIDTH = 300
"""Pixels: a smaller map is enlarged by a whole number, so that its numbers can be read."""
REFERENCES = {"data": "the data set's own view", "full": "the run's full sampling"}


def heat_numbers(values: np.ndarray, alpha: np.ndarray, kind: HeatKind, top: float | None = None) -> dict[str, Any]:
    """What a heat map amounts to.

    Parameters
    ----------
    values : (H, W) float array
    alpha : (H, W) float array
        Of the picture; pixels of at least `HIT_ALPHA` show the subject.
    kind : HeatKind
    top : float, optional
        Of the scale; by default it is chosen.

    Returns
    -------
    dict
        `least`, `most` and `mean` over all pixels; `mean_hit`, `median_hit` and `most_hit` (the 95th percentile) over
        those that show the subject (None without any); and `top`, the value of the last colour.
    """
    hit = alpha >= HIT_ALPHA
    return {
        "least": float(values.min()),
        "most": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
        "mean_hit": float(values[hit].mean(dtype=np.float64)) if hit.any() else None,
        "median_hit": float(np.median(values[hit])) if hit.any() else None,
        "most_hit": float(np.quantile(values[hit], 0.95)) if hit.any() else None,
        "top": top_value(values, kind) if top is None else top,
    }


def heat_picture(
    values: np.ndarray, kind: HeatKind, numbers: dict[str, Any], reference: str | None = None
) -> np.ndarray:
    """A heat map with its legend below.

    Parameters
    ----------
    values : (H, W) float array
    kind : HeatKind
    numbers : dict
        Of :func:`heat_numbers`.
    reference : {'data', 'full'}, optional
        What errors are measured against.

    Returns
    -------
    (K H + band, K W, 3) uint8 array
        The map's pixels K x K each, K the smallest whole number that makes it wide enough for its legend.
    """
    from PIL import Image, ImageDraw, ImageFont

    zoom = -(-SMALLEST_WIDTH // values.shape[1])
    shown = coloured(values, numbers["top"], kind.colours).repeat(zoom, axis=0).repeat(zoom, axis=1)
    height, width = shown.shape[:2]
    size = int(np.clip(width // 32, 11, 30))
    gap = max(6, size // 2)
    sheet = Image.new("RGB", (width, height + 5 * size + 3 * gap), PAPER)
    sheet.paste(Image.fromarray(shown), (0, 0))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)

    def write(text: str, x: float, y: int, anchor: str, fill: tuple[int, int, int] = INK) -> None:
        draw.text((x, y), text, fill=fill, font=font, anchor=anchor)

    left, right, y = gap, width - gap, height + gap
    title = kind.label + (f", {kind.unit}" if kind.unit else "")
    write(title, left, y, "lt")
    against = REFERENCES.get(reference or "")
    if against and draw.textlength(f"{title}   against {against}", font=font) < right - left:
        write(f"against {against}", right, y, "rt", PALE)
    y += size + gap
    bar = colour_table(kind.colours)[np.linspace(0, 255.999, right - left).astype(int)]
    sheet.paste(Image.fromarray(np.broadcast_to(bar, (size, *bar.shape)).copy()), (left, y))
    y += size
    for part in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = left + part * (right - left - 1)
        draw.line((x, y, x, y + size // 4), fill=INK)
        over = "+" if part == 1.0 and numbers["most"] > numbers["top"] * 1.0001 else ""
        anchor = "lt" if part == 0.0 else "rt" if part == 1.0 else "mt"
        write(f"{number(part * numbers['top'])}{over}", x, y + size // 4 + 2, anchor)
    y += size + size // 4 + gap
    parts = [f"mean {number(numbers['mean'])}"]
    if numbers["mean_hit"] is not None:
        parts.append(f"on the subject {number(numbers['mean_hit'])}")
    parts.append(f"from {number(numbers['least'])} to {number(numbers['most'])}")
    if reference and numbers["most"] == 0.0:
        parts = ["the same everywhere"]
    while parts and draw.textlength("   ".join(parts), font=font) > right - left:
        parts.pop()
    write("   ".join(parts), left, y, "lt", PALE)
    return np.asarray(sheet)


def number(value: float) -> str:
    """Three digits that count."""
    return "0" if value == 0 else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
