"""Which memory layout suits which network: each one's most frequent work, timed in both."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dualmcmc.langevin import score
from dualmcmc.networks.layers import FullConv2d, FullConvTranspose2d
from dualmcmc.rate import LAYOUTS
from dualmcmc.stopwatch import Clock
from dualmcmc.teaching import inference_loss
from dualmcmc.trio import Trio


class Layout(TorchFunctionMode):
    """Inside, whoever asks for a memory layout by name gets this one, so that fixed ones compare."""

    def __init__(self, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.memory_format = memory_format

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("memory_format") in LAYOUTS.values():
            kwargs["memory_format"] = self.memory_format
        return func(*args, **kwargs)


def layout_of(net: nn.Module) -> str:
    """The layout that the network's largest kernel is in."""
    matrices = FullConv2d | FullConvTranspose2d
    kernels = [
        p
        for module in net.modules()
        if not isinstance(module, matrices)
        for p in module.parameters(recurse=False)
        if p.ndim == 4 and p.shape[2] * p.shape[3] > 1
    ]
    kernel = max(kernels, key=torch.Tensor.numel)
    return "channels_last" if kernel.is_contiguous(memory_format=torch.channels_last) else "default"


def times(trio: Trio, x: Tensor, clock: Clock, rounds: int) -> dict[str, dict[str, Any]]:
    """A chain step of h and of g, a loss of q: best seconds in either layout, and the layout in use."""
    z = torch.randn(len(x), trio.latent_dim, device=x.device)
    works: dict[str, dict[str, Callable[[], object]]] = {"energy": {}, "generator": {}, "inference": {}}
    for name, memory_format in LAYOUTS.items():
        twin, mode = trio.frozen(), Layout(memory_format)
        twin.to(memory_format=memory_format)  # type: ignore[call-overload]
        twin.inference.requires_grad_(True)
        steps: dict[str, Callable[[], object]] = {
            "energy": partial(score, twin.h, x),
            "generator": partial(score, partial(twin.log_joint, x), z),
            "inference": partial(_learn, twin, x, z),
        }
        for network, work in steps.items():
            works[network][name] = partial(_inside, mode, work)
    found: dict[str, dict[str, Any]] = {}
    for network, by_layout in works.items():
        for step in by_layout.values():
            step()
        best: dict[str, float] = dict.fromkeys(by_layout, float("inf"))
        for _ in range(rounds):
            for name, step in by_layout.items():
                best[name] = min(best[name], clock.seconds(step))
        found[network] = {**best, "in_use": layout_of(trio.get_submodule(network))}
    return found


def _learn(trio: Trio, x: Tensor, z: Tensor) -> object:
    return torch.autograd.grad(inference_loss(trio, x, z), list(trio.inference.parameters()))


def _inside(mode: Layout, step: Callable[[], object]) -> None:
    with mode:
        step()


def table(results: dict[str, dict[str, Any]]) -> Table:
    """One row per case and network."""
    rows = Table(
        title="Best milliseconds in either memory layout: h's and g's chain step, q's loss with gradients"
    )
    for heading in ("case", "network", *LAYOUTS, "in use", "the faster"):
        rows.add_column(heading)
    for name, r in results.items():
        for network, row in r["layouts"].items():
            faster = min(LAYOUTS, key=row.__getitem__)
            gain = max(row[key] for key in LAYOUTS) / row[faster] - 1
            mark = "" if faster == row["in_use"] else ", not in use"
            shown = [f"{1000 * row[key]:.3g}" for key in LAYOUTS]
            rows.add_row(name, network, *shown, row["in_use"], f"{faster} by {gain:.0%}{mark}")
    return rows
