"""How much memory is free, as far as the system tells without help."""

import os
from pathlib import Path


def free_memory() -> int | None:
    """Bytes that may still be used without swapping; all there are where only that is known; None where nothing is."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf, others not every name
        return None
