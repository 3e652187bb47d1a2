"""glibc told to keep freed memory for the next step: fresh pages cost about a quarter of a small training on a CPU."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT = 1 << 30  # bytes at the top of the heap that may lie free before they go back to the system
MAPPED = 32 << 20  # the largest that glibc takes; larger arrays are mapped, and given back, by themselves


def keep_freed_memory() -> bool:
    """Let this process keep what a step frees, up to 1 GiB; returns whether the C library knows how (glibc does).

    Every step makes and frees the same arrays of some megabytes. By default glibc gives their pages back to the system,
    which fills them with zeros again for the next step.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; on Windows there is no library without a name
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, KEPT)) and bool(mallopt(M_MMAP_THRESHOLD, MAPPED))
