"""Launching kernels: in Triton's interpreter, compiled ahead through the driver, or compiled by Triton when first met.

A module writes ``@launched`` above ``@triton.jit`` and calls ``kernel[grid](...)`` as Triton has it.
"""

import ctypes
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...contract.errors import NerfError
from . import images
from .availability import interpreted, missing_to_compile
from .language import AVAILABLE

ALIGNMENT = 16
"""Bytes that every tensor's first element is aligned to: kernels are compiled for that."""
OPTIONS = {"num_warps": 4, "num_stages": 3}
"""What Triton's launch takes beside a kernel's own arguments, with its defaults."""
_POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.int32: "*i32",
    torch.int64: "*i64",
    torch.uint8: "*u8",
    torch.bool: "*i1",
    torch.int16: "*i16",
    torch.float64: "*fp64",
}
_C_TYPES = {"i1": ctypes.c_bool, "i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp32": ctypes.c_float}


@dataclass(frozen=True)
class Variant:
    """What a kernel is compiled for.

    Attributes
    ----------
    name : str
        The kernel's function.
    signature : tuple of (str, str)
        Arguments by name, in order, with their types in Triton's spelling; "constexpr" for what is compiled in.
    constants : tuple of (str, value)
        The arguments that are compiled in.
    num_warps, num_stages : int
    """

    name: str
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    num_warps: int
    num_stages: int

    @property
    def key(self) -> str:
        """The variant in one line of text, the same in every process."""
        types = ",".join(f"{name}:{kind}" for name, kind in self.signature)
        constants = ",".join(f"{name}={value!r}" for name, value in self.constants)
        return f"{self.name}({types})[{constants}]w{self.num_warps}s{self.num_stages}"


_recorded: dict[Variant, Callable] | None = None


@contextmanager
def recording() -> Iterator[dict[Variant, Callable]]:
    """Launch nothing in this block; gather the variants that would have been launched, with their functions."""
    global _recorded
    before, _recorded = _recorded, {}
    try:
        yield _recorded
    finally:
        _recorded = before


def launched(kernel: Any) -> Any:
    """A kernel that :class:`Kernel` launches; the interpreter's own stay as they are."""
    return kernel if AVAILABLE and interpreted() else Kernel(kernel)


class Kernel:
    """A kernel that is launched by ``kernel[grid](...)``; see the module's first lines."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        function = getattr(kernel, "fn", kernel)
        self.name: str = function.__name__
        self.__doc__ = function.__doc__
        self._parameters: list[tuple[str, bool, Any]] = []
        for parameter in inspect.signature(function).parameters.values():
            annotation = parameter.annotation
            name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
            constant = name.rpartition(".")[2].lower().endswith("constexpr")
            self._parameters.append((parameter.name, constant, parameter.default))

    def __getitem__(self, grid: Sequence[int]) -> Callable[..., None]:
        """What launches it over a grid of one to three sizes."""

        def launch(*arguments: Any, **named: Any) -> None:
            self._launch(tuple(grid), arguments, named)

        return launch

    def _launch(self, grid: tuple[int, ...], arguments: tuple, named: dict[str, Any]) -> None:
        options = {name: named.pop(name, default) for name, default in OPTIONS.items()}
        variant, values = self._variant(arguments, named, options)
        if _recorded is not None:
            _recorded.setdefault(variant, self.kernel)
            return
        tensor = next(value for value in values if isinstance(value, Tensor))
        if not tensor.is_cuda:
            raise RuntimeError(f"the kernel '{self.name}' was given tensors of the device '{tensor.device}'")
        image = images.find(variant.key, torch.cuda.get_device_capability(tensor.device))
        if image is not None and all(v.data_ptr() % ALIGNMENT == 0 for v in values if isinstance(v, Tensor)):
            stream = torch.cuda.current_stream(tensor.device).cuda_stream
            function = images.load(variant.key, image, tensor.device.index or 0)
            function.launch(grid, stream, _c_arguments(variant, values, image.extra))
        elif AVAILABLE and (missing := missing_to_compile()) is None:
            self.kernel[grid](*arguments, **named, **options)
        else:
            lacking = f"Triton needs {missing}" if AVAILABLE else "Triton is not installed"
            raise NerfError(
                f"The GPU kernel '{self.name}' was not compiled ahead for these settings, and cannot be compiled now, "
                f"because {lacking}: install it, or set the fast method's 'backend' to 'reference'."
            )

    def _variant(self, arguments: tuple, named: Mapping[str, Any], options: Mapping[str, int]) -> tuple[Variant, list]:
        given = dict(zip((name for name, _, _ in self._parameters), arguments, strict=False))
        given.update(named)
        signature, constants, values = [], [], []
        for name, constant, default in self._parameters:
            value = given.pop(name, default)
            if value is inspect.Parameter.empty:
                raise TypeError(f"the kernel '{self.name}' needs the argument '{name}'")
            if constant or value is None:
                signature.append((name, "constexpr"))
                constants.append((name, getattr(value, "value", value)))
            else:
                signature.append((name, _type_of(value)))
                values.append(value)
        if given:
            raise TypeError(f"the kernel '{self.name}' has no argument '{next(iter(given))}'")
        variant = Variant(self.name, tuple(signature), tuple(constants), options["num_warps"], options["num_stages"])
        return variant, values


def _type_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return _POINTERS[value.dtype]
    if isinstance(value, bool):
        return "i1"
    if isinstance(value, int):
        return "i32" if -(2**31) <= value < 2**31 else "i64"
    return "fp32"


def _c_arguments(variant: Variant, values: Sequence[Any], extra: int) -> list[Any]:
    """The values as C has them, and the null pointers that Triton's kernels take behind them."""
    kinds = [kind for _, kind in variant.signature if kind != "constexpr"]
    result: list[Any] = []
    for kind, value in zip(kinds, values, strict=True):
        result.append(ctypes.c_void_p(value.data_ptr()) if kind[0] == "*" else _C_TYPES[kind](value))
    return result + [ctypes.c_void_p(None)] * extra
