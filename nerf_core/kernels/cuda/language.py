"""Triton for the kernels' modules, or what is left of it where it is not installed.

Without Triton the kernels' functions are never read, only named: :mod:`.launch` then runs what was compiled ahead.
So the modules can be imported, and their plain Python launchers called, with neither Triton nor a compiler.
"""

from types import SimpleNamespace
from typing import Any

__all__ = ["AVAILABLE", "tl", "triton"]

try:
    import triton
    import triton.language as tl

    AVAILABLE = True
except ImportError:
    AVAILABLE = False

    class _Constexpr:
        """Marks a kernel's argument that it is compiled for; holds a module's constant."""

        def __init__(self, value: Any) -> None:
            self.value = value

    def _jit(function: Any = None, **options: Any) -> Any:
        return function if function is not None else lambda kernel: kernel

    def _next_power_of_2(number: int) -> int:
        return 1 << max(number - 1, 0).bit_length()

    tl: Any = SimpleNamespace(constexpr=_Constexpr)  # type: ignore[no-redef]
    triton: Any = SimpleNamespace(  # type: ignore[no-redef]
        jit=_jit, cdiv=lambda total, part: -(-total // part), next_power_of_2=_next_power_of_2, language=tl
    )
