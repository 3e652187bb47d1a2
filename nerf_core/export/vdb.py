"""A density as an OpenVDB file that Blender and others read: one float grid, a fog volume, zip-compressed.

No package for today's Python writes OpenVDB, and Blender's own Python can do so in some builds only; the part of the
format that one dense float grid needs is small. It is the layout that OpenVDB's `Archive`, `RootNode`, `InternalNode`
and `LeafNode` write (file version 224): a tree of 32^3, 16^3 and 8^3 children, topology first, then the leaves' values.
"""

import struct
import uuid
import zlib
from pathlib import Path

import numpy as np

from ..contract.files import write_beside
from .ownership import MARK

_MAGIC, _FILE_VERSION, _LIBRARY = 0x56444220, 224, (10, 0)
_ZIP = 1
HAZE = 0.001
_ALL_VALUES = 6  # "no mask; all values are stored"
_LEAF, _LOWER, _UPPER = 8, 16, 32  # values along a side of each kind of node, and children


def write_vdb(
    path: str | Path, density: np.ndarray, origin: np.ndarray, spacing: float | np.ndarray, name: str = "density"
) -> None:
    """Write a density as `path`; beside, then renamed.

    Parameters
    ----------
    path : path
    density : (X, Y, Z) float array
        Per world unit; up to 4096 voxels a side.
    origin : (3,) array
        World position of the first voxel's centre.
    spacing : float or (3, 3) array
        A voxel's side, world units; or the steps along the three axes of the array, as columns.
    name : str
        Of the grid.
    """
    density = np.asarray(density, dtype="<f4")
    if density.ndim != 3 or max(density.shape) > _LEAF * _LOWER * _UPPER or min(density.shape) < 1:
        raise ValueError(f"a density of shape {density.shape} does not fit the grid")
    steps = np.eye(3) * spacing if np.ndim(spacing) == 0 else np.asarray(spacing, float)
    write_beside(path, lambda temporary: _fill(temporary, density, np.asarray(origin, float), steps, name))


def without_haze(density: np.ndarray, bounds: np.ndarray, faintest: float) -> np.ndarray:
    """The density with 0 wherever nothing of it is seen.

    That is where the field's own renderer passes it over, being under `faintest` (`Method.faintest_density`), and where
    it would stop less than `HAZE` of the light all along the (2, 3) box's longest side: a field is never quite 0, and
    what is 0 needs no room in the file and no time as it is rendered.
    """
    least = max(faintest, HAZE / float(np.max(bounds[1] - bounds[0])))
    return np.where(density >= least, density, np.float32(0.0))


def write_npz(path: str | Path, density: np.ndarray, origin: np.ndarray, spacing: float) -> None:
    """Write the same as a NumPy archive: `density` (X, Y, Z), `origin` (3,), `spacing`."""

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as stream:
            # Not compressed as a whole: the mark in front says whose file it is.
            np.savez(stream, made_by=np.array(MARK.encode()), density=density, origin=origin, spacing=spacing)

    write_beside(path, fill)


def _fill(path: Path, density: np.ndarray, origin: np.ndarray, steps: np.ndarray, name: str) -> None:
    top, lower, leaves = _tree(density)
    grid = bytearray(struct.pack("<I", _ZIP))  # which grows in place
    shown = [int(n) - 1 for n in density.shape]
    grid += _metadata(
        [
            ("class", "string", b"fog volume"),
            ("file_bbox_max", "vec3i", struct.pack("<3i", *shown)),
            ("file_bbox_min", "vec3i", struct.pack("<3i", 0, 0, 0)),
            ("is_saved_as_half_float", "bool", b"\0"),
            ("name", "string", name.encode()),
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3], matrix[3, :3] = steps.T, origin  # row vectors: voxel indices times this are world positions
    grid += _text("AffineMap") + matrix.astype("<f8").tobytes()
    grid += struct.pack("<I", 1)  # buffers of a tree
    grid += struct.pack("<fII", 0.0, 0, 1)  # background; tiles; children
    grid += struct.pack("<3i", 0, 0, 0)
    grid += _bits(top, _UPPER) + _bits(np.zeros_like(top), _UPPER) + _values(np.zeros(_UPPER**3, "<f4"))
    nothing = _values(np.zeros(_LOWER**3, "<f4"))
    buffers: list[bytes] = []
    for children, masks, blocks in zip(lower, *leaves, strict=True):
        grid += _bits(children, _LOWER) + _bits(np.zeros_like(children), _LOWER) + nothing
        grid += masks.tobytes()
        buffers.extend(mask.tobytes() + _values(block) for mask, block in zip(masks, blocks, strict=True))
    head = struct.pack("<q3I", _MAGIC, _FILE_VERSION, *_LIBRARY) + b"\1"
    head += str(uuid.uuid5(uuid.NAMESPACE_OID, f"{MARK} {zlib.crc32(density.tobytes())}")).encode()
    head += _metadata([("creator", "string", MARK.encode())])
    head += struct.pack("<I", 1) + _text(name) + _text("Tree_float_5_4_3") + _text("")
    start = len(head) + 24
    values = b"".join(buffers)
    with open(path, "wb") as stream:
        stream.write(head)
        stream.write(struct.pack("<3q", start, start + len(grid), start + len(grid) + len(values)))
        stream.write(grid)
        stream.write(values)


def _tree(density: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], tuple[list[np.ndarray], list[np.ndarray]]]:
    """Which children each node has, and the leaves under each lower node: (masks (N, 64) uint8, values (N, 512))."""
    reach = _LEAF * _LOWER
    blocks = np.pad(density, [(0, -n % reach) for n in density.shape])
    x, y, z = (n // reach for n in blocks.shape)
    # Lower nodes in order, in each its leaves in order, in each its values in order: x slowest everywhere.
    blocks = blocks.reshape(x, _LOWER, _LEAF, y, _LOWER, _LEAF, z, _LOWER, _LEAF)
    blocks = blocks.transpose(0, 3, 6, 1, 4, 7, 2, 5, 8).reshape(x, y, z, _LOWER**3, _LEAF**3)
    full = blocks.any(axis=-1)
    top = np.zeros((_UPPER,) * 3, bool)
    top[:x, :y, :z] = full.any(axis=-1)
    places = [tuple(place) for place in np.argwhere(top)]
    lower = [full[place] for place in places]
    values = [blocks[place][full[place]] for place in places]
    masks = [np.packbits(block != 0, axis=-1, bitorder="little") for block in values]
    return top.ravel(), lower, (masks, values)


def _bits(mask: np.ndarray, side: int) -> bytes:
    """A node's mask: one bit a child, in words of 64."""
    assert mask.size == side**3
    return np.packbits(mask.ravel(), bitorder="little").tobytes()


def _values(values: np.ndarray) -> bytes:
    """A node's values, compressed."""
    raw = np.ascontiguousarray(values, dtype="<f4").tobytes()
    packed = zlib.compress(raw, 1)
    if len(packed) >= len(raw):  # a size of zero or less says that they are stored as they are
        return struct.pack("<bq", _ALL_VALUES, -len(raw)) + raw
    return struct.pack("<bq", _ALL_VALUES, len(packed)) + packed


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _metadata(entries: list[tuple[str, str, bytes]]) -> bytes:
    parts = [struct.pack("<I", len(entries))]
    parts += [_text(name) + _text(kind) + struct.pack("<I", len(value)) + value for name, kind, value in entries]
    return b"".join(parts)
