"""CT series in DICOM files, by pydicom: which files make up a series, and their pixels as Hounsfield units."""

import warnings as python_warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import Cancelled, DataError
from ..contract.json_data import shown
from .broken import BROKEN, check_memory, reason
from .dicom_geometry import Slice, place_slices, slices_of
from .nifti import cleaned
from .volume import AIR_HU, Volume

MAX_FILES = 50_000
CT_IMAGES = ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1")  # CT image, enhanced CT image
# Of a header, what decides: patients' names are not read.
HEADER = (
    "SOPClassUID SOPInstanceUID SeriesInstanceUID SeriesDescription SeriesNumber Modality ImageType Rows Columns "
    "PhotometricInterpretation SamplesPerPixel NumberOfFrames ImagePositionPatient ImageOrientationPatient "
    "PixelSpacing SliceThickness RescaleSlope RescaleIntercept RescaleType PixelRepresentation PixelPaddingValue "
    "PixelPaddingRangeLimit SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence"
).split()


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's preamble."""
    try:
        with open(path, "rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}.") from error


def read_dicom(
    path: str | Path,
    series: str | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Volume:
    """A CT series as a volume of Hounsfield units: slices sorted by where they lie, LPS turned to RAS.

    The array's first axis runs along a slice's rows (column by column), the second down, the third from slice to slice.

    Parameters
    ----------
    path : path
        A folder, with the folders in it, or one file of the series.
    series : str, optional
        The series instance UID, or its end, where there are several.
    progress, should_stop : callable, optional
        Told the fraction that is done; asked between files.

    Raises
    ------
    DataError
        When it is no CT series that fills a box evenly; the sentence says why and names the file.
    """
    path = Path(path)
    tell = progress or (lambda done: None)
    stop = should_stop or (lambda: False)
    headers = _headers(path, lambda done: tell(0.4 * done), stop)
    chosen = _one_series(path, headers, series)
    slices = [part for file, header in chosen for part in slices_of(file, header)]
    slices, affine, warnings = place_slices(path, slices)
    shape = (slices[0].columns, slices[0].rows, len(slices))
    check_memory(path, shape)
    values = np.empty(shape, np.float32)
    pixels: tuple[Path, np.ndarray] | None = None  # the file last read: all frames of a multi-frame one
    for index, part in enumerate(slices):
        if stop():
            raise Cancelled("reading was stopped")
        if pixels is None or pixels[0] != part.file:
            pixels = part.file, _stored(part.file)
        stored = pixels[1] if pixels[1].ndim == 2 else pixels[1][part.frame]
        values[:, :, index] = _hounsfield(part, stored).T
        tell(0.4 + 0.6 * (index + 1) / len(slices))
    values, more = cleaned(values)
    header = chosen[0][1]
    described = str(header.get("SeriesDescription") or "").strip()
    folder = path if path.is_dir() else path.parent
    name = f"{folder.name} {shown(described, 60)}".strip() if described else folder.name
    return Volume(values, affine, name, (*warnings, *more), str(slices[0].file))


def _headers(path: Path, tell: Callable[[float], None], stop: Callable[[], bool]) -> list[tuple[Path, Any]]:
    """Headers of all DICOM images in a folder; of a file: of those in its folder that belong to its series."""
    import pydicom
    from pydicom.errors import BytesLengthException, InvalidDicomError

    unreadable = InvalidDicomError, BytesLengthException, NotImplementedError

    def header(file: Path) -> Any:
        with python_warnings.catch_warnings():  # of values that break rules which matter to nobody here
            python_warnings.simplefilter("ignore")
            data = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=HEADER)
            for element in data.iterall():  # they are decoded when they are looked at: now, where it is caught
                element.value  # noqa: B018
        if not data.get("Rows") and data.file_meta.get("MediaStorageSOPClassUID") in CT_IMAGES:
            raise ValueError("it is cut short")
        return data

    if path.is_dir():
        files = []
        for file in path.rglob("*"):
            if stop():
                raise Cancelled("reading was stopped")
            if file.is_file():
                files.append(file)
            if len(files) > MAX_FILES:  # whatever else a disk holds is not walked through
                raise DataError(f"'{path}' holds more than {MAX_FILES} files; name the folder of one series.")
        files.sort()
        wanted = None
    else:
        files = sorted(file for file in path.parent.iterdir() if file.is_file())
        try:
            wanted = header(path).get("SeriesInstanceUID")
        except (*unreadable, *BROKEN) as error:
            raise DataError(f"'{path}' cannot be read as DICOM ({reason(error)}); copy it again.") from error
    found, broken = [], None
    for index, file in enumerate(files):
        if stop():
            raise Cancelled("reading was stopped")
        tell((index + 1) / len(files))
        if not is_dicom(file):
            continue
        try:
            one = header(file)
        except (*unreadable, *BROKEN) as error:
            broken = broken or (file, error)
            continue
        if one.get("Rows") and (path.is_dir() or file == path or (wanted and one.get("SeriesInstanceUID") == wanted)):
            found.append((file, one))
    if broken is not None:  # a slice of a volume would be missing
        raise DataError(f"'{broken[0]}' cannot be read as DICOM ({reason(broken[1])}); copy it again.") from broken[1]
    if not found or (path.is_file() and path not in [file for file, _ in found]):
        what = (
            f"Of the {len(files)} files in '{path}' none is a DICOM image"
            if path.is_dir()
            else f"'{path}' has no image"
        )
        raise DataError(f"{what}; name a folder with a CT series, or a NIfTI file.")
    return found


def _one_series(path: Path, headers: list[tuple[Path, Any]], asked: str | None) -> list[tuple[Path, Any]]:
    """The images of the one CT series, or of the one that was asked for."""
    by_series: dict[str, list[tuple[Path, Any]]] = {}
    for file, header in headers:
        by_series.setdefault(str(header.get("SeriesInstanceUID") or ""), []).append((file, header))
    if asked is not None:
        matching = [uid for uid in by_series if uid == asked] or [uid for uid in by_series if uid.endswith(asked)]
        if len(matching) != 1 or not asked:
            wrong = "is not in" if not matching else "is the end of several in"
            raise DataError(f"The series '{shown(asked)}' {wrong} '{path}', which holds {_listed(by_series)}.")
        by_series = {matching[0]: by_series[matching[0]]}
    elif len(by_series) > 1:
        # Overviews and what other machines made lie beside a CT in most folders: they are not meant.
        usual = {uid: some for uid, some in by_series.items() if _is_ct(some[0][1]) and not _is_localiser(some[0][1])}
        if len(usual) > 1:
            raise DataError(
                f"'{path}' holds {len(usual)} CT series: {_listed(usual)}. Name a file of one of them, or choose one "
                "by its UID or the end of that (series; on the command line --series)."
            )
        by_series = usual or by_series
    some = next(iter(by_series.values()))
    file, header = some[0]
    if not _is_ct(header):
        raise DataError(
            f"'{file}' is of modality {shown(str(header.get('Modality') or 'unknown'))}, not CT: its values are no "
            "Hounsfield units."
        )
    return some


def _is_ct(header: Any) -> bool:
    return str(header.get("Modality") or "").upper() == "CT"


def _is_localiser(header: Any) -> bool:
    kinds = header.get("ImageType") or ()
    return "LOCALIZER" in ([kinds] if isinstance(kinds, str) else list(kinds))


def _listed(by_series: dict[str, list[tuple[Path, Any]]]) -> str:
    """The series in words, a few of them."""
    words = []
    for uid, some in list(by_series.items())[:6]:
        description = str(some[0][1].get("SeriesDescription") or "").strip()
        kind = str(some[0][1].get("Modality") or "?")
        words.append(
            f"{shown(uid, 80)} ({kind}, {len(some)} images{', ' + shown(description, 40) if description else ''})"
        )
    more = len(by_series) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")


def _stored(file: Path) -> np.ndarray:
    """(rows, columns) or (frames, rows, columns): the values as they are stored."""
    import pydicom

    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")
            data = pydicom.dcmread(file)
            if "PixelData" not in data:
                raise DataError(f"'{file}' has no pixels; export the series again with its images.")
            return np.asarray(data.pixel_array)
    except (RuntimeError, NotImplementedError) as error:  # pydicom's way to say that it lacks a decoder
        syntax = data.file_meta.TransferSyntaxUID.name
        raise DataError(
            f"The pixels of '{file}' are compressed ({syntax}) and no decoder is installed for that; export the series "
            "uncompressed, or install pylibjpeg with its plugins into the core's Python."
        ) from error
    except BROKEN as error:
        raise DataError(f"The pixels of '{file}' are cut short or damaged ({reason(error)}); copy it again.") from error


def _hounsfield(part: Slice, stored: np.ndarray) -> np.ndarray:
    """(rows, columns) float32, with air where the scanner measured nothing."""
    if stored.shape != (part.rows, part.columns):
        raise DataError(f"The pixels of '{part.file}' are {stored.shape}, its header says {(part.rows, part.columns)}.")
    values = stored.astype(np.float32) * np.float32(part.slope) + np.float32(part.intercept)
    if part.padding is not None:
        low, high = part.padding
        values[(stored >= low) & (stored <= high)] = AIR_HU
    return values
