"""Kernels that were compiled ahead: the files in ``ahead/`` beside this module, and what is found in them.

``ahead/sm_80.json`` and ``ahead/sm_90.json`` hold PTX as text; the driver assembles it for the GPU at hand, once, and
keeps the result. ``tools/build_kernels.py`` writes them; they are no part of the sources.
"""

import functools
import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .driver import Function, bind_context

FOLDER = Path(__file__).with_name("ahead")
TARGETS = (80, 90)
"""What is compiled ahead. PTX for 8.0 serves every later GPU; only 9.0 has matrix instructions of its own."""


@dataclass(frozen=True)
class Image:
    """One kernel compiled ahead.

    Attributes
    ----------
    name : str
        The kernel's name in the PTX.
    ptx : str
    shared : int
        Dynamic shared memory a block, in bytes.
    warps : int
    extra : int
        Null pointers that the kernel takes after its own arguments.
    """

    name: str
    ptx: str
    shared: int
    warps: int
    extra: int

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


_functions: dict[tuple[str, int, int], Function] = {}
_lock = threading.Lock()


def load(key: str, image: Image, device: int) -> Function:
    """The variant `key`'s image on a device; loads it the first time."""
    place = (key, device, hash(image.ptx))
    with _lock:
        if place not in _functions:
            bind_context(device)
            _functions[place] = Function(image.ptx.encode(), image.name, image.shared, 32 * image.warps)
        return _functions[place]


def fingerprint(folder: Path | None = None) -> str:
    """A hash of the sources that kernels are made of: this package (in `folder`, or here) and the constants of others.

    Images of other sources are left alone.
    """
    folder = folder or Path(__file__).parent
    constants = [folder.parents[1] / "fields" / name for name in ("contraction.py", "hash_grid.py")]
    digest = hashlib.sha256()
    for path in [*sorted(folder.glob("*.py")), *constants, folder.parent / "views.py"]:
        # Line ends differ where git changes them.
        digest.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def available(capability: tuple[int, int]) -> bool:
    """Whether there are images, of these very sources, for a GPU of that compute capability."""
    return bool(_read(_target(capability))) if capability >= (8, 0) else False


def find(key: str, capability: tuple[int, int]) -> Image | None:
    """The image of a kernel's variant, if there is one."""
    return _read(_target(capability)).get(key) if capability >= (8, 0) else None


def _target(capability: tuple[int, int]) -> int:
    return 90 if capability == (9, 0) else 80


@functools.cache
def _read(target: int) -> dict[str, Image]:
    try:
        content = json.loads((FOLDER / f"sm_{target}.json").read_text(encoding="utf-8"))
        if content["sources"] != fingerprint():
            return {}
        return {key: Image(**image) for key, image in content["kernels"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        # Absent or not ours: Triton compiles, or the backend says that it cannot.
        return {}
