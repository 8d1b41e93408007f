"""A configuration that blows up: with the guard it trains through to the end, without it is lost.

Short-run EBM, whose chains start from noise, with a plain energy network (no spectral norm) and the energy's rate
a hundred times too large: its gap grows without bound. The guard goes back and divides the rate until it does not.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from dualmcmc.errors import TrainingError
from dualmcmc.settings import Config, Guard
from faulty import tiny
from faulty.outcome import Outcome

TOO_LARGE = 100
UPDATES = 600


def settings(seed: int, guard: Guard) -> Config:
    """The tiny run of short_run at a hundred times its rate, with a checkpoint every 20 updates."""
    run = replace(tiny.LENGTHS, steps=UPDATES, evaluate_every=0, sample_every=0, checkpoint_every=20, keep=10)
    base = tiny.config("short_run", run, seed)
    energy = replace(base.optim.energy, rate=TOO_LARGE * base.optim.energy.rate)
    networks = replace(base.networks, spectral_norm=False)
    return replace(base, networks=networks, optim=replace(base.optim, energy=energy), guard=guard)


def run(count: int, seed: int, folder: Path) -> Outcome:
    """`count` seeds, each with the guard and without."""
    began, failures, rollbacks, ends = time.monotonic(), [], [], []
    for number in range(count):
        try:
            tiny.train(settings(seed + number, Guard(trips=0)), folder / f"without-{number}")
            failures.append(f"seed {seed + number}: not lost without the guard, so it shows nothing")
        except TrainingError:
            pass
        try:
            trainer = tiny.train(settings(seed + number, Guard()), folder / f"with-{number}")
        except TrainingError as error:
            failures.append(f"seed {seed + number}: {error}")
            continue
        trips = trainer.state["trips"]
        rollbacks.append(len(trips))
        ends.append(tiny.figure(folder / f"with-{number}", "energy_gap_size"))
    note = f"{min(rollbacks, default=0)} to {max(rollbacks, default=0)} roll-backs; at the end the gap of h is "
    note += f"{min(ends, default=0):.3g} to {max(ends, default=0):.3g}; without the guard all are lost"
    return Outcome("rate 100 times too large", count, failures, time.monotonic() - began, note)
