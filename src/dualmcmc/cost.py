"""What an iteration costs, worked out by running the method on torch's meta device: nothing is computed.

FLOPs count a multiplication and an addition as two, in convolutions and matrix products, forward and
backward as each part runs them: chains differentiate for their state only, losses for weights.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dualmcmc.methods import JEM
from dualmcmc.noise import Noise
from dualmcmc.settings import Config
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.storage import pretrained
from dualmcmc.teaching import Update, teaching
from dualmcmc.trio import Trio

FLOAT = 4
"""Bytes of a float32."""
CLASSES = 10
"""Of JEM, where the data are to say."""
COPIES = 5
"""Weights, gradients, Adam's two moments, the average."""


def parameters(trio: Trio) -> dict[str, int]:
    """Learned numbers per network; of those a method has none of, 0."""
    counts = dict.fromkeys(("energy", "generator", "inference"), 0)
    return {**counts, **{name: sum(p.numel() for p in net.parameters()) for name, net in trio.named_children()}}


def iteration(config: Config) -> dict[str, Any]:
    """Parameters, FLOPs per iteration by part, and bytes of memory of one process.

    Returns:
        parameters (energy, generator, inference), flops_per_iteration, flops_by_part (data_chain,
        latent_chain, losses), memory_bytes (weights with gradients, moments and average; activations kept
        for the losses' backward; what the method remembers; the sum, which an allocator's slack adds to).
    """
    b, images = config.optim.batch_size, config.images
    if isinstance(config.method, JEM) and not config.method.classes:  # left to data that are not at hand
        config = replace(config, method=replace(config.method, classes=CLASSES))
    with torch.device("meta"):
        trio = pretrained.build_trio(config, spectral_norm=False)
        x = torch.empty(b, images.channels, images.size, images.size)
        # After any first phase (VAEBM's autoencoder), every image seen before.
        step = getattr(config.method, "vae_steps", 0)
        labels, positions = torch.zeros(b, dtype=torch.int64), torch.zeros(b, dtype=torch.int64)
    module = teaching(trio, config.method)
    update = Update(step=step, batch=b, total=b, images=positions, labels=labels)
    _run(module, x, update, _Watch())  # fills buffers
    with _Counter() as counter:
        watch = _Watch(counter)
        _run(module, x, update, watch)
        by_part = watch.finish()
    counts = parameters(trio)
    kept = {
        "weights": sum(counts.values()) * FLOAT * COPIES,
        "activations": max(watch.saved),
        "memory": sum(t.numel() * t.element_size() for t in (*module.rows.values(), *module.tables.values())),
    }
    return {
        "parameters": counts,
        "flops_per_iteration": sum(by_part.values()),
        "flops_by_part": by_part,
        "memory_bytes": {**kept, "total": sum(kept.values())},
    }


def _run(module: Any, x: Tensor, update: Update, watch: _Watch) -> None:
    """One update's forwards and backwards."""
    for phase in range(module.phases):
        with torch.autograd.graph.saved_tensors_hooks(watch.pack, lambda tensor: tensor):
            losses = module(x, _NoNoise(0), watch, update._replace(phase=phase))
        watch.phase_done()
        losses.total().backward()
        module.zero_grad()
        watch.mark("losses")


class _NoNoise(Noise):
    """Draws of the right shape that hold nothing."""

    def _fill(self, eps: Tensor, keys: Sequence[int]) -> None:
        pass


class _Watch(Stopwatch):
    """Books FLOPs, not seconds, and the bytes that autograd keeps after the last chain of a phase."""

    def __init__(self, counter: _Counter | None = None) -> None:
        super().__init__(enabled=False)
        self.counter, self.booked = counter, 0
        self.by_part: dict[str, int] = defaultdict(int)
        self._kept: dict[int, Tensor] = {}
        self.saved = [0]

    def mark(self, part: str) -> None:
        """The FLOPs since the last mark belong to `part`; what chains kept until now is free again."""
        if self.counter is not None:
            self.by_part["losses" if part in ("other", "update") else part] += self.counter.total - self.booked
            self.booked = self.counter.total
        self._kept.clear()

    def pack(self, tensor: Tensor) -> Tensor:
        """Autograd keeps this tensor for a backward."""
        self._kept[id(tensor)] = tensor  # held, so that no id is reused
        return tensor

    def phase_done(self) -> None:
        """The losses are there, their backward is not."""
        self.saved.append(sum(t.numel() * t.element_size() for t in self._kept.values()))
        self._kept.clear()

    def finish(self) -> dict[str, int]:
        """FLOPs by part."""
        return {part: self.by_part[part] for part in ("data_chain", "latent_chain", "losses")}


class _Counter(TorchDispatchMode):
    """Adds up torch's own counts; its FlopCounterMode cannot count an `autograd.grad` of a module's input."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs of the convolutions and matrix products that `work` runs, forward and backward."""
    with _Counter() as counter:
        work()
    return counter.total
