"""How the kernels are compiled, and where numba keeps what it compiled.

Numba looks only at a function's own file when it asks whether its cache is still good, but our kernels inline each
other across files: the cache folder therefore carries a digest of all of them.
"""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core import config as numba_config
from numba.core.caching import UserProvidedCacheLocator


def cache_folder() -> Path:
    """Where compiled kernels are kept: under NUMBA_CACHE_DIR if that is set, else in the user's cache folder."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve().parent
    shared = [here.parent / "views.py", here.parents[1] / "fields" / "hash_grid.py"]
    for path in [*sorted(here.glob("*.py")), *shared]:
        digest.update(path.name.encode() + path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nerf_toolkit"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "nerf_toolkit"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nerf_toolkit"
    return base / f"kernels-{digest.hexdigest()[:12]}"


_FOLDER = cache_folder()


def _writable() -> bool:
    try:
        _FOLDER.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(_FOLDER, os.W_OK)


# Without a folder to write to, the kernels still work: they are compiled anew in every process.
_CACHE = _writable()


class KernelCacheLocator(UserProvidedCacheLocator):
    """Keeps compiled kernels by what their sources say, not by where these lie and when they were written.

    A checkout, an installed extension and a copy of either then share what one of them compiled.
    """

    @classmethod
    def get_suitable_cache_subpath(cls, py_file: str) -> str:
        """Numba puts a hash of the source's folder here."""
        return "cpu"

    def get_source_stamp(self) -> str:
        """Numba compares this with what it kept; the folder's name already holds the digest of all sources."""
        return _FOLDER.name


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba: no GIL, no bounds checks, contracted and reassociated arithmetic, kept on disk."""
    return _compile(function, "never")


def compiled_inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, but as part of its caller: each compiled function that is called is optimised once more there."""
    return _compile(function, "always")


def _compile(function: Callable[..., Any], inline: Literal["never", "always"]) -> Callable[..., Any]:
    settings: Any = numba_config  # its names are set at run time
    before = settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES
    settings.CACHE_DIR = str(_FOLDER)
    settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{KernelCacheLocator.__name__}"
    try:
        # Not the whole of fastmath: "nnan" and "ninf" would let the compiler drop the tests that catch bad numbers.
        return numba.njit(
            inline=inline,
            nogil=True,
            cache=_CACHE,
            fastmath={"contract", "reassoc", "nsz", "arcp"},
            error_model="numpy",
        )(function)
    finally:
        settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES = before
