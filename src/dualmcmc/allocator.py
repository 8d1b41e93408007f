"""Freed memory that is kept: what an update frees, the next one needs again."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's malloc.h."""
NEVER = -1
PAD = 64 << 20
"""Bytes taken from the system at a time."""


def keep_freed_memory() -> bool:
    """Tells glibc to give no freed memory back to the system while this process lives; returns whether it does.

    Left to itself it maps large blocks anew each time and gives the heap's end back: an update then faults in its
    working set again, a page at a time, which may take a tenth of its time (`benchmarks/overheads.py`). The
    price is that a process stays as large as it has been. Where there is no glibc nothing happens, nor where the
    environment says how it shall behave (MALLOC_..., GLIBC_TUNABLES).
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return all([mallopt(M_MMAP_MAX, 0), mallopt(M_TRIM_THRESHOLD, NEVER), mallopt(M_TOP_PAD, PAD)])
