"""Back from a divergence: which checkpoint, what changes, and when to give up.

The networks, their average, the optimiser, the method's memory and the guard's ranges become those of the newest
complete checkpoint by which the signal was still calm (the oldest there is, if it never was); the attempt counts
one more, so that all noise from there on is new; and the energy learns more gently, by `guard.remedy`. A
checkpoint from which training diverged twice in a row is left for the one before it, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dualmcmc import limits
from dualmcmc.settings import Chain, Config, Guard
from dualmcmc.storage import checkpoints
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.training.guard import Trip, calm, network_of

TRUSTED = 2
"""Divergences in a row from one checkpoint, after which it is not gone back to."""


def gives_up(trip: Trip, trips: Sequence[Mapping[str, Any]], settings: Guard) -> bool:
    """Whether this divergence is one too many, after those before."""
    recent = [past for past in trips if past["diverged_at"] > trip.step - settings.window]
    return len(recent) >= settings.trips


def bound(run: RunFolder, trip: Trip, trips: Sequence[Mapping[str, Any]]) -> int | None:
    """The step before which to look for a checkpoint; None: any will do."""
    there = checkpoints.steps(run.checkpoints)
    there = [step for step in there if checkpoints.fault(run.checkpoints / f"step-{step}") is None]
    last = [past["back_to"] for past in trips[-TRUSTED:]]
    if len(last) == TRUSTED and len(set(last)) == 1 and there and there[-1] == last[0]:
        there = there[:-1] or there
    for step in reversed(there):
        if calm(checkpoints.state(run.checkpoints / f"step-{step}")["guard"], trip):
            return step + 1
    return there[0] + 1 if there else None


def eased(state: Mapping[str, Any], settings: Guard) -> float:
    """What the roll-backs so far multiply the energy's rate by, or divide its chain's steps by."""
    return float(settings.factor ** len(state["trips"]))


def rate_ease(state: Mapping[str, Any], config: Config, name: str) -> float:
    """What the roll-backs so far multiply a network's rate by, where the remedy is the rate.

    Each lowers the energy's, and that of the network that its signal is about; without an energy, every rate.
    """
    if config.guard.remedy != "rate":
        return 1.0
    everyone = "energy" not in config.method.PARTS
    count = sum(everyone or name in ("energy", network_of(past["signal"])) for past in state["trips"])
    return float(config.guard.factor**count)


def eased_method(config: Config, state: Mapping[str, Any]) -> Any:
    """The method's settings, with the longer data chain where that is the remedy."""
    method = config.method
    if config.guard.remedy == "rate" or not state["trips"]:
        return method
    chain: Chain = getattr(method, "data_chain")  # noqa: B009  # `config.check` has seen that there is one
    steps = min(limits.STEPS, round(chain.steps / eased(state, config.guard)))
    changes: dict[str, Any] = {"data_chain": replace(chain, steps=steps)}
    return replace(method, **changes)


def remedy(config: Config, signal: str) -> str:
    """What a roll-back from a signal changes, in words."""
    if config.guard.remedy == "chain":
        return f"a data chain {1 / config.guard.factor:g} times as long"
    also = network_of(signal)
    if "energy" not in config.method.PARTS:
        whose = "every network's"
    else:
        whose = "the energy's" if also in (None, "energy") else f"the energy's and the {also}'s"
    return f"{whose} rate times {config.guard.factor:g}"


def diagnosis(trip: Trip, leader: str, config: Config) -> str:
    """Which divergence, what led to it, and the remedies in the order in which to try them."""
    guard = config.guard
    times = f", after {guard.trips} roll-backs within {guard.window:,} updates" if guard.trips else ""
    what = f"training diverged at step {trip.step}: {trip.reason}{times}"
    remedies = cures(config, network_of(leader.split()[0]))
    return f"{what}; {leader}; try, in this order: {remedies}; or --resume with more --guard.trips"


def cures(config: Config, led: str | None) -> str:
    """What may keep such a run from diverging, as flags; first what is about the network that led."""
    found, method = [], config.method
    usual = ("energy",) if "energy" in method.PARTS else ("generator", "inference")
    rates = [name for name in dict.fromkeys([led, *usual]) if name in method.PARTS]
    found += [f"--optim.{name}.rate {getattr(config.optim, name).rate / 10:g}" for name in rates]
    found += [f"--optim.{name}.clip 1" for name in rates if not getattr(config.optim, name).clip]
    if chain := getattr(method, "data_chain", None):
        found.append(f"--method.data-chain.steps {2 * max(1, chain.steps)}")
    if getattr(method, "energy_penalty", None) == 0:
        found.append("--method.energy-penalty 0.1")
    if not config.networks.spectral_norm and "energy" in method.PARTS:
        found.append("--networks.spectral-norm")
    if not config.optim.warmup:
        found.append("--optim.warmup 1000")
    return ", ".join(found)
