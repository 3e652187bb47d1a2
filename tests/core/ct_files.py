"""CT files for tests: volumes whose values say where their voxels lie, as DICOM series and NIfTI."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

SLOPES = np.array([1.7, 2.3, -3.1])
SLOPE, INTERCEPT = 0.5, -1024.0
# Columns are the directions of the array's axes in RAS.
ORIENTATIONS = {
    "axial": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],  # as scanners store it: to the left, to the back, upwards
    "prone": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "coronal": [[-1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "sagittal": [[0, -1, 0], [0, 0, -1], [-1, 0, 0]],
    "swapped": [[0, 1, 0], [1, 0, 0], [0, 0, -1]],
}


def placed(orientation: str, spacing=(0.7, 0.9, 2.5), tilt: float = 0.0) -> np.ndarray:
    """(4, 4) indices to RAS mm, for one of `ORIENTATIONS`, turned by `tilt` degrees about (1, 1, 1)."""
    from nerf_core.ct.phantom_parts import turned

    affine = np.eye(4)
    affine[:3, :3] = turned((1, 1, 1), tilt) @ np.array(ORIENTATIONS[orientation], float).T * spacing
    affine[:3, 3] = (12.0, -34.0, 56.0)
    return affine


def positions(shape, affine: np.ndarray) -> np.ndarray:
    """(X, Y, Z, 3) RAS mm of all voxels."""
    return np.stack(np.indices(shape), axis=-1) @ affine[:3, :3].T + affine[:3, 3]


def telling(shape, affine: np.ndarray) -> np.ndarray:
    """(X, Y, Z) values that grow along all three axes of the patient."""
    return positions(shape, affine) @ SLOPES


def stored_value(values: np.ndarray) -> np.ndarray:
    return np.round((values - INTERCEPT) / SLOPE).astype(np.int16)


def image_header(shape, uid: str) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.StudyInstanceUID = uid, generate_uid()
    data.PatientName, data.SeriesDescription, data.Modality = "Nobody^Secret", "THORAX 1.0", "CT"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Columns, data.Rows = shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    return data


def write_series(
    folder: Path,
    shape,
    affine: np.ndarray,
    uid: str | None = None,
    edit: Callable[[Dataset, int], Any] | None = None,
    values: np.ndarray | None = None,
) -> str:
    """A series, a file a slice, named in no order; `edit` changes a slice, or drops it by returning False."""
    folder.mkdir(parents=True, exist_ok=True)
    uid = uid or generate_uid()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    stored = stored_value(telling(shape, affine) if values is None else values)
    for k in range(shape[2]):
        data = image_header(shape, uid)
        data.InstanceNumber = k + 1
        data.ImagePositionPatient = [round(float(v), 6) for v in lps[:3, :3] @ (0, 0, k) + lps[:3, 3]]
        axes = (lps[:3, :2] / spacing[:2]).T.ravel()
        data.ImageOrientationPatient = [round(float(v), 8) for v in axes]
        data.PixelSpacing = [spacing[1], spacing[0]]
        data.SliceThickness = spacing[2]
        data.RescaleSlope, data.RescaleIntercept = SLOPE, INTERCEPT
        data.PixelData = np.ascontiguousarray(stored[:, :, k].T).tobytes()
        if edit is None or edit(data, k) is not False:
            data.save_as(folder / f"IM{(k * 7) % 31:04d}{k}", enforce_file_format=True)
    return uid


def write_enhanced(path: Path, shape, affine: np.ndarray) -> None:
    """The same as one multi-frame file."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    data = image_header(shape, generate_uid())
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = shape[2]
    shared, turn, size, scale = (Dataset() for _ in range(4))
    turn.ImageOrientationPatient = [float(v) for v in (lps[:3, :2] / spacing[:2]).T.ravel()]
    size.PixelSpacing, size.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = SLOPE, INTERCEPT, "HU"
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [turn], [size]
    shared.PixelValueTransformationSequence = [scale]
    data.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for k in range(shape[2]):
        group, place = Dataset(), Dataset()
        place.ImagePositionPatient = [float(v) for v in lps[:3, :3] @ (0, 0, k) + lps[:3, 3]]
        group.PlanePositionSequence = [place]
        groups.append(group)
    data.PerFrameFunctionalGroupsSequence = groups
    data.PixelData = np.ascontiguousarray(stored_value(telling(shape, affine)).transpose(2, 1, 0)).tobytes()
    data.save_as(path, enforce_file_format=True)
