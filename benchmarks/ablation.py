"""What decides dual-MCMC teaching's defaults: one thing changed at a time, under one budget.

    python benchmarks/ablation.py --data REF --budget 1000it --seeds 2 --out DIR

The five ways of drawing the energy's negatives, with the pair taught to the generator in both ways; normalisation;
the temperature; the average of weights. (Updating the networks one after the other from one draw is the same as at
once, as draws carry no gradient: `redraw`, which draws anew in between, is what alternating updates amount to.)
Each variant is a `dualmcmc compare` of dual_mcmc alone, in a folder of its own, and goes on where it was stopped.
The difference to the base is judged by the standard errors over seeds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from family import SETTINGS, below

from dualmcmc.compare import budget, changes, running
from dualmcmc.compare.job import Job
from dualmcmc.compare.table import Estimate, Row
from dualmcmc.errors import InputError
from dualmcmc.presets import preset
from dualmcmc.storage.files import write_json

NEGATIVES = ("redraw", "redraw_unrevised", "persistent", "mixed")
FIGURES = ("distance_generator", "distance_chain", "mse_inference", "mse_chain", "auroc_log_density")


def variants(name: str) -> dict[str, tuple[str, ...]]:
    """Settings of each variant; the base has none."""
    chain = preset(name).method.test_chain  # type: ignore[union-attr]
    found: dict[str, tuple[str, ...]] = {"base": ()}
    for negatives in ("reuse", *NEGATIVES):
        for pair in ("prior", "reinferred"):
            if (negatives, pair) != ("reuse", "prior"):
                found[f"{negatives}-{pair}"] = (f"method.negatives={negatives}", f"method.pair={pair}")
    found["batch-norm"] = ("networks.norm=batch",)
    for factor in (0.25, 4.0):
        t = chain.temperature * factor
        found[f"T-times-{factor:g}"] = tuple(f"method.{of}_chain.temperature={t!r}" for of in ("data", "test"))
    found["no-average"] = ("optim.ema=0",)
    found["average-0.999"] = ("optim.ema=0.999",)
    return found


def main(words: Sequence[str] | None = None) -> int:
    options = arguments(words)
    rows: dict[str, Row] = {}
    try:
        for name, settings in variants(options.preset).items():
            if options.variants and name not in {"base", *options.variants}:
                continue
            outcome = running.carry_out(
                job(options, name, settings), say=lambda line: print(line, file=sys.stderr)
            )
            for cell, reason in outcome.crashed.items():
                print(f"{name}: {cell}: {reason}", file=sys.stderr)
            rows[name] = outcome.table.rows[0]
    except InputError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2
    print(table(rows))
    if options.json:
        write_json(options.json, {name: row.figures for name, row in rows.items()})
    return 0


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="default: the preset's own")
    parser.add_argument("--preset", choices=[*SETTINGS], default="fashion_mnist")
    parser.add_argument("--budget", default="1000it")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--variants", nargs="+", help="default: all")
    parser.add_argument("--set", nargs="+", default=[], help="more settings, as for compare")
    parser.add_argument("--features", default="pixels")
    parser.add_argument("--feature-weights", type=Path)
    parser.add_argument("-n", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("compared/ablation"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="2 updates: does it run?")
    return parser.parse_args(words)


def job(options: argparse.Namespace, name: str, settings: Sequence[str]) -> Job:
    """One variant."""
    quick = ("networks.energy_width=8", "networks.generator_width=8", "networks.inference_width=8")
    shared = (change for change in SETTINGS[options.preset] if "method.negatives" not in change)  # base: reuse
    given = ["images.size=16", *shared, *(quick if options.quick else ()), *options.set]
    return Job(
        preset=options.preset,
        methods=("dual_mcmc",),
        budget=budget.parse("2it" if options.quick else options.budget),
        out=options.out / name,
        seeds=1 if options.quick else options.seeds,
        data=options.data,
        changes=changes.parse([*given, *settings]),
        features=options.features,
        feature_weights=options.feature_weights,
        n=40 if options.quick else options.n,
        held_out=20 if options.quick else None,
        jobs=options.jobs,
    )


def table(rows: dict[str, Row]) -> str:
    """Markdown: each variant's figures, and whether its distance beats the base's by two standard errors."""
    head = ["variant", *FIGURES, "s/update", "distance below the base's?"]
    lines = [head, ["---"] * len(head)]
    base = best(rows["base"])
    for name, row in rows.items():
        judged = "" if name == "base" else ("yes" if below("", best(row), base)[0] else "no")
        shown = [*(figure(row, each) for each in FIGURES), figure(row, "seconds_per_update")]
        lines.append([name, *shown, judged])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def best(row: Row) -> Estimate | None:
    """The lower of the generator's distance and that after the data chain."""
    there = [row.figures[name] for name in ("distance_generator", "distance_chain") if name in row.figures]
    return min(there, key=lambda value: value.mean, default=None)


def figure(row: Row, name: str) -> str:
    if name not in row.figures:
        return "; ".join(row.remarks) or "–"
    value = row.figures[name]
    return f"{value.mean:.4g}" + (f" ± {value.standard_error:.2g}" if value.standard_error is not None else "")


if __name__ == "__main__":
    sys.exit(main())
