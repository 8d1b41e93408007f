"""The comparison's table: a row for each method, means and standard errors over seeds; reads files, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, NamedTuple

from dualmcmc.compare import notes
from dualmcmc.compare.folder import CompareFolder
from dualmcmc.compare.job import NOISE_STEPS, Cell, Job
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
    return Table(about["name"], about["floor"], rows, notes.under(job, about, done), cells, job.identity())


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
        [_of_seeds(seeds, remark) for remark, seeds in remarks.items()],
    )


def _of_seeds(seeds: list[int], remark: str) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {notes.joined(seeds)}: {remark}"


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
    below = "\n".join(f"- {note}" for note in found.notes)
    return f"# {found.of['preset']}: {len(found.rows)} methods, {found.of['budget']} each\n\n{body}\n\n{below}\n"


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
