"""NVIDIA's driver by ctypes: load a compiled kernel, launch it on torch's stream; nothing else is needed for that."""

import ctypes
import functools
import os
from collections.abc import Sequence

from ...contract.errors import NerfError

_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_ERROR_LOG, _ERROR_LOG_BYTES = 5, 6  # CU_JIT_ERROR_LOG_BUFFER and its size
_FREE_SHARED = 48 << 10
"""Shared memory that a kernel may use without asking, in bytes."""


@functools.cache
def _library() -> ctypes.CDLL:
    names = ("nvcuda.dll",) if os.name == "nt" else ("libcuda.so.1", "libcuda.so")
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise NerfError("NVIDIA's driver library was not found: install the driver, or choose the device 'cpu'.")


def _check(code: int, what: str) -> None:
    if code:
        text = ctypes.c_char_p()
        _library().cuGetErrorString(code, ctypes.byref(text))
        raise RuntimeError(f"{what} failed: {(text.value or b'unknown error').decode()} (CUDA error {code})")


def bind_context(device: int) -> None:
    """Make torch's context of a device current in this thread, where none is yet."""
    library = _library()
    context = ctypes.c_void_p()
    _check(library.cuCtxGetCurrent(ctypes.byref(context)), "asking for the CUDA context")
    if context.value is None:
        _check(library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "taking the CUDA context")
        _check(library.cuCtxSetCurrent(context), "setting the CUDA context")


class Function:
    """One kernel, loaded into the current context.

    Parameters
    ----------
    image : bytes
        PTX or a cubin.
    name : str
        The kernel's name in it.
    shared : int
        Dynamic shared memory a block, in bytes.
    threads : int
        Threads a block.
    """

    def __init__(self, image: bytes, name: str, shared: int, threads: int) -> None:
        library = _library()
        log = ctypes.create_string_buffer(4096)
        options = (ctypes.c_int * 2)(_ERROR_LOG, _ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        self._module = ctypes.c_void_p()
        code = library.cuModuleLoadDataEx(ctypes.byref(self._module), image + b"\0", 2, options, values)
        _check(code, f"loading the kernel '{name}' ({log.value.decode(errors='replace').strip() or 'no log'})")
        self._handle = ctypes.c_void_p()
        code = library.cuModuleGetFunction(ctypes.byref(self._handle), self._module, name.encode())
        _check(code, f"finding the kernel '{name}'")
        if shared > _FREE_SHARED:
            code = library.cuFuncSetAttribute(self._handle, _MAX_DYNAMIC_SHARED, shared)
            _check(code, f"giving the kernel '{name}' {shared} bytes of shared memory")
        self._name, self._shared, self._threads = name, shared, threads

    def launch(self, grid: Sequence[int], stream: int, arguments: Sequence[ctypes._SimpleCData]) -> None:
        """Put a launch on a stream (a raw handle); `arguments` are copied before this returns."""
        x, y, z = (*grid, 1, 1)[:3]
        if not x * y * z:  # nothing to do, which the driver takes for an error
            return
        pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        code = _library().cuLaunchKernel(
            self._handle, x, y, z, self._threads, 1, 1, self._shared, ctypes.c_void_p(stream), pointers, None
        )
        _check(code, f"launching the kernel '{self._name}'")
