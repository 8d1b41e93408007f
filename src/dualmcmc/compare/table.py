"""The comparison's table: a row for each method, means and standard errors over seeds; reads files, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

from dualmcmc import methods
from dualmcmc.compare.folder import CompareFolder
from dualmcmc.compare.job import MEASURING_SEED, NOISE_STEPS, Cell, Job
from dualmcmc.settings import Config
from dualmcmc.storage.files import write_json, write_text

NONE = "–"
FIGURES = {
    "distance_generator": "{distance}, generator",
    "distance_chain": "{distance}, after the data chain",
    "score": "IS",
    "mse_inference": "MSE, inference",
    "mse_chain": "MSE, inference + chain",
    f"mse_noise_{NOISE_STEPS[-1]}": f"MSE, noise + {NOISE_STEPS[-1]} steps",
    "auroc_log_density": "AUROC, log-density",
    "auroc_reconstruction_error": "AUROC, reconstruction",
    "updates": "updates",
    "seconds_per_update": "s/update",
    "parameters": "parameters",
    "peak_memory_bytes": "peak MB",
}
"""The table's columns."""


class Estimate(NamedTuple):
    """Over seeds."""

    mean: float
    standard_error: float | None
    """The deviation (over N - 1) divided by sqrt(N); None of one value."""
    values: list[float]


def estimate(values: list[float]) -> Estimate:
    """Of one value or more."""
    error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
    return Estimate(fmean(values), error, values)


@dataclass(frozen=True)
class Row:
    """A method."""

    method: str
    figures: dict[str, Estimate]
    """By `FIGURES` and a few more; those that it has."""
    seeds: list[int]
    """Those done."""
    remarks: list[str]
    """What became of the others, and what could not be measured."""


@dataclass(frozen=True)
class Table:
    """What all three files hold."""

    distance: str
    """The name of the distance, with features and number of samples."""
    floor: dict[str, Any] | None
    rows: list[Row]
    notes: list[str]
    cells: list[dict[str, Any]]
    of: dict[str, Any]


def write(job: Job, folder: CompareFolder, crashed: Mapping[Cell, str] | None = None) -> Table:
    """Replaces the table's files by ones of the cells that are done; returns what they hold."""
    found = read(job, folder, crashed or {})
    write_text(folder.path / "table.md", markdown(found))
    write_text(folder.path / "table.csv", comma_separated(found))
    write_json(folder.path / "table.json", as_json(found))
    return found


def read(job: Job, folder: CompareFolder, crashed: Mapping[Cell, str]) -> Table:
    """The table of the cells that are done."""
    about = folder.about()
    kept = {cell: folder.read(cell) for cell in job.cells}
    rows = []
    for method in job.methods:
        rows.append(_row(method, {cell: kept[cell] for cell in job.cells if cell.method == method}, crashed))
    cells = [
        {
            "method": cell.method,
            "seed": cell.seed,
            "run": str(folder.run(cell).path),
            **(entry or _open(cell, crashed)),
        }
        for cell, entry in kept.items()
    ]
    done = {cell: entry for cell, entry in kept.items() if entry is not None}
    return Table(about["name"], about["floor"], rows, _notes(job, about, done), cells, job.identity())


def _open(cell: Cell, crashed: Mapping[Cell, str]) -> dict[str, Any]:
    if cell in crashed:
        return {"status": "failed", "reason": crashed[cell]}
    return {"status": "not done", "reason": None}


def _row(method: str, kept: Mapping[Cell, dict[str, Any] | None], crashed: Mapping[Cell, str]) -> Row:
    done = {cell: entry for cell, entry in kept.items() if entry and entry["status"] == "done"}
    values: dict[str, list[float]] = {}
    for entry in done.values():
        for name, value in figures_of(entry).items():
            if value is not None:
                values.setdefault(name, []).append(value)
    remarks: dict[str, list[int]] = {}
    for cell, outcome in kept.items():
        for remark in _remarks(outcome, crashed.get(cell)):
            remarks.setdefault(remark, []).append(cell.seed)
    return Row(
        method,
        {name: estimate(seen) for name, seen in values.items()},
        [cell.seed for cell in done],
        [f"seed{'s' if len(seeds) > 1 else ''} {_and(seeds)}: {remark}" for remark, seeds in remarks.items()],
    )


def _and(things: Sequence[object]) -> str:
    return ", ".join(map(str, things))


def figures_of(entry: dict[str, Any]) -> dict[str, float | None]:
    """A finished cell's figures by `FIGURES`."""
    return {
        **entry["figures"],
        "updates": entry["updates"],
        "seconds_per_update": entry["seconds"] / entry["updates"] if entry["updates"] else None,
        "parameters": sum(entry["parameters"].values()),
        "peak_memory_bytes": entry["peak_memory_bytes"],
    }


def _remarks(entry: dict[str, Any] | None, reason: str | None) -> list[str]:
    if entry is None:
        return [f"failed: {reason}"] if reason else ["not done yet"]
    if entry["status"] == "done":
        unmeasured = [f"{task} could not be measured: {why}" for task, why in entry["unmeasured"].items()]
        return [*entry["remarks"], *unmeasured]
    return [entry["reason"]]


def _notes(job: Job, about: dict[str, Any], done: Mapping[Cell, dict[str, Any]]) -> list[str]:
    timed = ", looking and saving not counted" if job.budget.minutes else ""
    seeds = _and(sorted({cell.seed for cell in job.cells}))
    notes = [
        _trained(job.settings(job.cells[0]), about["images"]),
        f"Budget: {job.budget} for each run{timed}; seeds {seeds}, and a seed gives every method the same images "
        "in the same order. The model measured is the average of weights (EMA) after the last update.",
        f"Distance: {about['name']}, {job.n:,} samples to all training images; the generator's is without a data "
        f"chain. {_chains(job)}",
        f"{_heldout(done)} Evaluation seed {MEASURING_SEED}; AUROC is the mean over the sets.",
        "± is one standard error over seeds. Seconds are of updates alone; parameters are those trained; peak "
        "memory is the process's while it trains, data and libraries included (GPU: what torch allocated there).",
    ]
    if job.changes:
        notes.append(f"Settings given: {', '.join(map(str, job.changes))}.")
    notes += [f"{change} is no setting of {', '.join(names)}." for change, names in job.absent.items()]
    return [*notes, *_machines(done)]


def _trained(c: Config, count: int) -> str:
    """What all cells are trained on, with which networks."""
    n, side, optim = c.networks, c.images.size, c.optim
    widths = f"widths {n.energy_width} (energy), {n.generator_width} (generator), {n.inference_width} (inference)"
    norms = f"{n.norm} norm, spectral norm {'on' if n.spectral_norm else 'off'}"
    return (
        f"Preset {c.preset} on {c.data} ({count:,} training images, {side}x{side}x{c.images.channels}); "
        f"{n.family} networks, {widths}, {n.latent_dim} latent dimensions, {norms}; batches of "
        f"{optim.batch_size}, EMA {optim.ema}, {c.precision}."
    )


def _machines(done: Mapping[Cell, dict[str, Any]]) -> list[str]:
    """What cells ran on; which of them, where it was not one machine for all."""
    machines: dict[str, list[str]] = {}
    for cell, entry in done.items():
        machines.setdefault(f"dualmcmc {entry['version']} on {entry['machine']}", []).append(str(cell))
    several = len(machines) > 1
    return [f"Machine: {name}{f' ({_and(cells)})' if several else ''}." for name, cells in machines.items()]


def _chains(job: Job) -> str:
    """How long each method's chains are."""
    data, latent = dict[int, list[str]](), dict[int, list[str]]()
    for method in job.methods:
        settings = job.settings(Cell(method, job.seed)).method
        if "energy" in settings.PARTS:
            data.setdefault(methods.test_chain(settings).steps, []).append(method)
        if "generator" in settings.PARTS:
            latent.setdefault(methods.latent_chain(settings).steps, []).append(method)
    found = []
    for name, lengths in (("data", data), ("latent", latent)):
        if lengths:
            words = "; ".join(f"{steps} ({', '.join(names)})" for steps, names in sorted(lengths.items()))
            found.append(f"Steps of the {name} chain: {words}.")
    return " ".join(found)


def _heldout(done: Mapping[Cell, dict[str, Any]]) -> str:
    for entry in done.values():
        protocols = entry.get("protocols", {})
        for task in ("reconstruction", "ood"):
            if task in protocols:
                p = protocols[task]
                training = ", which are training images" if p.get("held_out_is_training") else ""
                return f"MSE (pixels in [-1, 1]) and AUROC on {p['n']:,} images of {p['data']}{training}."
    return "Nothing is measured on held-out images yet."


def _shown(found: Table) -> dict[str, str]:
    """The columns for which some method has a figure."""
    held = {name for row in found.rows for name in row.figures}
    return {name: title.format(distance=found.distance) for name, title in FIGURES.items() if name in held}


def markdown(found: Table) -> str:
    """The table with its notes."""
    columns = _shown(found)
    lines = [["method", *columns.values(), "seeds", "remarks"]]
    lines.append(["---"] * len(lines[0]))
    if found.floor:
        values = [_floor(found.floor, name) for name in columns]
        shown = [NONE if value is None else _number("distance", value) for value in values]
        lines.append([f"{found.floor['n']:,} held-out images", *shown, NONE, ""])
    for row in found.rows:
        shown = [_text(name, row.figures.get(name)) for name in columns]
        lines.append([row.method, *shown, str(len(row.seeds)), "; ".join(row.remarks)])
    body = "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)
    notes = "\n".join(f"- {note}" for note in found.notes)
    return f"# {found.of['preset']}: {len(found.rows)} methods, {found.of['budget']} each\n\n{body}\n\n{notes}\n"


def _escaped(text: str) -> str:
    return text.replace("_", "\\_").replace("|", "\\|")


def _floor(floor: dict[str, Any], name: str) -> float | None:
    value = floor.get("distance" if name.startswith("distance") else name)
    return None if value is None else float(value)


def _text(name: str, value: Estimate | None) -> str:
    if value is None:
        return NONE
    error = value.standard_error
    if name in ("updates", "parameters", "peak_memory_bytes") or error is None:
        return _number(name, value.mean)
    return f"{_number(name, value.mean)} ± {error:.2g}"


def _number(name: str, value: float) -> str:
    if name == "peak_memory_bytes":
        return f"{value / 1e6:,.0f}"
    if name in ("updates", "parameters"):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def comma_separated(found: Table) -> str:
    """The same figures in full precision, each followed by its standard error; nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [part for name in FIGURES for part in (name, f"{name}_standard_error")]
    writer.writerow(["method", *columns, "seeds", "remarks"])
    if found.floor:
        values = [part for name in FIGURES for part in (_cell(_floor(found.floor, name)), "")]
        writer.writerow(["held-out images", *values, "", f"{found.floor['n']} images"])
    for row in found.rows:
        values = []
        for name in FIGURES:
            value = row.figures.get(name)
            values += [_cell(value and value.mean), _cell(value and value.standard_error)]
        writer.writerow([row.method, *values, len(row.seeds), "; ".join(row.remarks)])
    return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)


def as_json(found: Table) -> dict[str, Any]:
    """For programs: everything, cell by cell and set by set."""
    return {
        **found.of,
        "distance": found.distance,
        "held_out_images": found.floor,
        "methods": [
            {
                "method": row.method,
                "seeds": row.seeds,
                "remarks": row.remarks,
                "figures": {name: value._asdict() for name, value in row.figures.items()},
            }
            for row in found.rows
        ],
        "notes": found.notes,
        "cells": found.cells,
    }
