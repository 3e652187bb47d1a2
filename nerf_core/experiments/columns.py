"""What a result's numbers are: names, units, and which way is better. A new metric is a line more here."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """A number of a result.

    Attributes
    ----------
    key : str
        In `results.jsonl`.
    title, unit, about : str
        For a person.
    digits : int
        After the point.
    better : {'high', 'low', ''}
        The best of a column is marked in the report.
    """

    key: str
    title: str
    unit: str = ""
    digits: int = 2
    better: str = ""
    about: str = ""

    def value(self, row: dict[str, Any]) -> Any:
        """The number of a row, None where there is none."""
        return (row.get("metrics") or {}).get(self.key)

    def text(self, row: dict[str, Any]) -> str:
        """The number of a row as a person reads it; a dash where there is none."""
        value = self.value(row)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "–" if value is None else str(value)
        return f"{value:.{self.digits}f}"


COLUMNS = (
    Column("psnr", "PSNR", "dB", 2, "high", "of the rendered views against the truth, their mean"),
    Column("ssim", "SSIM", "", 4, "high", "structural similarity, Gaussian window of 11 pixels"),
    Column("volume_psnr", "volume PSNR", "dB", 2, "high", "of the volume; the peak is the truth's largest attenuation"),
    Column("volume_ssim", "volume SSIM", "", 4, "high", "mean over the slices along each axis, Gaussian window"),
    Column("radiograph_psnr", "radiograph PSNR", "dB", 2, "high", "of line integrals of views that were not given"),
    Column("radiograph_ssim", "radiograph SSIM", "", 4, "high", "of the same"),
    Column("perceptual", "LPIPS-like", "", 4, "low", "distance of the same as pictures, in a network's features"),
    Column("fid", "FID", "", 1, "low", "of samples against the population's radiographs, in a network's features"),
    Column("kid", "KID", "", 4, "low", "of the same"),
    Column("s_hit", "S_hit", "", 1, "low", "full evaluations (density and colour) a ray that hits the subject"),
    Column("s_all", "S_all", "", 1, "low", "full evaluations a ray, empty rays among them"),
    Column("s_max", "S_max", "", 0, "low", "full evaluations on the ray that has most"),
    Column("density_only", "density only", "", 1, "low", "evaluations of density alone, a ray"),
    Column("proposal", "proposal", "", 1, "low", "evaluations of something smaller that proposes samples, a ray"),
    Column("frame_ms", "frame", "ms", 0, "low", "to render a view, mean after one to warm up"),
    Column("depth_error", "depth error", "", 4, "low", "median distance to the known depth, world units"),
    Column("train_seconds", "training", "s", 1, "", "inside training steps; of a solver, all that it took"),
    Column("steps", "steps", "", 0, "", "of optimisation"),
)
TIMINGS = ("frame_ms", "train_seconds")
"""What is never twice the same."""
UNLISTED = {"rays", "hit_rays", "frame_pixels"}
"""What stands in a result and in no table."""
MAIN = ("psnr", "ssim", "s_hit", "frame_ms", "volume_psnr", "radiograph_psnr")
"""For where there is little room."""


def used(rows: list[dict[str, Any]]) -> list[Column]:
    """The columns that any of the rows has a number for; those that nobody has described come last."""
    present = {key: None for row in rows for key, value in (row.get("metrics") or {}).items() if value is not None}
    known = {column.key for column in COLUMNS} | UNLISTED
    own = [Column(key, key.replace("_", " "), digits=4) for key in present if key not in known]
    return [column for column in COLUMNS if column.key in present] + own


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as a table of plain text."""
    good = [row for row in rows if "error" not in row]
    columns = used(good)
    width = max((len(row["cell"]) for row in rows), default=4)
    wide = [max(len(column.title), *(len(column.text(row)) for row in good), 1) for column in columns]
    lines = ["  ".join([" " * width, *(f"{c.title:>{w}}" for c, w in zip(columns, wide, strict=True))])]
    for row in rows:
        if "error" in row:
            lines.append(f"{row['cell']:{width}}  failed: {row['error']}")
            continue
        numbers = (f"{column.text(row):>{w}}" for column, w in zip(columns, wide, strict=True))
        lines.append("  ".join([f"{row['cell']:{width}}", *numbers]))
    return lines
