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

import llvmlite.binding as llvm
import numba
from numba.core import config as numba_config
from numba.core.caching import UserProvidedCacheLocator


def cache_folder() -> Path:
    """Where compiled kernels are kept: under NUMBA_CACHE_DIR if that is set, else in the user's cache folder."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve().parent
    constants = [here.parents[1] / "fields" / name for name in ("contraction.py", "hash_grid.py", "shell.py")]
    shared = [here.parent / "views.py", *constants]
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


def _writable_folder() -> Path | None:
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # the latter where the user has no home folder
        return None
    return folder if os.access(folder, os.W_OK) else None


# Without a folder to write to, the kernels still work: they are compiled anew in every process.
_FOLDER = _writable_folder()


def _compiled_mark(folder: Path) -> Path:
    """The file that says that everything has been compiled for this processor by this numba."""
    machine = f"{numba.__version__} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    told = f"{os.environ.get('NUMBA_CPU_NAME')} {os.environ.get('NUMBA_CPU_FEATURES')}"
    return folder / f"compiled-{hashlib.sha256(f'{machine} {told}'.encode()).hexdigest()[:12]}"


def needs_compiling() -> bool:
    """Whether kernels are still to be compiled, and what is compiled in another process can be found here."""
    return _FOLDER is not None and not _compiled_mark(_FOLDER).exists()


def say_compiled() -> None:
    """Remember that everything has been compiled."""
    if _FOLDER is not None:
        try:
            _compiled_mark(_FOLDER).touch()
        except OSError:
            pass  # the next process finds the kernels all the same, one by one


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
        return _FOLDER.name if _FOLDER else ""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile with numba: no GIL, no bounds checks, contracted and reassociated arithmetic, kept on disk."""
    return _compile(function, "never")


def compiled_inside(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, but as part of its caller: each compiled function that is called is optimised once more there."""
    return _compile(function, "always")


def compiled_strictly(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, but every operation is rounded by itself, as IEEE 754 says: for exact predicates."""
    return _compile(function, "never", strict=True)


def _compile(
    function: Callable[..., Any], inline: Literal["never", "always"], strict: bool = False
) -> Callable[..., Any]:
    settings: Any = numba_config  # its names are set at run time
    before = settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES
    settings.CACHE_DIR = str(_FOLDER or "")
    settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{KernelCacheLocator.__name__}"
    try:
        # Not the whole of fastmath: "nnan" and "ninf" would let the compiler drop the tests that catch bad numbers.
        options: Any = {"_nrt": False}  # a name that numba's types do not tell
        return numba.njit(
            inline=inline,
            nogil=True,
            # No reference counts: they would be two locked instructions for each of the some forty arrays that a
            # kernel hands to another, at each call. So kernels cannot allocate; their callers hold all arrays.
            **options,
            cache=_FOLDER is not None,
            fastmath=False if strict else {"contract", "reassoc", "nsz", "arcp"},
            error_model="numpy",
        )(function)
    finally:
        settings.CACHE_DIR, settings.CACHE_LOCATOR_CLASSES = before
