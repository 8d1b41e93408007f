"""Divergences of each kind, put into a tiny run at a random update: caught before a checkpoint, and survived.

What is put in is done to what training computes or holds, once; the guard sees it by its figures only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc.errors import TrainingError
from dualmcmc.settings import Config, Guard
from dualmcmc.storage import checkpoints
from dualmcmc.teaching import Losses, Teaching
from dualmcmc.training.loop import Trainer
from faulty import tiny
from faulty.outcome import Outcome

NAN, INF = float("nan"), float("inf")
WARMUP = 10
"""Updates before the ranges are known; faults come after, and after the checkpoint that follows."""


class Kind(NamedTuple):
    """A way to diverge."""

    name: str
    method: str
    act: Callable[[Trainer, Losses], Losses]
    """What it does after a forward."""
    after: bool = False
    """Whether it is done after the update, not before its backward."""


def _loss(network: str, value: float) -> Callable[[Trainer, Losses], Losses]:
    def act(_: Trainer, losses: Losses) -> Losses:
        return losses._replace(**{network: getattr(losses, network) * 0 + value})

    return act


def _gradient(network: str, factor: float) -> Callable[[Trainer, Losses], Losses]:
    """A gradient of that size beside a loss that is as it was."""

    def act(trainer: Trainer, losses: Losses) -> Losses:
        weight = next(trainer.trio.get_submodule(network).parameters())
        return losses._replace(**{network: getattr(losses, network) + (weight - weight.detach()).sum() * factor})

    return act


def _figure(name: str, value: float) -> Callable[[Trainer, Losses], Losses]:
    def act(_: Trainer, losses: Losses) -> Losses:
        return losses._replace(seen={**losses.seen, name: torch.tensor(value)})

    return act


def _spoil(tensors: Callable[[Trainer], list[Tensor]], value: float) -> Callable[[Trainer, Losses], Losses]:
    """One number of what the trainer holds."""

    def act(trainer: Trainer, losses: Losses) -> Losses:
        with torch.no_grad():
            tensors(trainer)[0].view(-1)[0] = value
        return losses

    return act


def _scale_energy(trainer: Trainer, losses: Losses) -> Losses:
    """The last layer's weights times 10^6, as after a step too large: the next chains see it."""
    with torch.no_grad():
        for name, parameter in trainer.trio.part("energy").named_parameters():
            if "head" in name:
                parameter.mul_(1e6)
    return losses


def _collapse(trainer: Trainer, losses: Losses) -> Losses:
    """q's variances below 1e-5, for the rest of the run unless it is undone."""
    with torch.no_grad():
        for name, parameter in trainer.trio.part("inference").named_parameters():
            if name.endswith("bias") and "variance" in name:
                parameter.fill_(-30.0)
    return losses


def _moments(trainer: Trainer) -> list[Tensor]:
    return [state["exp_avg_sq"] for state in trainer.optimiser.state.values()]


KINDS = (
    Kind("loss not a number", "dual_mcmc", _loss("generator", NAN)),
    Kind("loss infinite", "dual_mcmc", _loss("energy", INF)),
    Kind("loss beyond its limit", "dual_mcmc", _loss("inference", -1e9)),
    Kind("gradient not a number", "dual_mcmc", _gradient("inference", NAN)),
    Kind("gradient out of range", "dual_mcmc", _gradient("generator", 1e12)),
    Kind("energy gap", "dual_mcmc", _figure("energy_gap_h", -2e4)),
    Kind("energy magnitude", "dual_mcmc", _figure("energy_size_h", 1e6)),
    Kind("chain displacement", "dual_mcmc", _figure("data_chain_moved", 1e3)),
    Kind("saturation", "dual_mcmc", _figure("saturation", 0.9)),
    Kind("parameter not a number", "dual_mcmc", _spoil(lambda t: list(t.trio.parameters()), NAN), after=True),
    Kind("average infinite", "dual_mcmc", _spoil(lambda t: list(t.average.trio.parameters()), INF), after=True),
    Kind("Adam's moment not a number", "dual_mcmc", _spoil(_moments, NAN), after=True),
    Kind("chain state not a number", "persistent", _spoil(lambda t: [t.teaching.rows["buffer"]], NAN), after=True),
    Kind("energy's weights burst", "dual_mcmc", _scale_energy, after=True),
    Kind("q's variance collapsed", "dual_mcmc", _collapse, after=True),
)


@contextmanager
def injected(kind: Kind, step: int) -> Iterator[list[int]]:
    """Within, update number `step` (from 1) of the next run goes wrong, the first time it is made."""
    batch, done, begun = Trainer._update, [], [0]
    forward = Teaching.forward
    current: list[Trainer] = []

    def update(self: Trainer, number: int) -> Any:
        current[:], begun[0] = [self], number + 1
        figures = batch(self, number)
        if kind.after and number + 1 == step and not done:
            done.append(step)
            kind.act(self, Losses())
        return figures

    def faulty_forward(self: Teaching, *args: Any, **how: Any) -> Losses:
        losses = forward(self, *args, **how)
        if not kind.after and begun[0] == step and not done:
            done.append(step)
            return kind.act(current[0], losses)
        return losses

    Trainer._update, Teaching.forward = update, faulty_forward  # type: ignore[method-assign]
    try:
        yield done
    finally:
        Trainer._update, Teaching.forward = batch, forward  # type: ignore[method-assign]


def settings(kind: Kind, seed: int) -> Config:
    """The tiny run with a guard that knows its ranges soon."""
    run = replace(tiny.LENGTHS, steps=30, evaluate_every=0, sample_every=0, checkpoint_every=5, keep=30)
    return replace(tiny.config(kind.method, run, seed), guard=Guard(warmup=WARMUP))


def trial(kind: Kind, step: int, seed: int, place: Path) -> str | None:
    """What is wrong with how a run survives such a fault; None if nothing is."""
    config = settings(kind, seed)
    with injected(kind, step) as done:
        try:
            trainer = tiny.train(config, place)
        except TrainingError as error:
            return f"not survived: {error}"
    if not done:
        return "the fault was not put in"
    if len(trainer.state["trips"]) != 1:
        return f"{len(trainer.state['trips'])} roll-backs: {trainer.state['trips']}"
    trip = trainer.state["trips"][0]
    if not trip["back_to"] < step <= trip["diverged_at"]:
        return f"put in at {step}, caught at {trip['diverged_at']}, back to {trip['back_to']}"
    for saved in checkpoints.steps(place / "checkpoints"):
        found, passed_over = checkpoints.newest(place / "checkpoints", saved + 1)
        numbers = [tensor for part in found.parts.values() for tensor in part.values()]
        if passed_over or not all(tensor.isfinite().all() for tensor in numbers if tensor.is_floating_point()):
            return f"the checkpoint of step {saved} holds it"
    return None if found.step == config.run.steps else f"ended at step {found.step}"


def run(count: int, seed: int, folder: Path) -> Outcome:
    """`count` divergences of each kind."""
    began, chance, failures = time.monotonic(), random.Random(seed), []
    for kind in KINDS:
        for number in range(count):
            step = chance.randint(16, 28)  # after a checkpoint that knows the ranges, before the last
            place = folder / f"{kind.name.replace(' ', '-')}-{number}"
            if wrong := trial(kind, step, number, place):
                failures.append(f"{kind.name}, at update {step}: {wrong}")
    note = f"{len(KINDS)} kinds: {', '.join(kind.name for kind in KINDS)}"
    return Outcome("divergence", count * len(KINDS), failures, time.monotonic() - began, note)
