"""Points as PLY, as 3D Gaussian splatting and nerfstudio begin with."""

from pathlib import Path

import numpy as np

from ...vendor.nerf_core.contract.files import MARK, write_bytes
from .cloud import Cloud

_ROW = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")] + [(name, "u1") for name in ("red", "green", "blue")]
)


def write_ply(path: str | Path, cloud: Cloud) -> None:
    """Write points with normals (0 where unknown) and sRGB bytes: binary PLY, beside and renamed."""
    rows = np.zeros(len(cloud.position), dtype=_ROW)
    for i, (place, normal, color) in enumerate(zip("xyz", ("nx", "ny", "nz"), ("red", "green", "blue"), strict=True)):
        rows[place], rows[normal], rows[color] = cloud.position[:, i], cloud.normal[:, i], cloud.color[:, i]
    kinds = {"<f4": "float", "|u1": "uchar"}
    properties = "".join(f"property {kinds[_ROW[name].str]} {name}\n" for name in _ROW.names or ())
    head = f"ply\nformat binary_little_endian 1.0\ncomment {MARK}\nelement vertex {len(rows)}\n{properties}end_header\n"
    write_bytes(path, head.encode("ascii") + rows.tobytes())
