"""What the benchmarks measure with: a clock, the machine's rate of convolutions, memory."""

from __future__ import annotations

import datetime
import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualmcmc.cost import flops_of

LAYOUTS = {"channels_last": torch.channels_last, "default": torch.contiguous_format}


class Clock:
    """Seconds of a piece of work; on a GPU until it has done it."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, work: Callable[[], object]) -> float:
        """How long `work` takes."""
        self._settle()
        began = time.perf_counter()
        work()
        self._settle()
        return time.perf_counter() - began

    def best(self, work: Callable[[], object], rounds: int) -> float:
        """The shortest of `rounds` times, after one that is not counted."""
        work()
        return min(self.seconds(work) for _ in range(rounds))


def convolution_rate(nets: list[tuple[nn.Module, Tensor]], clock: Clock, rounds: int = 3) -> float:
    """The best FLOP per second of the costliest convolutions of `nets` at these inputs, in either layout.

    Each is run forward and backward to its input, as chains do.
    """
    best = 0.0
    for net, x in nets:
        works = sorted(((flops_of(w), w) for w in _convolutions(net, x)), key=lambda pair: -pair[0])
        for flops, work in works[:6]:  # three layers, each in both layouts
            best = max(best, flops / clock.best(work, rounds))
    return best


def _convolutions(net: nn.Module, x: Tensor) -> list[Callable[[], object]]:
    """The distinct convolutions that `net` runs on x, each in both layouts."""
    seen: dict[tuple[Any, ...], tuple[nn.Module, Tensor]] = {}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        key = (type(layer), inputs[0].shape, layer.out_channels, layer.kernel_size, layer.stride)
        seen[key] = (layer, inputs[0])

    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return [
        _convolution(layer, like, memory_format)
        for layer, like in seen.values()
        for memory_format in LAYOUTS.values()
    ]


def _convolution(layer: Any, like: Tensor, memory_format: torch.memory_format) -> Callable[[], object]:
    c_in, c_out = layer.in_channels, layer.out_channels
    twin = type(layer)(c_in, c_out, layer.kernel_size, layer.stride, layer.padding, bias=False)
    twin.to(like.device, memory_format=memory_format).requires_grad_(False)
    x = torch.randn(like.shape, device=like.device).to(memory_format=memory_format).requires_grad_()

    def work() -> object:
        y = twin(x)
        return torch.autograd.grad(y, x, torch.ones_like(y))

    return work


def peak_bytes(device: str, work: Callable[[], object] | None = None) -> int:
    """The most memory of this process until now; on a GPU, the most allocated there while `work` runs."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        if work is not None:
            work()
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
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
