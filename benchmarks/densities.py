"""Every method on a 2-D mixture whose density is known: is the energy a density, and are the samples right?

    python benchmarks/densities.py --json densities.json

One row per method, and one for each other way of drawing dual-MCMC's negatives: means over seeds (of networks,
training set, order, noise and samples) with standard errors. KL is in nats, of the truth to exp(h / T) and to the
generator's marginal; `near` is the share of samples within 3 deviations of a mode, `least` the share of the least
frequent mode times the number of modes, `distance` the energy distance of samples to as many draws of the truth.
The floor is the truth's own draws; one Gaussian, the best one, is what a method must beat. Networks, settings and
training are those of `dualmcmc.toy_family`, figures those of `dualmcmc.toy_figures`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from time import process_time

import torch
from machine import describe

from dualmcmc.storage.files import write_json
from dualmcmc.toy_family import ROWS, TRUTH, train
from dualmcmc.toy_figures import Figures, by_samples, figures, one_gaussian

COLUMNS = {
    "seconds": ("CPU s", 1.0),
    "kl": ("KL energy", 1.0),
    "generator_kl": ("KL generator", 1.0),
    "covered": ("near", 1.0),
    "least": ("least", 1.0),
    "distance": ("distance / 1e-3", 1e3),
}
"""Heading and scale of each figure."""

Entry = dict[str, float | None]
Measure = Callable[[int], tuple[Figures, float | None]]
"""A row's figures and seconds by seed."""


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    if unknown := [name for name in options.methods if name not in ROWS]:
        print(f"unknown methods {', '.join(unknown)}: choose from {', '.join(ROWS)}", file=sys.stderr)
        return 2
    seeds, n = range(options.seeds), options.samples
    print(f"{describe('cpu')}; {options.updates} updates, {options.seeds} seeds, {n} samples\n")
    print("| method | " + " | ".join(heading for heading, _ in COLUMNS.values()) + " |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    rows: dict[str, Measure] = {
        "floor": lambda seed: (floor(n, seed), None),
        "one Gaussian": lambda seed: (one_gaussian(n=n, seed=seed), None),
        **{name: partial(trained, name, options.updates, n) for name in options.methods},
    }
    entries = {name: row(name, seeds, measure) for name, measure in rows.items()}
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


def trained(name: str, updates: int, n: int, seed: int) -> tuple[Figures, float]:
    """A method's figures, and the processor's seconds of its training."""
    began = process_time()
    trio = train(ROWS[name], updates=updates, seed=seed)
    seconds = process_time() - began
    return figures(trio, ROWS[name], n=n, seed=seed), seconds


def row(name: str, seeds: Sequence[int], measure: Measure) -> list[Entry]:
    """Measures a row, prints it, and returns its figures by seed."""
    entries: list[Entry] = []
    for seed in seeds:
        found, seconds = measure(seed)
        entries.append({**asdict(found), "seconds": seconds})
    cells = [over([e[column] for e in entries], scale) for column, (_, scale) in COLUMNS.items()]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return entries


def over(values: list[float | None], scale: float) -> str:
    """Mean and standard error over seeds; a dash where there is none."""
    found = [scale * value for value in values if value is not None]
    if not found:
        return "–"
    error = stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
    return f"{fmean(found):.3g}" + (f" ± {error:.1g}" if error else "")


if __name__ == "__main__":
    sys.exit(main())
