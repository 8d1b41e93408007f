"""One Adam with a parameter group per network, its schedule, gradient norms, and the average of weights.

Rates are a function of the step, so nothing about the schedule needs saving. Optimiser state goes in and
out as named tensors for `checkpoints.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from dualmcmc.errors import InputError
from dualmcmc.settings import Adam, Optim
from dualmcmc.trio import Trio


def networks(trio: Trio) -> list[str]:
    """Names of what learns, each with an Adam of its own; `extra` learns as the generator does."""
    return [name for name, network in trio.named_children() if any(True for _ in network.parameters())]


def adam_of(name: str, settings: Optim) -> Adam:
    """The Adam settings of one of `networks`."""
    found: Adam = getattr(settings, "generator" if name == "extra" else name)
    return found


def build_optimiser(trio: Trio, settings: Optim) -> torch.optim.Adam:
    """Adam with a group for each of `networks`, in this order."""
    groups = []
    for name in networks(trio):
        adam = adam_of(name, settings)
        decay = 0.0 if name == "extra" else adam.weight_decay
        parameters = list(trio.get_submodule(name).parameters())
        groups.append({"params": parameters, "lr": adam.rate, "betas": adam.betas, "weight_decay": decay})
    device = next(trio.parameters()).device.type
    return torch.optim.Adam(groups, fused=True if device in ("cpu", "cuda") else None)


def rate_factor(step: int, settings: Optim, *, steps: int, steps_per_epoch: int) -> float:
    """What update number `step` (from 0) of `steps` multiplies every rate by: warm-up times schedule."""
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    if settings.schedule == "epoch":
        return warm * settings.epoch_factor ** (step // steps_per_epoch)
    if settings.schedule == "linear":
        return warm * (1 - step / steps)
    if settings.schedule == "cosine":
        return warm * (1 + math.cos(math.pi * step / steps)) / 2
    return warm


def set_rates(
    trio: Trio, optimiser: torch.optim.Adam, settings: Optim, factor: float, ease: Callable[[str], float]
) -> None:
    """Each group's rate: its setting times `factor` times what `ease` makes of its network's name."""
    for name, group in zip(networks(trio), optimiser.param_groups, strict=True):
        group["lr"] = adam_of(name, settings).rate * factor * ease(name)


def clip(trio: Trio, settings: Optim) -> dict[str, Tensor]:
    """Norms of the networks' gradients, before clipping each to its setting; of those that have any."""
    norms = {}
    for name in networks(trio):
        parameters = [p for p in trio.get_submodule(name).parameters() if p.grad is not None]
        if not parameters:
            continue
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if limit := adam_of(name, settings).clip:
            nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        norms[name] = norm
    return norms


@torch.no_grad()
def weight_norms(trio: Trio) -> dict[str, float]:
    """The norms of all that each network learns."""
    parts = {name: list(trio.get_submodule(name).parameters()) for name in networks(trio)}
    return {name: nn.utils.get_total_norm(parameters).item() for name, parameters in parts.items()}


def state_tensors(trio: Trio, optimiser: torch.optim.Adam) -> dict[str, Tensor]:
    """Adam's moments as "parameter:moment" tensors; empty before the first update."""
    return {
        f"{name}:{moment}": value
        for name, parameter in trio.named_parameters()
        for moment, value in optimiser.state.get(parameter, {}).items()
    }


def load_state_tensors(trio: Trio, optimiser: torch.optim.Adam, saved: Mapping[str, Tensor]) -> None:
    """The inverse of `state_tensors`; moments take their parameter's device and memory layout.

    Raises:
        InputError: the moments are of other networks.
    """
    names = dict(trio.named_parameters())
    optimiser.state.clear()
    for key, value in saved.items():
        name, _, moment = key.partition(":")
        if name not in names:
            raise InputError(f"optimiser state of {name} belongs to other networks")
        parameter = names[name]
        if moment == "step":  # a count, kept on the parameter's device as fused Adam wants it
            optimiser.state[parameter][moment] = value.clone().to(parameter.device)
            continue
        if value.shape != parameter.shape:
            raise InputError(f"optimiser state of {name} has shape {tuple(value.shape)}: not this run's")
        optimiser.state[parameter][moment] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def average_decay(step: int, settings: Optim) -> float:
    """Decay of the average at update number `step` (from 0): warm-up (1 + t) / (10 + t) up to the setting."""
    return min(settings.ema, (1 + step) / (10 + step))


class Average:
    """The running average (EMA) of a trio's weights, kept by `AveragedModel`.

    Power-iteration vectors are not averaged (they would not stay unit vectors); they are copied, and
    iterated on the averaged weights before use.
    """

    def __init__(self, trio: Trio, settings: Optim) -> None:
        self.settings, self.step = settings, 0
        self.averaged = AveragedModel(trio, multi_avg_fn=self._mix, use_buffers=False)
        self.averaged.requires_grad_(False)
        self.averaged.n_averaged.fill_(1)  # at 0, its first update would copy the weights and not mix them

    @property
    def trio(self) -> Trio:
        """The averaged networks, still with their spectral parametrisation."""
        module = self.averaged.module
        assert isinstance(module, Trio)
        return module

    def update(self, trio: Trio, step: int) -> None:
        """Moves the average towards `trio` after update number `step` (from 0)."""
        self.step = step
        self.averaged.update_parameters(trio)

    def _mix(self, average: Sequence[Tensor], live: Sequence[Tensor], _count: Tensor | int) -> None:
        weight = 1 - average_decay(self.step, self.settings)
        torch._foreach_lerp_(list(average), list(live), weight)
