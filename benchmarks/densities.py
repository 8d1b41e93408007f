"""Every method on a 2-D mixture whose density is known: is the energy a density, and are the samples right?

    python benchmarks/densities.py --json densities.json

One row per method, and one for each other way in which dual-MCMC teaching may draw the energy's negatives: means over
seeds (of networks, training set, order, noise and samples) with standard errors. KL is in nats, of the truth to
exp(h / T) and to the generator's marginal; `near` is the share of samples within 3 deviations of a mode, `least` the
share of the least frequent mode times the number of modes, `distance` the energy distance of samples to as many
draws of the truth. The floor is the truth's own draws, the single Gaussian the best one: what a method must beat.
`toy_family.py` has networks, settings and training.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter

import torch
from machine import describe

from dualmcmc.storage.files import write_json
from dualmcmc.toy_family import ROWS, TRUTH, Figures, by_samples, figures, one_gaussian, train

COLUMNS = {
    "kl": ("KL energy", 1.0),
    "generator_kl": ("KL generator", 1.0),
    "covered": ("near", 1.0),
    "least": ("least", 1.0),
    "distance": ("distance / 1e-3", 1e3),
}
"""Heading and scale of each figure."""

Entry = dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    if unknown := [name for name in options.methods if name not in ROWS]:
        print(f"unknown methods {', '.join(unknown)}: choose from {', '.join(ROWS)}", file=sys.stderr)
        return 2
    seeds, n = range(options.seeds), options.samples
    print(f"{describe('cpu')}; {options.updates} updates, {options.seeds} seeds, {n} samples\n")
    print("| method | updates | s | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    entries = {
        "floor": row("floor", seeds, lambda seed: floor(n, seed)),
        "one Gaussian": row("one Gaussian", seeds, lambda seed: one_gaussian(n=n, seed=seed)),
    }
    for name in options.methods:
        entries[name] = row(name, seeds, lambda seed, name=name: one(name, options.updates, n, seed), options.updates)
    if options.json:
        about = {"machine": describe("cpu"), "updates": options.updates, "samples": n}
        write_json(options.json, {**about, "seeds": options.seeds, "results": entries})
    return 0


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=list(ROWS), metavar="METHOD")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--quick", action="store_true", help="one seed, few updates: only whether it runs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    if options.quick:
        options.seeds, options.updates, options.samples = 1, 20, 500
    return options


def floor(n: int, seed: int) -> Figures:
    """The truth's own draws, other ones than those they are compared with."""
    return Figures(0.0, 0.0, *by_samples(TRUTH.sample(n, torch.Generator().manual_seed(seed)), seed=seed))


def one(name: str, updates: int, n: int, seed: int) -> tuple[Figures, float]:
    began = perf_counter()
    trio = train(ROWS[name], updates=updates, seed=seed)
    seconds = perf_counter() - began
    return figures(trio, ROWS[name], n=n, seed=seed), seconds


def row(
    name: str, seeds: Sequence[int], measure: Callable[[int], Figures | tuple[Figures, float]], updates: int = 0
) -> list[Entry]:
    """Measures a row, prints it, and returns its figures by seed."""
    entries: list[Entry] = []
    for seed in seeds:
        found = measure(seed)
        figures, seconds = found if isinstance(found, tuple) else (found, 0.0)
        entries.append({**asdict(figures), "seconds": seconds})
    cells = [over([scale * e[column] for e in entries]) for column, (_, scale) in COLUMNS.items()]
    took = f"{fmean(e['seconds'] for e in entries):.0f}" if updates else "–"
    print(f"| {name} | {updates or '–'} | {took} | " + " | ".join(cells) + " |", flush=True)
    return entries


def over(values: list[float]) -> str:
    """Mean and standard error over seeds."""
    if math.isnan(values[0]):
        return "–"
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{fmean(values):.3g} ± {stdev(values) / len(values) ** 0.5:.1g}"


if __name__ == "__main__":
    sys.exit(main())
