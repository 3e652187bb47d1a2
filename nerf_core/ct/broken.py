"""What goes wrong with files that anybody may have written, and how it is told."""

import math
import zlib
from pathlib import Path

from ..contract.errors import DataError
from ..contract.json_data import shown
from ..data.memory import free_memory

BROKEN = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
    MemoryError,
    zlib.error,
)
"""What the libraries raise for files that are damaged or not what they say."""


def reason(error: BaseException) -> str:
    """The first line of what a library said, as part of a sentence."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
    return shown(text, 160)


def check_memory(path: Path, shape: tuple[int, ...]) -> None:
    """Refuse a volume that does not fit, before it is read."""
    needed, free = 3 * 4 * math.prod(shape), free_memory()
    if free is not None and needed > free:
        raise DataError(
            f"'{path}' has {'x'.join(map(str, shape))} voxels: reading needs {needed / 1e9:.1f} GB of memory and "
            f"{free / 1e9:.1f} GB are free."
        )
