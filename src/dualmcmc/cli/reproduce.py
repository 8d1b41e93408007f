"""`dualmcmc reproduce TABLE`: the paper's tables and figures, run again, the paper's numbers beside ours."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import SWEEPS, Scale, SmallPreset


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Trains and measures what a table or figure of the paper is made of; writes table.md and table.csv.

    TABLE is table1 to table9, or figure2 to figure5. Each cell is a run in OUT/cells; the same command goes on
    where it was stopped, and what is done is not done again.
    """

    table: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TABLE")]
    """Which."""
    scale: Scale = "small"
    """small: under 30 minutes on two CPU cores, on a toy; paper: the full settings (days of a GPU)."""
    out: Path | None = None
    """The sweep's folder; default: reproduced/TABLE-SCALE."""
    preset: SmallPreset | None = None
    """At small scale: digits (embedded; the default) or fashion_mnist at 16 pixels."""
    data: tuple[str, ...] = ()
    """Where the images lie: a data reference for each preset that cells start from; default: the presets' own."""
    features: str | None = None
    """Feature network of distances, as for `evaluate`; default: pixels (small scale) or inception (paper's)."""
    feature_weights: Path | None = None
    """Weights of that network: .safetensors, or .npz of plain arrays."""
    run: Path | None = None
    """A run with these settings, trained before (for another figure, say): measure it instead of training."""
    seed: int = 0
    """Of training and of measuring."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    dry_run: bool = False
    """Print the cells with what they change, parameters and FLOPs, and stop."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


def reproduce(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Reproduce, args, "reproduce")
    check_json(options.json)
    job = _job(options)
    if options.dry_run:
        _dry_run(job, options.json)
        return
    from dualmcmc.reproduce import running, table

    try:
        outcome = running.carry_out(job, say=_say, quiet=not sys.stderr.isatty())
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"stopped; {job.out} keeps what is done, and the same command goes on") from error
    if outcome.main:
        write_json(options.json, {"table": job.table, "scale": job.scale, "cells": outcome.table.cells})
        show(table.markdown(job, outcome.table), options.json)
    if outcome.failed:
        raise TrainingError("; ".join(outcome.failed))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _job(options: Reproduce) -> Job:
    name: Any = options.table
    if name not in SWEEPS:
        raise InputError(f"unknown table {name!r}: choose one of {', '.join(SWEEPS)}")
    if options.preset is not None and options.scale == "paper":
        raise InputError(f"--preset {options.preset} goes with --scale small: the paper's data are given")
    job = Job(
        table=name,
        scale=options.scale,
        out=options.out or Path("reproduced") / f"{name}-{options.scale}",
        small=options.preset or "digits",
        data=options.data,
        features=options.features,
        feature_weights=options.feature_weights,
        seed=options.seed,
        device=options.device,
        run=options.run,
    )
    for cell in job.cells:
        job.settings(cell)
    return job


def _dry_run(job: Job, place: str | None) -> None:
    from dualmcmc.reproduce import running

    cells = running.dry_run(job)
    write_json(place, {"table": job.table, "scale": job.scale, "cells": cells})
    lines = [f"{job.table} at {job.scale} scale, into {job.out}"]
    for cell in cells:
        counts = ", ".join(f"{name} {count:,}" for name, count in cell["parameters"].items())
        work = f"{cell['updates']:,} updates, {cell['flops'] / 1e15:.3g} PFLOP"
        method = "" if cell["method"] == "dual_mcmc" else f"method {cell['method']}, "
        lines += [
            "",
            f"{cell['name']}: preset {cell['preset']}, {method}{work}",
            *(f"  {line}" for line in cell["changes"]),
            f"  parameters: {counts}",
        ]
    total = sum(cell["flops"] for cell in cells) / 1e15
    lines += ["", f"{len(cells)} cell{'s' if len(cells) > 1 else ''}, {total:.3g} PFLOP in all"]
    show("\n".join(lines), place)
