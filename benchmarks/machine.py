"""What the benchmarks measure with: the machine's rate of convolutions, memory."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dualmcmc import rate


def convolution_rate(nets: Sequence[tuple[nn.Module, Tensor]], dtype: torch.dtype) -> float:
    """The best FLOP per second of the three costliest convolutions of each of `nets` at these inputs."""
    layers = [layer for net, x in nets for layer in rate.convolutions(net, x)[:3]]
    x = nets[0][1]
    return rate.convolution_rate(layers, len(x), device=x.device, dtype=dtype, limit=10.0)


def isolated_rate(nets: Sequence[tuple[nn.Module, Tensor, int]], dtype: torch.dtype) -> float:
    """FLOP per second of all convolutions of `nets`, run alone, each in its best layout.

    Each net comes with its input and with how often it runs; forward and backward to the input, as in chains.
    """
    flops, seconds = 0.0, 0.0
    for net, x, times in nets:
        for layer, count in rate.counted(net, x).items():
            work = times * count * len(x) * layer.flops
            flops += work
            seconds += work / rate.convolution_rate([layer], len(x), device=x.device, dtype=dtype, limit=2.0)
    return flops / seconds


def peak_bytes(device: str, work: Callable[[], object] | None = None) -> int:
    """The most memory of this process until now; on a GPU, the most allocated there while `work` runs."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        if work is not None:
            work()
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    import resource  # no Windows has it

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(device: str) -> str:
    """What the numbers were measured on, in one line: no names of hosts or paths."""
    cpu, info = platform.machine(), Path("/proc/cpuinfo")
    if info.exists():
        models = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = models[0].partition(":")[2].strip() if models else cpu
    parts = [
        cpu,
        f"{os.cpu_count()} cores",
        f"{torch.get_num_threads()} threads",
        f"torch {torch.__version__}",
    ]
    if torch.device(device).type == "cuda":
        parts.insert(0, torch.cuda.get_device_name(device))
    return ", ".join([*parts, datetime.date.today().isoformat()])
