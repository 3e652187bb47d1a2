"""CT volumes in NIfTI files, by nibabel: reading any orientation, writing what other programs place rightly."""

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.errors import DataError, NerfError
from ..contract.files import MARK, write_bytes
from .broken import BROKEN, check_memory, reason
from .volume import AIR_HU, MAX_VOXELS, Volume

ENDINGS = (".nii", ".nii.gz", ".hdr", ".img")
PADDING_HU = -1024.0
"""Below it nothing was measured: such values fill the corners that a scanner does not see."""
MOST_HU = 100_000.0
"""Above it nothing is: scanners with an extended scale end at 2^16."""
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}


def is_nifti(path: Path) -> bool:
    """Whether a file's name says so."""
    return path.name.lower().endswith(ENDINGS)


def read_nifti(path: str | Path) -> Volume:
    """A volume of Hounsfield units from a NIfTI file.

    The scale in its header is applied; the sform says where it lies, else the qform.

    Raises
    ------
    DataError
        When the file is no NIfTI, damaged, or not one volume of numbers; the sentence names it.
    """
    import nibabel

    path = Path(path)
    try:
        return _read(path)
    except FileNotFoundError:
        raise DataError(f"'{path}' does not exist.") from None
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *BROKEN) as error:
        raise DataError(
            f"'{path}' is cut short, damaged, or not NIfTI ({reason(error)}); copy or convert it again."
        ) from error


def _read(path: Path) -> Volume:
    import nibabel

    image: Any = nibabel.load(path)
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        asked = "it holds a series of volumes; save one of them by itself" if len(shape) > 3 else "save a whole volume"
        raise DataError(f"'{path}' has {len(shape)} dimensions ({'x'.join(map(str, shape))}), not 3: {asked}.")
    if min(shape) < 1 or math.prod(shape) > MAX_VOXELS:
        raise DataError(f"'{path}' says that it has {'x'.join(map(str, shape))} voxels, which cannot be read.")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise DataError(
            f"'{path}' holds {'colours' if kind.fields else 'values'} of type {kind}, not Hounsfield units."
        )
    check_memory(path, shape)
    with np.errstate(all="ignore"):  # what is no number is told of below
        values = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
        affine, warnings = _placed(path, image)
    values, more = cleaned(values)
    return Volume(values, affine, path.name, (*warnings, *more))


def cleaned(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Hounsfield units with air for padding and for what is no number, and what looks wrong with them."""
    warnings = []
    bad = ~np.isfinite(values)
    if bad.any():
        warnings.append(f"{int(bad.sum())} voxels hold no number and count as air.")
        values = np.where(bad, np.float32(AIR_HU), values)
    values = np.where(values < PADDING_HU, np.float32(AIR_HU), values).astype(np.float32, copy=False)
    low, high = float(values.min()), float(values.max())
    if low == high:
        warnings.append(f"All of its voxels have the same value, {low:g}: there is nothing to be seen.")
    elif high > MOST_HU:
        warnings.append(f"Its values go up to {high:g}: no material has so many Hounsfield units.")
    elif low >= 0.0 and high > 1.5:
        warnings.append(
            f"Its values go from {low:g} to {high:g}: where is the air (-1000)? They may not be Hounsfield units."
        )
    elif low >= -1.5 and high <= 1.5:
        warnings.append(f"Its values go from {low:g} to {high:g}: they do not look like Hounsfield units.")
    return values, tuple(warnings)


def write_nifti(path: str | Path, volume: Volume) -> Path:
    """Write a volume as `.nii` or `.nii.gz`, beside and renamed.

    Whole numbers are kept as 16 bits, others as float32; millimetres, sform and qform are set.

    Raises
    ------
    NerfError
        When the name ends otherwise or the file cannot be written.
    """
    import nibabel

    path = Path(path)
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise NerfError(f"A CT is written as NIfTI: '{path.name}' must end in .nii or .nii.gz.")
    values = volume.values
    low, high = float(values.min()), float(values.max())
    if -32768 <= low and high <= 32767 and np.array_equal(values, np.round(values)):
        values = values.astype(np.int16)
    image: Any = nibabel.Nifti1Image(values, volume.affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = MARK
    image.set_sform(volume.affine, 1)
    image.set_qform(volume.affine, 1)
    data = image.to_bytes()
    write_bytes(path, _zipped(data) if name.endswith(".gz") else data)
    return path


def _placed(path: Path, image: Any) -> tuple[np.ndarray, list[str]]:
    """Voxel indices to RAS millimetres, and what is doubtful about it."""
    header, warnings = image.header, []
    affine = np.array(image.affine, dtype=np.float64)
    sform, qform = (int(header[key]) if key in header else 0 for key in ("sform_code", "qform_code"))
    if not sform and not qform:
        warnings.append(
            "It does not say how the patient lies (neither sform nor qform): its axes are taken to run left, front "
            "and up, as in Analyze files, so that sides may be wrong."
        )
    elif sform and qform:
        other = image.get_qform()
        corners = np.array([[0, 0, 0, 1], [*(np.array(image.shape[:3]) - 1), 1]], dtype=np.float64)
        away = np.abs(corners @ (affine - other).T).max()
        if not away < 0.5:
            warnings.append(f"Its sform and qform differ by {away:.1f} mm; the sform is used.")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(f"'{path}' does not say where its voxels lie: the affine in its header has no inverse.")
    units = header.get_xyzt_units()[0] if hasattr(header, "get_xyzt_units") else "mm"
    affine[:3] *= _MILLIMETRES.get(units, 1.0)
    return affine, warnings


def _zipped(data: bytes) -> bytes:
    """As gzip, with our mark as its comment, so that the file is known as ours without being unpacked."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    head = b"\x1f\x8b\x08\x10" + bytes(4) + b"\x00\xff" + MARK.encode("ascii") + b"\0"
    tail = zlib.crc32(data).to_bytes(4, "little") + (len(data) % 2**32).to_bytes(4, "little")
    return head + packer.compress(data) + packer.flush() + tail
