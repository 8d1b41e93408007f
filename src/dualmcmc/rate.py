"""How fast this machine convolves: the best FLOP per second on the largest layers of a run's own networks.

Each layer runs forward and backward to its input, as chains do, in either memory layout, with random numbers in
the layer's shapes; no network is touched, and no randomness but a generator's own is used. A layer is timed on few
images first and on four times as many while time is left, up to the whole batch, so that a measurement takes
about the time it is given: milliseconds for tiny networks, on any machine.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from dualmcmc.methods import JEM
from dualmcmc.settings import Config, Guard, Optim, Run
from dualmcmc.stopwatch import Clock
from dualmcmc.storage import pretrained

LAYOUTS = {"channels_last": torch.channels_last, "default": torch.contiguous_format}
ROUNDS = 4
"""Times that the same work is timed; the shortest counts, so the first, which warms up, does no harm."""
FIRST = 2 * 10**8
"""FLOPs of the first images timed, where one image has not more."""
MOST = 2 * 10**10
"""FLOPs of one image beyond which a layer is not timed."""
NUMBERS = 2**26
"""Most numbers of a tensor: a quarter of a GB in float32."""
GAIN = 1.3
"""Times faster from which bfloat16 is worth a word."""


class Layer(NamedTuple):
    """A convolution, by its shapes."""

    image: tuple[int, ...]
    """(C, H, W) of its input."""
    kernel: tuple[int, ...]
    how: tuple[Any, ...]
    """Stride, padding, dilation, whether it is transposed, output padding, groups."""
    out: int
    """Numbers of its output for one image."""
    flops: int
    """Of one image, forward and backward to the input."""

    def size(self) -> int:
        """Numbers of the larger of input and output, for one image."""
        return max(math.prod(self.image), self.out)

    def quick(self) -> bool:
        """Whether it can be timed in little time and memory."""
        return self.flops <= MOST and max(self.size(), math.prod(self.kernel)) <= NUMBERS


class _Layers(TorchDispatchMode):
    """Counts the convolutions that run, by what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[Layer] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket is torch.ops.aten.convolution:
            x, kernel, _, *how = args
            at = x if how[3] else out  # a transposed one multiplies its kernel with each pixel of its input
            flops = 4 * kernel.numel() * math.prod(at.shape[2:])
            how = [tuple(each) if isinstance(each, list | tuple) else each for each in how]
            self.seen[Layer(tuple(x.shape[1:]), tuple(kernel.shape), tuple(how), out[0].numel(), flops)] += 1
        return out


def counted(net: nn.Module, x: Tensor) -> Counter[Layer]:
    """The convolutions that `net` runs on x (B, *), each with how often; free on the meta device."""
    with torch.no_grad(), _Layers() as layers:
        net(x)
    return layers.seen


def convolutions(net: nn.Module, x: Tensor) -> list[Layer]:
    """The distinct ones, the costliest first."""
    return sorted(counted(net, x), key=lambda layer: -layer.flops)


def convolution_rate(
    layers: Sequence[Layer],
    rows: int,
    *,
    device: str | torch.device,
    dtype: torch.dtype = torch.float32,
    limit: float = 1.0,
) -> float:
    """The best FLOP per second of these convolutions in either layout; 0.0 if none is quick enough to be timed.

    Arguments:
        layers: as `convolutions` gives them.
        rows: images at a time, at most.
        device: where.
        dtype: of all numbers; `torch.autocast` must be off.
        limit: seconds that it takes, about; one image of each layer, in each layout, is timed in any case.
    """
    quick = [layer for layer in layers if layer.quick()]
    works = [(layer, layout) for layer in quick for layout in LAYOUTS.values()]
    with torch.inference_mode(False), torch.enable_grad():
        rates = [_best(*work, rows, torch.device(device), dtype, limit / len(works)) for work in works]
    return max(rates, default=0.0)


def _best(
    layer: Layer, layout: torch.memory_format, rows: int, device: torch.device, dtype: torch.dtype, limit: float
) -> float:
    """FLOP per second of one layer in one layout."""
    clock, began, best = Clock(device), time.perf_counter(), 0.0
    rows = min(rows, max(1, NUMBERS // layer.size()))
    count = min(rows, max(1, FIRST // layer.flops))
    while True:
        work = _work(layer, count, device, dtype, layout)
        took = math.inf
        for _ in range(ROUNDS):
            took = min(took, clock.seconds(work))
            best = max(best, count * layer.flops / took)
            left = limit - (time.perf_counter() - began)
            if left < 0:
                return best
        if count == rows or left < 4 * took:
            return best
        count = min(rows, 4 * count)


def _work(
    layer: Layer, rows: int, device: torch.device, dtype: torch.dtype, layout: torch.memory_format
) -> Callable[[], object]:
    x = _numbers((rows, *layer.image), device, dtype).to(memory_format=layout).requires_grad_()
    kernel = _numbers(layer.kernel, device, dtype).to(memory_format=layout)

    def work() -> object:
        y = torch.convolution(x, kernel, None, *layer.how)
        return torch.autograd.grad(y, x, y.detach())

    return work


def _numbers(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Normal numbers that repeat: drawing them all would take longer than the convolutions."""
    count = math.prod(shape)
    few = torch.randn(min(count, 2**16), generator=torch.Generator().manual_seed(0)).to(device, dtype)
    return few.repeat(math.ceil(count / len(few)))[:count].view(*shape)


# -- of a run ------------------------------------------------------------------------------------


def of(config: Config, *, device: str | torch.device, precision: str | None = None, limit: float = 1.0) -> float:
    """This machine's rate on the costliest layer of the run's energy network and of its generator.

    Arguments:
        config: whose batch is the process's own.
        device: where.
        precision: fp32 or bf16; by default the run's.
        limit: seconds, about.
    """
    bf16 = (precision or config.precision) == "bf16"
    with _no_tf32(not bf16):
        layers, rows = largest(config), config.optim.batch_size
        dtype = torch.bfloat16 if bf16 else torch.float32
        return convolution_rate(layers, rows, device=device, dtype=dtype, limit=limit)


def gain_of_bf16(config: Config, *, device: str | torch.device, limit: float = 1.0) -> float:
    """How many times faster this machine convolves in bfloat16 than in float32, as measured on the run's layers.

    0.0 where it is not at all: a small layer says so, as bfloat16 that is emulated may be very slow.
    """
    small = Layer((64, 16, 16), (64, 64, 3, 3), ((1, 1), (1, 1), (1, 1), False, (0, 0), 1), 2**14, 9 * 2**22)
    with _no_tf32(True):
        tried = [
            convolution_rate([small], 1, device=device, dtype=dtype, limit=0.1)
            for dtype in (torch.float32, torch.bfloat16)
        ]
    if tried[1] < tried[0]:
        return 0.0
    slow = of(config, device=device, precision="fp32", limit=limit)
    return of(config, device=device, precision="bf16", limit=limit) / slow if slow else 0.0


def largest(config: Config) -> list[Layer]:
    """The costliest layer that can be timed of the run's energy network, and of its generator."""
    return _largest(replace(config, data="-", optim=Optim(batch_size=1), run=Run(), guard=Guard(), seed=0))


@lru_cache(maxsize=64)
def _largest(config: Config) -> list[Layer]:
    if isinstance(config.method, JEM) and not config.method.classes:
        config = replace(config, method=replace(config.method, classes=2))
    images, found = config.images, []
    with torch.device("meta"):
        trio = pretrained.build_trio(config, spectral_norm=False)
        x = torch.empty(1, images.channels, images.size, images.size)
        z = torch.empty(1, config.networks.latent_dim)
    trio.eval()
    for net, at in ((trio.energy, x), (trio.generator, z)):
        layers = convolutions(net, at) if net is not None else []
        found += [layer for layer in layers if layer.quick()][:1]
    return found


@contextmanager
def _no_tf32(wanted: bool) -> Iterator[None]:
    """Inside, if wanted, float32 convolutions are that on CUDA, as in training (`training/setup.py`)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = before and not wanted
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
