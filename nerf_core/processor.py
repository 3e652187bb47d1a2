"""Which processor this is, and how many of its cores this process may use."""

import os
import platform
from pathlib import Path


def processor_name() -> str:
    """As its maker calls it, where the system says so; may be empty."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def processor_cores() -> int | None:
    """That this process may run on; None where the system does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor() -> str:
    """Name and cores in words, for reports."""
    return f"{processor_name() or 'unknown'}, {processor_cores()} cores"
