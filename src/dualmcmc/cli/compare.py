"""`dualmcmc compare PRESET --methods ...`: methods on the same images, networks and budget, in one table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dualmcmc.cli.arguments import Json, check_counts, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.compare import budget, changes
from dualmcmc.compare.job import Job
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.methods import METHODS

DEFAULT = ("dual_mcmc", "cooperative", "divergence_triangle", "vae")


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Trains methods from the same preset, each under the same budget, and measures them in the same way.

    Each method with each seed is a run in OUT/cells, trained and measured in a process of its own. A run that
    diverges, or data that a method cannot use, make a row that says so. The same command goes on where it was
    stopped, and what is done is not done again; more methods or seeds may be added. OUT/table.md, table.csv and
    table.json hold mean and standard error over seeds, OUT/samples.png a row of samples for each method.
    """

    preset: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="PRESET")]
    """Networks, images, optimiser and chains, as for `train`; give it before the flags."""
    methods: tuple[str, ...] = DEFAULT
    """Which (`dualmcmc methods` lists them), or all."""
    budget: str = "10m"
    """Of each run: time of updates, as 10m (90s, 2h), or their number, as 2000it."""
    seeds: int = 3
    """Runs of each method."""
    seed: int = 0
    """The first run's seed; the others count up."""
    data: str | None = None
    """A data reference as for `train`; default: the preset's own."""
    out: Path | None = None
    """The comparison's folder; default: compared/PRESET."""
    changes: Annotated[tuple[str, ...], tyro.conf.arg(name="set")] = ()
    """Settings as path=value, for all methods that have them, or METHOD:path=value: images.size=16
    optim.batch_size=64 vae:method.kl_weight=0.5."""
    features: str = "pixels"
    """Feature network of distances, as for `evaluate`."""
    feature_weights: Path | None = None
    """Weights of that network: .safetensors, or .npz of plain arrays."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 2000
    """Samples that distances are measured with, few for speed; the distance's name says how many."""
    held_out: int | None = None
    """Held-out images for reconstruction and AUROC; default: the first 1,000, or all there are."""
    ood: tuple[str, ...] = ("builtin",)
    """Other sets for AUROC, as for `evaluate`."""
    jobs: int = 1
    """Runs at once, which share the cores; a budget of time then holds fewer updates."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    dry_run: bool = False
    """Print each method's parameters and FLOPs per iteration, and stop."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


def compare(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Compare, together(args, "--set"), "compare")
    check_json(options.json)
    check_counts(seeds=options.seeds, n=options.n, held_out=options.held_out, jobs=options.jobs)
    job = _job(options)
    if options.dry_run:
        _dry_run(job, options.json)
        return
    from dualmcmc.compare import running, table

    try:
        outcome = running.carry_out(job, say=_say)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped; {job.out} keeps what is done, and the same command goes on") from error
    write_json(options.json, table.as_json(outcome.table))
    show(table.markdown(outcome.table), options.json)
    if outcome.crashed:
        raise TrainingError("; ".join(f"{cell} failed: {reason}" for cell, reason in outcome.crashed.items()))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _job(options: Compare) -> Job:
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: give 0 or more")
    return Job(
        preset=options.preset,
        methods=tuple(METHODS) if options.methods == ("all",) else options.methods,
        budget=budget.parse(options.budget),
        out=options.out or Path("compared") / options.preset,
        seeds=options.seeds,
        seed=options.seed,
        data=options.data,
        changes=changes.parse(options.changes),
        features=options.features,
        feature_weights=options.feature_weights,
        n=options.n,
        held_out=options.held_out,
        ood=options.ood,
        jobs=options.jobs,
        device=options.device,
    )


def together(args: list[str], flag: str) -> list[str]:
    """Arguments with the words of every occurrence of a flag behind one; tyro takes the last occurrence alone."""
    found: list[str] = []
    rest: list[str] = []
    inside = False
    for arg in args:
        if arg == flag or arg.startswith(f"{flag}="):
            inside = arg == flag
            found += [] if inside else [arg.removeprefix(f"{flag}=")]
        elif inside and not arg.startswith("-"):
            found.append(arg)
        else:
            inside = False
            rest.append(arg)
    return [*rest, flag, *found] if found else rest


def _dry_run(job: Job, place: str | None) -> None:
    from dualmcmc.compare import running

    found = running.dry_run(job)
    write_json(place, {**job.identity(), "methods": found})
    cells = len(job.cells)
    lines = [f"{job.preset}: {len(job.methods)} methods, {job.seeds} seeds, {job.budget} each, into {job.out}"]
    for entry in found:
        counts = ", ".join(f"{name} {count:,}" for name, count in entry["parameters"].items() if count)
        work = f"{entry['flops_per_iteration'] / 1e9:.4g} GFLOP/iteration"
        memory = f"{entry['memory_bytes']['total'] / 1e6:.0f} MB"
        lines.append(f"  {entry['method']:<20} {work}, {memory}; parameters: {counts}")
        lines += [f"    has no setting {change}" for change in entry["without"]]
    minutes = job.budget.minutes * cells / job.jobs
    total = f", {minutes:,.0f} minutes of updates at {job.jobs} at once" if minutes else ""
    show("\n".join([*lines, f"{cells} cell{'s' if cells > 1 else ''}{total}"]), place)
