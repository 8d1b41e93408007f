"""What an iteration costs, worked out from the networks on torch's meta device: nothing is computed.

FLOPs count a multiplication and an addition as two, in convolutions and matrix products, forward and
backward as each part runs them: chains differentiate for their state only, losses for weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dualmcmc.settings import Config
from dualmcmc.storage import pretrained
from dualmcmc.trio import Trio

FLOAT = 4
"""Bytes of a float32."""
COPIES = 5
"""Weights, gradients, Adam's two moments, the average."""


def parameters(trio: Trio) -> dict[str, int]:
    """Learned numbers per network."""
    return {name: sum(p.numel() for p in network.parameters()) for name, network in trio.named_children()}


def iteration(config: Config) -> dict[str, Any]:
    """Parameters, FLOPs per iteration by part, and bytes of memory of one process.

    Returns:
        parameters (energy, generator, inference), flops_per_iteration, flops_by_part (data_chain,
        latent_chain, losses), memory_bytes (weights with gradients, moments and average; activations kept
        for the losses' backward; the sum, which an allocator's slack adds to).
    """
    method, b = config.method, config.optim.batch_size
    with torch.device("meta"):
        live = pretrained.plain_networks(config)
        frozen = pretrained.plain_networks(config).requires_grad_(False)
        x = torch.empty(b, config.images.channels, config.images.size, config.images.size)
        z = torch.empty(b, config.networks.latent_dim)
    chain_x, chain_z = x.clone().requires_grad_(), z.clone().requires_grad_()
    forward_g = flops_of(lambda: frozen.g(z))
    # Views, as the counter's hooks cannot follow `grad` to a leaf that enters a module.
    data_chain = flops_of(lambda: torch.autograd.grad(frozen.h(chain_x.view_as(x)).sum(), chain_x))
    latent_chain = flops_of(lambda: torch.autograd.grad(frozen.log_joint(x, chain_z.view_as(z)).sum(), chain_z))
    forward_i = flops_of(lambda: frozen.q(x))
    losses = flops_of(lambda: _losses(live, x, z).backward())
    by_part = {
        "data_chain": forward_g + method.data_chain.steps * data_chain,
        "latent_chain": forward_i + method.latent_chain.steps * latent_chain,
        "losses": losses,
    }
    counts = parameters(live)
    fixed = sum(counts.values()) * FLOAT * COPIES
    activations = _saved_bytes(lambda: _losses(live, x, z))
    return {
        "parameters": counts,
        "flops_per_iteration": sum(by_part.values()),
        "flops_by_part": by_part,
        "memory_bytes": {"weights": fixed, "activations": activations, "total": fixed + activations},
    }


def _losses(trio: Trio, x: Tensor, z: Tensor) -> Tensor:
    """The work of the three losses: the energy on both halves, generator and inference network on both pairs."""
    energy = trio.h(torch.cat([x, x])).sum()
    pairs = [trio.log_joint(x, z).sum() + trio.log_q(x, z).sum() for _ in range(2)]
    return energy + pairs[0] + pairs[1]


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


def _saved_bytes(work: Callable[[], object]) -> int:
    sizes: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)  # so that no id is reused
        sizes[id(tensor)] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(sizes.values())
