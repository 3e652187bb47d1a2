"""What may be given where a CT is asked for: a NIfTI file, a DICOM folder or file, or the name of a phantom."""

from pathlib import Path

from ..contract.errors import DataError
from .nifti import is_nifti, read_nifti
from .phantoms import DEFAULT_VOXELS, parse_phantom
from .volume import Volume


def read_ct(path: str | Path, series: str | None = None) -> Volume:
    """A volume of Hounsfield units from a NIfTI file, a DICOM folder, or one file of a DICOM series.

    Parameters
    ----------
    path : path
    series : str, optional
        The series instance UID (or its end) to take from a folder that holds several.

    Raises
    ------
    DataError
        When it cannot be read: one sentence that names the file and says what to do.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"'{path}' does not exist; name a NIfTI file, a DICOM folder, or phantom:KIND:SEED.")
    if is_nifti(path):
        return read_nifti(path)
    raise DataError(f"'{path}' is no NIfTI file (.nii, .nii.gz).")


def open_source(source: str | Path, voxels: int = DEFAULT_VOXELS, series: str | None = None) -> Volume:
    """The volume of a path as `read_ct` takes it, or of `phantom:KIND:SEED`.

    Parameters
    ----------
    source : str or path
    voxels : int
        Of a phantom, along its longest side. (`phantoms.parse_phantom` gives the phantom itself.)
    series : str, optional
        See `read_ct`.
    """
    phantom = parse_phantom(str(source))
    return read_ct(source, series) if phantom is None else phantom.volume(voxels)
