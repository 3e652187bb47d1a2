"""Meshes as files: PLY and OBJ in the training's own coordinates (Z up), GLB turned to Y up as glTF wants it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..contract.errors import NerfError
from ..contract.files import write_beside
from ..data.color import srgb_decode, to_bytes
from .mesh import Mesh
from .ownership import MARK

_FLOAT, _UINT, _USHORT = 5126, 5125, 5123  # glTF's names of component types
_VERTICES, _INDICES = 34962, 34963  # and of buffers


def write_mesh(path: str | Path, mesh: Mesh) -> None:
    """Write a mesh in the format that the file's name ends in; beside, then renamed.

    Raises
    ------
    NerfError
        When the name ends in none of `FORMATS`, or the file cannot be written.
    """
    write = FORMATS[mesh_format(path)]

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as stream:
            write(stream, mesh)

    write_beside(path, fill)


def mesh_format(path: str | Path) -> str:
    """The format that a file's name asks for; a `NerfError` where it is none of ours."""
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise NerfError(f"A mesh is written as {', '.join(FORMATS)}: '{Path(path).name}' must end in one of them.")
    return suffix


def _write_ply(stream: BinaryIO, mesh: Mesh) -> None:
    """Binary: position, normal, colour (uchar, sRGB); triangles."""
    rows = np.empty(len(mesh.vertices), dtype=[("xyz", "<f4", 3), ("normal", "<f4", 3), ("rgb", "|u1", 3)])
    rows["xyz"], rows["normal"], rows["rgb"] = mesh.vertices, mesh.normal, to_bytes(mesh.color)
    triangles = np.empty(len(mesh.faces), dtype=[("count", "|u1"), ("index", "<i4", 3)])
    triangles["count"], triangles["index"] = 3, mesh.faces
    header = [
        "ply",
        "format binary_little_endian 1.0",
        f"comment {MARK}",
        f"comment density_threshold {mesh.threshold:g}",
        f"element vertex {len(rows)}",
        *(f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header\n",
    ]
    stream.write("\n".join(header).encode("ascii"))
    stream.write(rows.tobytes())
    stream.write(triangles.tobytes())


def _write_obj(stream: BinaryIO, mesh: Mesh) -> None:
    """Text, with the colour (sRGB) behind each vertex as most programs read it."""
    stream.write(f"# {MARK}\n# Z is up; density threshold {mesh.threshold:g}\n".encode("ascii"))
    np.savetxt(stream, np.hstack([mesh.vertices, mesh.color]), fmt="v %.7g %.7g %.7g %.5f %.5f %.5f")
    np.savetxt(stream, mesh.normal, fmt="vn %.5f %.5f %.5f")
    np.savetxt(stream, np.repeat(mesh.faces + 1, 2, axis=1), fmt="f %d//%d %d//%d %d//%d")


def _write_glb(stream: BinaryIO, mesh: Mesh) -> None:
    """Binary glTF 2.0: Y up; colours linear in 16 bits; a material without shine."""

    def turned(vectors: np.ndarray) -> np.ndarray:
        return np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=-1).astype("<f4")

    positions = turned(mesh.vertices)
    color = np.ones((len(positions), 4))
    color[:, :3] = srgb_decode(mesh.color)
    arrays = (
        (positions, _FLOAT, "VEC3", _VERTICES),
        (turned(mesh.normal), _FLOAT, "VEC3", _VERTICES),
        (np.round(color * 65535).astype("<u2"), _USHORT, "VEC4", _VERTICES),
        (mesh.faces.astype("<u4").reshape(-1, 1), _UINT, "SCALAR", _INDICES),
    )
    views, accessors, offset = [], [], 0
    for index, (array, component, kind, target) in enumerate(arrays):  # all of them end on multiples of four bytes
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": index, "componentType": component, "count": len(array), "type": kind})
        offset += array.nbytes
    accessors[0].update(min=positions.min(axis=0).tolist(), max=positions.max(axis=0).tolist())
    accessors[2]["normalized"] = True
    primitive = {"attributes": {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}, "indices": 3, "material": 0}
    described = {
        "asset": {"version": "2.0", "generator": MARK},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "NeRF Mesh"}],
        "meshes": [{"name": "NeRF Mesh", "primitives": [primitive]}],
        "materials": [{"name": "NeRF Mesh", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(described, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    if 28 + len(text) + offset >= 1 << 32:
        raise NerfError("The mesh is too large for a GLB file; ask for fewer faces, or write a PLY file.")
    stream.write(b"glTF" + struct.pack("<II", 2, 28 + len(text) + offset))
    stream.write(struct.pack("<I", len(text)) + b"JSON" + text)
    stream.write(struct.pack("<I", offset) + b"BIN\0")
    for array, *_ in arrays:
        stream.write(array.tobytes())


FORMATS: dict[str, Callable[[BinaryIO, Mesh], None]] = {".ply": _write_ply, ".obj": _write_obj, ".glb": _write_glb}
