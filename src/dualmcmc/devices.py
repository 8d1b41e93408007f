"""Which device to compute on."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from dualmcmc.errors import InputError


def best_device() -> str:
    """cuda where there is one, else mps, else cpu: what training takes by itself."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def check_device(device: str | None) -> None:
    """Refuses a device that torch does not know or this machine does not have.

    Raises:
        InputError: naming those there are.
    """
    if device is None:
        return
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if device not in there:
        raise InputError(f"unknown device {device!r}: this machine has {', '.join(there)}")


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that this process has held until now, on a GPU the most that torch has allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # What getrusage gives on Linux begins, in a process that another has started, at that one's peak.
    status = Path("/proc/self/status")
    if status.is_file():
        peak = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), flags=re.M)
        if peak:
            return int(peak[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
