"""From an update's losses to figures, and from many updates' figures to a line of the log."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dualmcmc.devices import peak_memory
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import Losses
from dualmcmc.training import optimisation
from dualmcmc.trio import Trio

UNLOGGED = ("stop", "seconds")
"""Figures that only the loop is told."""


def figures(losses: Losses, norms: dict[str, Tensor], **told: float) -> dict[str, Tensor]:
    """Losses, diagnostics and gradient norms by name, scalars, with numbers that the loop wants to hear of."""
    seen = {
        **{f"loss_{name}": loss for name, loss in losses.named().items()},
        **losses.seen,
        **{f"gradient_{name}": norm for name, norm in norms.items()},
    }
    if "energy_gap_h" in seen:
        seen["energy_gap_size"] = seen["energy_gap_h"].abs()  # gaps of processes must not cancel
    device = losses.total().device
    return {**seen, **{name: torch.full((), value, device=device) for name, value in told.items()}}


def summary(
    window: Sequence[dict[str, float]], trio: Trio, optimiser: torch.optim.Optimizer, watch: Stopwatch
) -> dict[str, Any]:
    """Means over the updates since the last line, rates, and each part's share of the time."""
    # A method may change what it teaches within a window (VAEBM): a figure's mean is over those that have it.
    names = dict.fromkeys(name for seen in window for name in seen if name not in UNLOGGED)
    line: dict[str, Any] = {name: fmean(seen[name] for seen in window if name in seen) for name in names}
    if "energy_gap_h" in line:
        line["energy_gap"] = line["energy_gap_h"] / trio.temperature
    groups = zip(optimisation.networks(trio), optimiser.param_groups, strict=True)
    line |= {f"rate_{name}": group["lr"] for name, group in groups}
    line["peak_memory_bytes"] = peak_memory(next(trio.parameters()).device)
    return {**line, **{f"share_{part}": share for part, share in watch.shares().items()}}
