"""The family on Fashion-MNIST or CIFAR-10, one equal budget each: is dual-MCMC teaching what the paper says?

    python benchmarks/family.py --data REF --preset fashion_mnist --out DIR
    python benchmarks/family.py --data REF --preset cifar10_simple --out DIR --features NAME --feature-weights FILE

`dualmcmc compare` at --size pixels (by the data rule's Lanczos resize, which averages over a little more than a
block), with simple networks narrowed to that size, rates and chains for minutes, then three checks:

    distance        dual_mcmc's is below that of every other method with an energy; of each the better of generator
                    and data chain counts
    reconstruction  dual_mcmc's MSE by inference and latent chain is below the best of every method that infers by
                    a latent chain; autoencoders only infer, and are shown beside, not judged
    Table 6         distances fall from cooperative to divergence_triangle, no_mcmc, dual_mcmc

each by more than two standard errors of the difference. It goes on cell by cell where it was stopped. Exit code 1
if a check fails (but for --quick). Who has no figures, having diverged, cannot be beaten, nor stand in Table 6.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from dualmcmc.compare import budget, changes, running, table
from dualmcmc.compare.job import Job
from dualmcmc.compare.table import Estimate, Row, estimate
from dualmcmc.errors import InputError
from dualmcmc.methods import METHODS
from dualmcmc.storage.files import write_json

OURS = "dual_mcmc"
TABLE_6 = ("cooperative", "divergence_triangle", "no_mcmc", OURS)
WIDTHS = ("networks.energy_width", "networks.generator_width", "networks.inference_width")
SHARED = (
    *(f"{name}=16" for name in WIDTHS),
    "optim.energy.rate=4e-4",
    "optim.generator.rate=1e-3",
    "optim.inference.rate=1e-3",
    "optim.ema=0.998",
)
"""A budget of minutes is short for the presets' rates, and 500 updates are a span to average over in it."""
CHAINED = (OURS, "cooperative", "amortized", "hat")
"""Who has the presets' data chain."""
FASTER = ("optim.energy.rate=8e-4", "optim.generator.rate=2e-3", "optim.inference.rate=2e-3")
"""Twice the rates; tried on dual-MCMC, cooperative learning and ABP, and given to those like them."""
SHORT = ("steps=3", "step=1.58")
"""A data chain of 3 steps with the drift, 3 s^2 / 2 = 3.75, of the presets' 30 steps of 0.5."""
OWN = (
    *(f"{method}:{change}" for method in (*CHAINED, "abp", "short_run_abp") for change in FASTER),
    *(
        f"{method}:method.{chain}_chain.{change}"
        for method in CHAINED
        for chain in ("data", "test")
        for change in SHORT
    ),
    f"{OURS}:method.negatives=redraw",
    f"{OURS}:method.latent_chain.steps=3",
    f"{OURS}:method.latent_chain.step=0.18",
    f"{OURS}:method.generator_model_weight=10",
)
"""Time for updates instead of chains, for methods that have the preset's; docs/log.md has what was tried."""
SETTINGS = {
    "fashion_mnist": (*SHARED, *OWN),
    "cifar10_simple": ("networks.latent_dim=64", "optim.batch_size=64", *SHARED, *OWN),
}
"""At 16 pixels; at the presets' own size they are the presets'."""
QUICK = tuple(f"{name}=8" for name in WIDTHS)


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    try:
        outcome = running.carry_out(job(options), say=lambda line: print(line, file=sys.stderr, flush=True))
    except InputError as error:
        print(f"family: {error}", file=sys.stderr)
        return 2
    found = outcome.table
    print(table.markdown(found))
    lines = list(checks({row.method: row for row in found.rows}))
    for held, line in lines:
        print(f"{'holds' if held else 'FAILS'}  {line}")
    for line in beside({row.method: row for row in found.rows}):
        print(f"beside {line}")
    if options.seeds == 1:
        print("With one seed there is no standard error: differences are judged by their sign.")
    if options.json:
        write_json(options.json, {**table.as_json(found), "checks": lines})
    for cell, reason in outcome.crashed.items():
        print(f"FAILS  {cell}: {reason}")
    held = options.quick or all(held for held, _ in lines)
    return 0 if held and not outcome.crashed else 1


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: the preset's own")
    parser.add_argument("--preset", choices=[*SETTINGS], default="fashion_mnist")
    parser.add_argument("--size", type=int, choices=[16, 28, 32], default=16)
    parser.add_argument("--budget", default="15m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=[*METHODS])
    parser.add_argument("--set", nargs="+", default=[], help="more settings, as for compare")
    parser.add_argument("--features", default="pixels")
    parser.add_argument("--feature-weights", type=Path)
    parser.add_argument("--ood", nargs="+", default=["builtin"])
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--out", type=Path, help="default: compared/family-PRESET-SIZE")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="20 updates of tiny networks: does it run?")
    return parser.parse_args(words)


def job(options: argparse.Namespace) -> Job:
    """What is compared."""
    given = [f"images.size={options.size}"]
    given += SETTINGS[options.preset] if options.size == 16 else ()
    given += QUICK if options.quick else ()
    return Job(
        preset=options.preset,
        methods=tuple(options.methods),
        budget=budget.parse("20it" if options.quick else options.budget),
        out=options.out or Path("compared") / f"family-{options.preset}-{options.size}{'-quick' * options.quick}",
        seeds=options.seeds,
        data=options.data,
        changes=changes.parse([*given, *options.set]),
        features=options.features,
        feature_weights=options.feature_weights,
        n=40 if options.quick else options.n,
        held_out=20 if options.quick else None,
        ood=tuple(options.ood),
        jobs=options.jobs,
        device=options.device,
    )


def checks(rows: dict[str, Row]) -> Iterator[tuple[bool, str]]:
    """Whether each claim holds, and the figures behind it."""
    ours = rows.get(OURS)
    if ours is None or not ours.figures:
        yield False, f"{OURS} has no figures"
        return
    for name, row in rows.items():
        if name != OURS and "energy" in METHODS[name].PARTS:
            yield below(
                f"distance: {OURS} < {name}", distance(ours), distance(row), paired=ours.seeds == row.seeds
            )
    for name, row in rows.items():
        if name != OURS and "generator" in METHODS[name].PARTS and "inference" not in METHODS[name].PARTS:
            mse, theirs = ours.figures.get("mse_chain"), reconstruction(row)
            yield below(f"reconstruction: {OURS} < {name}", mse, theirs, paired=ours.seeds == row.seeds)
    if set(TABLE_6) <= rows.keys():
        for worse, better in pairwise(TABLE_6):
            a, b = rows[better], rows[worse]
            yield below(f"Table 6: {better} < {worse}", distance(a), distance(b), paired=a.seeds == b.seeds)


def beside(rows: dict[str, Row]) -> Iterator[str]:
    """Reconstruction against methods that have an inference network, too; no claim of the paper's chains."""
    ours = rows.get(OURS)
    for name, row in rows.items():
        if ours and ours.figures and name != OURS and "inference" in METHODS[name].PARTS:
            mse, theirs = ours.figures.get("mse_chain"), reconstruction(row)
            yield below(f"reconstruction: {OURS} < {name}", mse, theirs, paired=ours.seeds == row.seeds)[1]


def distance(row: Row) -> Estimate | None:
    """The better of generator and data chain."""
    return lowest(row, "distance_generator", "distance_chain")


def reconstruction(row: Row) -> Estimate | None:
    """The best there is."""
    return lowest(row, *(name for name in row.figures if name.startswith("mse_") and name != "mse_pca"))


def lowest(row: Row, *names: str) -> Estimate | None:
    there = [row.figures[name] for name in names if name in row.figures]
    return min(there, key=lambda value: value.mean, default=None)


def below(title: str, a: Estimate | None, b: Estimate | None, *, paired: bool = False) -> tuple[bool, str]:
    """Whether a < b by more than two standard errors of their difference; of no error, whether a < b.

    If both have the same seeds (`paired`), the line says the same of differences within seeds. Where b has no
    figures (it diverged) there is nothing to beat; where a has none, it fails.
    """
    if a is None:
        return False, f"{title}: the first has no figures"
    if b is None:
        return True, f"{title}: the second has no figures ({a.mean:.4g})"
    gap = b.mean - a.mean
    if a.standard_error is None and b.standard_error is None:
        return gap > 0, f"{title}: {a.mean:.4g}, {b.mean:.4g}"
    if a.standard_error is None or b.standard_error is None:
        return False, f"{title}: {a.mean:.4g}, {b.mean:.4g}; undecided, as one has a single seed"
    error = (a.standard_error**2 + b.standard_error**2) ** 0.5
    line = f"{title}: {a.mean:.4g}, {b.mean:.4g}, {gap / max(error, 1e-300):+.1f} standard errors"
    return gap > 2 * error, line + (_seed_by_seed(a, b) if paired else "")


def _seed_by_seed(a: Estimate, b: Estimate) -> str:
    """The same of b - a within seeds, which share images, their order and first weights: shown, not judged by."""
    differences = estimate([theirs - ours for ours, theirs in zip(a.values, b.values, strict=True)])
    if not differences.standard_error:
        return ""
    return f" ({differences.mean / differences.standard_error:+.1f} of the differences seed by seed)"


if __name__ == "__main__":
    sys.exit(main())
