"""Compiling kernels ahead, for GPUs that need not be here: PTX by Triton, and what NVIDIA's assembler says of it."""

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from .images import Image
from .launch import Variant

PTX_VERSIONS = {80: 80, 90: 81}
"""Of the instruction set, times ten, by target. 8.0 is the oldest that knows compute capability 9.0, and drivers from
525 on take it; Hopper's additions of four numbers at once to memory came with 8.1, and need 530."""
ARCHITECTURES = {80: 80, 86: 80, 89: 80, 90: 90, 120: 80}
"""Architectures that are assembled for, and the target whose PTX each gets."""


@dataclass(frozen=True)
class Usage:
    """What a kernel needs of a multiprocessor, by the assembler's report.

    Attributes
    ----------
    registers : int
        A thread.
    stack : int
        Bytes a thread.
    spill_stores, spill_loads : int
        Bytes.
    shared : int
        Bytes a block, the dynamic ones included.
    """

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def compile_variant(kernel: Any, variant: Variant, target: int) -> Image:
    """Compile one variant of a `triton.jit` function for a target (80 or 90) to PTX.

    Needs a process in which Triton does not interpret. Line numbers are left out, as they name files of this machine.
    """
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as triton_compile

    attributes = {
        (index,): [["tt.divisibility", 16]] for index, (_, kind) in enumerate(variant.signature) if kind[0] == "*"
    }
    source = ASTSource(kernel, dict(variant.signature), dict(variant.constants), attributes)
    options = {"num_warps": variant.num_warps, "num_stages": variant.num_stages, "ptx_version": PTX_VERSIONS[target]}
    before = knobs.compilation.disable_line_info
    knobs.compilation.disable_line_info = True
    try:
        compiled = triton_compile(source, target=GPUTarget("cuda", target, 32), options=options)
    finally:
        knobs.compilation.disable_line_info = before
    metadata = compiled.metadata
    if metadata.global_scratch_size or metadata.profile_scratch_size:
        raise RuntimeError(f"the kernel '{variant.name}' wants scratch memory, which the launcher does not give")
    ptx = compiled.asm["ptx"]
    own = sum(kind != "constexpr" for _, kind in variant.signature)
    return Image(metadata.name, ptx, metadata.shared, metadata.num_warps, _parameter_count(ptx) - own)


def _parameter_count(ptx: str) -> int:
    entry = re.search(r"\.entry\s+\w+\s*\((.*?)\)", ptx, re.DOTALL)
    return len(re.findall(r"\.param\b", entry.group(1))) if entry else 0


def assemble(image: Image, architecture: int) -> Usage:
    """Assemble an image for an architecture (80, 86, ...) and read the assembler's report."""
    from triton import knobs

    tool = knobs.nvidia.ptxas_blackwell if architecture >= 100 else knobs.nvidia.ptxas
    suffix = "a" if ".target sm_90a" in image.ptx else ""
    with tempfile.TemporaryDirectory(prefix="nerf-toolkit-") as folder:
        source = Path(folder) / "kernel.ptx"
        source.write_text(image.ptx, encoding="utf-8")
        command = [tool.path, "-v", f"-arch=sm_{architecture}{suffix}", str(source), "-o", str(Path(folder) / "out")]
        answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        raise RuntimeError(f"'{image.name}' does not assemble for sm_{architecture}: {answer.stderr.strip()[:500]}")
    return read_report(answer.stderr, image.shared)


def read_report(text: str, dynamic_shared: int) -> Usage:
    """What ``ptxas -v`` says of one kernel."""

    def number(pattern: str) -> int:
        found = re.search(pattern, text)
        return int(found.group(1)) if found else 0

    return Usage(
        registers=number(r"Used (\d+) registers"),
        stack=number(r"(\d+) bytes stack frame"),
        spill_stores=number(r"(\d+) bytes spill stores"),
        spill_loads=number(r"(\d+) bytes spill loads"),
        shared=number(r"(\d+) bytes smem") + dynamic_shared,
    )


@dataclass(frozen=True)
class Built:
    """One variant, compiled: its images by target, and its usage by architecture."""

    variant: Variant
    images: dict[int, Image]
    usage: dict[int, Usage]


_work: list[tuple[Variant, Any]] = []


def _build(index: int, architectures: tuple[int, ...]) -> Built:
    variant, kernel = _work[index]
    targets = sorted({ARCHITECTURES[architecture] for architecture in architectures})
    images = {target: compile_variant(kernel, variant, target) for target in targets}
    usage = {each: assemble(images[ARCHITECTURES[each]], each) for each in architectures}
    return Built(variant, images, usage)


def build(
    variants: Mapping[Variant, Any],
    architectures: tuple[int, ...] = tuple(ARCHITECTURES),
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Built]:
    """Compile and assemble variants, in parallel.

    Parameters
    ----------
    variants : mapping of Variant to triton.jit function
        As :func:`.launch.recording` gives them.
    architectures : tuple of int
        Of `ARCHITECTURES`.
    processes : int, optional
        How many at once; the machine's cores by default.
    progress : callable, optional
        Called with how many are done, and of how many.
    """
    global _work
    _work = list(variants.items())
    count = processes or len(os.sched_getaffinity(0))
    results = []
    # Forked, so that the kernels' functions need not be found again; nothing in the children touches a GPU.
    with ProcessPoolExecutor(count, mp_context=get_context("fork")) as pool:
        futures = [pool.submit(_build, index, architectures) for index in range(len(_work))]
        for done, future in enumerate(futures, 1):
            results.append(future.result())
            if progress is not None:
                progress(done, len(futures))
    return results
