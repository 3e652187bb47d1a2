"""How the slices of a DICOM series lie: sorted, evenly spaced, square to their axis, or a sentence why not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError
from ..contract.json_data import shown

UNEVEN = 0.1
"""How far a slice may lie from where even spacing has it, in steps: positions are rounded when they are written."""
TILT = 0.2
"""Degrees between the slices' axis and the way from slice to slice, below which it is rounding."""
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Slice:
    """One image of a series.

    Attributes
    ----------
    file, frame : Path, int
        Where its pixels are.
    rows, columns : int
    position : (3,) array
        The first pixel's centre, LPS millimetres.
    across, down : (3,) arrays
        Unit vectors from column to column, and from row to row.
    spacing : (2,) array
        Millimetres between rows, and between columns (DICOM's order).
    thickness : float or None
    slope, intercept : float
        From stored values to Hounsfield units.
    padding : (int, int) or None
        Stored values, both included, that mean that nothing was measured.
    unit : str
        What the values are said to be after rescaling; usually empty.
    """

    file: Path
    frame: int
    rows: int
    columns: int
    position: np.ndarray
    across: np.ndarray
    down: np.ndarray
    spacing: np.ndarray
    thickness: float | None
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    unit: str


def slices_of(file: Path, header: Any) -> list[Slice]:
    """The images of one file: one, or all frames of an enhanced (multi-frame) one.

    Raises
    ------
    DataError
        When a value that is needed is missing or no number.
    """
    if int(header.get("SamplesPerPixel") or 1) != 1 or "MONOCHROME" not in str(
        header.get("PhotometricInterpretation") or "MONOCHROME2"
    ):
        kind = shown(str(header.get("PhotometricInterpretation") or "colour"))
        raise DataError(f"'{file}' is a colour picture ({kind}), not a CT image; choose the original series.")
    frames = int(header.get("NumberOfFrames") or 1)
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None:
        if frames > 1:
            raise DataError(f"'{file}' has {frames} frames and does not say where they lie; export it slice by slice.")
        return [_slice(file, 0, header, [header])]
    if len(per_frame) != frames:
        raise DataError(f"'{file}' has {frames} frames and places {len(per_frame)}; export it again.")
    shared = list(header.get("SharedFunctionalGroupsSequence") or [])
    return [_slice(file, index, header, [group, *shared]) for index, group in enumerate(per_frame)]


def _slice(file: Path, frame: int, header: Any, groups: list[Any]) -> Slice:
    def value(name: str, sequence: str) -> Any:
        for group in groups:
            inner = group.get(sequence)
            found = inner[0].get(name) if inner else group.get(name)
            if found is not None:
                return found
        return None

    def numbers(name: str, sequence: str, count: int, without: str) -> np.ndarray:
        found = value(name, sequence)
        if found is None:
            raise DataError(f"'{file}' has no {without}")
        try:
            array = np.array(found, dtype=np.float64).reshape(-1)
        except (TypeError, ValueError):
            array = np.empty(0)
        if array.shape != (count,) or not np.isfinite(array).all():
            raise DataError(f"'{file}' holds no usable {name}: {shown(str(found), 60)}; export it again.")
        return array

    place = "place of its image in the patient (ImagePositionPatient): a CT cannot be built from it."
    turn = "direction of its image in the patient (ImageOrientationPatient): a CT cannot be built from it."
    size = "size of its pixels (PixelSpacing): a CT cannot be built from it at true size."
    scale = (
        "rescale slope and intercept, so that its values cannot be turned into Hounsfield units; export the original "
        "series."
    )
    position = numbers("ImagePositionPatient", "PlanePositionSequence", 3, place)
    axes = numbers("ImageOrientationPatient", "PlaneOrientationSequence", 6, turn).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    if np.abs(lengths - 1.0).max() > 0.01 or abs(axes[0] @ axes[1]) > 0.01:
        raise DataError(f"'{file}' has image axes that are not square to each other; export the series again.")
    spacing = numbers("PixelSpacing", "PixelMeasuresSequence", 2, size)
    if min(spacing) <= 0:
        raise DataError(f"'{file}' has pixels of no size (PixelSpacing {spacing}); export the series again.")
    thickness = value("SliceThickness", "PixelMeasuresSequence")
    return Slice(
        file=file,
        frame=frame,
        rows=int(header.Rows),
        columns=int(header.Columns),
        position=position,
        across=axes[0] / lengths[0],
        down=axes[1] / lengths[1],
        spacing=spacing,
        thickness=float(thickness) if thickness else None,
        slope=float(numbers("RescaleSlope", "PixelValueTransformationSequence", 1, scale)[0]),
        intercept=float(numbers("RescaleIntercept", "PixelValueTransformationSequence", 1, scale)[0]),
        padding=_padding(header),
        unit=str(value("RescaleType", "PixelValueTransformationSequence") or ""),
    )


def _padding(header: Any) -> tuple[int, int] | None:
    first = header.get("PixelPaddingValue")
    if first is None:
        return None
    ends = []
    for end in (first, header.get("PixelPaddingRangeLimit")):
        number = int(first if end is None else end)
        if int(header.get("PixelRepresentation") or 0) == 1 and number > 32767:
            number -= 65536  # written as if it had no sign
        ends.append(number)
    return min(ends), max(ends)


def place_slices(path: Path, slices: Sequence[Slice]) -> tuple[list[Slice], np.ndarray, list[str]]:
    """Slices in the order in which they lie, the affine from (column, row, slice) to RAS mm, and warnings.

    Raises
    ------
    DataError
        When they are of different sizes or directions, share a place, are missing, uneven, or sheared by a tilted
        gantry.
    """
    first = slices[0]
    for other in slices[1:]:
        if (other.rows, other.columns) != (first.rows, first.columns):
            raise DataError(
                f"The images of the series differ in size: '{first.file}' has {first.columns}x{first.rows} pixels, "
                f"'{other.file}' {other.columns}x{other.rows}; choose a folder with one series."
            )
        if np.abs(other.spacing - first.spacing).max() > 1e-3 * first.spacing.max():
            raise DataError(
                f"The images of the series differ in the size of their pixels: '{first.file}' has {first.spacing} mm, "
                f"'{other.file}' {other.spacing} mm; choose a folder with one series."
            )
        if max(np.abs(other.across - first.across).max(), np.abs(other.down - first.down).max()) > 2e-3:
            raise DataError(
                f"The images of the series look in different directions: '{first.file}' and '{other.file}'; choose a "
                "folder with one series."
            )
    normal = np.cross(first.across, first.down)
    slices = sorted(slices, key=lambda part: float(part.position @ normal))
    warnings = []
    first = slices[0]
    if len(slices) == 1:
        step = normal * (first.thickness or float(first.spacing.max()))
        warnings.append("It is a single slice; its thickness is taken from the file.")
    else:
        step = _even_step(path, slices, normal)
    if first.unit and first.unit.upper() not in ("HU", "US"):
        warnings.append(f"Its values are said to be '{shown(first.unit, 20)}', not Hounsfield units.")
    affine = np.eye(4)
    affine[:3, 0] = first.across * first.spacing[1]
    affine[:3, 1] = first.down * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = first.position
    return slices, LPS_TO_RAS @ affine, warnings


def _even_step(path: Path, slices: list[Slice], normal: np.ndarray) -> np.ndarray:
    """(3,) LPS millimetres from slice to slice."""
    positions = np.array([part.position for part in slices])
    heights = (positions - positions[0]) @ normal
    steps = np.diff(heights)
    usual = float(np.median(steps))
    twice = np.flatnonzero(steps < 0.01 * max(usual, 0.01))
    if len(twice):
        one, other = slices[twice[0]], slices[twice[0] + 1]
        raise DataError(
            f"'{one.file.name}' and '{other.file.name}' in '{path}' show the same place: the series is mixed "
            f"({len(twice)} places are there twice, as in a scan over time); keep one image of each place."
        )
    gaps = np.flatnonzero(steps > 1.5 * usual)
    if len(gaps):
        missing = int(np.round(steps[gaps] / usual - 1.0).sum())
        one, other = slices[gaps[0]], slices[gaps[0] + 1]
        raise DataError(
            f"{missing} {'slice is' if missing == 1 else 'slices are'} missing in '{path}': between '{one.file.name}' "
            f"and '{other.file.name}' are {steps[gaps[0]]:.2f} mm instead of {usual:.2f} mm; copy the series again."
        )
    drift = positions[-1] - positions[0] - heights[-1] * normal
    tilt = float(np.degrees(np.arctan2(np.linalg.norm(drift), heights[-1])))
    if tilt > TILT:
        raise DataError(
            f"The slices in '{path}' are sheared by {tilt:.1f} degrees, as a tilted gantry leaves them; resample the "
            "series to straight slices first."
        )
    off = positions - positions[0] - np.outer(np.linspace(0.0, 1.0, len(slices)), positions[-1] - positions[0])
    if np.linalg.norm(off, axis=1).max() > UNEVEN * usual:
        raise DataError(
            f"The slices in '{path}' are not evenly spaced (steps of {steps.min():.3f} to {steps.max():.3f} mm); "
            "resample the series first."
        )
    return (positions[-1] - positions[0]) / (len(slices) - 1)
