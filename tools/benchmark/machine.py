"""What was measured on, and whether others were using it."""

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any


def machine(device: str) -> dict[str, Any]:
    """Processor, cores, memory, and the GPU where one is asked for."""
    # Not at the top: the checkout is on the path only when a benchmark has begun.
    from nerf_core.processor import processor_cores, processor_name

    facts: dict[str, Any] = {"system": platform.platform(), "processor": processor_name(), "cores": processor_cores()}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    if device == "cuda":
        facts["gpu"] = _gpu()
    return facts


def _gpu() -> dict[str, str] | None:
    """Name, driver, memory and clock limits of the first GPU, from its driver's own tool."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    names = ("name", "driver_version", "memory.total", "clocks.max.sm", "clocks.max.memory", "power.limit")
    answer = subprocess.run(
        [tool, f"--query-gpu={','.join(names)}", "--format=csv,noheader"], capture_output=True, text=True, timeout=60
    )
    if answer.returncode != 0 or not answer.stdout.strip():
        return None
    values = answer.stdout.strip().splitlines()[0].split(",")
    return {name: value.strip() for name, value in zip(names, values, strict=False)}


def busy_cores(seconds: float = 0.5) -> float | None:
    """How many cores are at work while this process sleeps; None where the system does not tell."""
    before = _ticks()
    if before is None:
        return None
    time.sleep(seconds)
    after = _ticks()
    if after is None or after[1] == before[1]:
        return None
    share = 1.0 - (after[0] - before[0]) / (after[1] - before[1])
    return round(share * (os.cpu_count() or 1), 2)


def _ticks() -> tuple[int, int] | None:
    """Idle and all ticks since the start of the system (Linux)."""
    try:
        numbers = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return numbers[3] + numbers[4], sum(numbers)
