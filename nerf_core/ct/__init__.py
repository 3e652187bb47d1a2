"""CT volumes: read from NIfTI and DICOM, made from phantoms, resampled, written."""

from .nifti import write_nifti
from .source import open_source, read_ct
from .volume import Volume

__all__ = ["Volume", "open_source", "read_ct", "write_nifti"]
