"""What may be given where a CT is asked for: a NIfTI file, a DICOM folder or file, or the name of a phantom."""

from collections.abc import Callable
from pathlib import Path

from ..contract.errors import DataError
from .dicom import is_dicom, read_dicom
from .nifti import is_nifti, read_nifti
from .phantoms import DEFAULT_VOXELS, parse_phantom
from .volume import Volume


def read_ct(
    path: str | Path,
    series: str | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Volume:
    """A volume of Hounsfield units from a NIfTI file, a DICOM folder, or one file of a DICOM series.

    Parameters
    ----------
    path : path
    series : str, optional
        The series instance UID (or its end) to take from a folder that holds several.
    progress, should_stop : callable, optional
        Told the fraction of a DICOM series that is read; asked between its files.

    Raises
    ------
    Cancelled
        When `should_stop` said so.
    DataError
        When it cannot be read: one sentence that names the file and says what to do.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"'{path}' does not exist; name a NIfTI file, a DICOM folder, or phantom:KIND:SEED.")
    if path.is_dir() or is_dicom(path):
        return read_dicom(path, series, progress, should_stop)
    if is_nifti(path):
        return read_nifti(path)
    raise DataError(f"'{path}' is neither NIfTI (.nii, .nii.gz) nor DICOM.")


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
