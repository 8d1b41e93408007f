"""The paper's figures beside ours, laid out as in the paper, as Markdown and CSV; reads files only, no torch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

from dualmcmc.reproduce.folder import SweepFolder
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import Cell, Column, Row
from dualmcmc.settings import Config
from dualmcmc.storage.files import write_text

NONE = "–"
KEPT = ("figures", "distance", "seconds_per_update", "seconds_measuring", "protocol", "machine")
"""What programs are told of a finished cell."""


@dataclass(frozen=True)
class Line:
    """A row's figures, the paper's or ours; None where there is none."""

    of: str
    name: str
    values: list[float | None]


@dataclass(frozen=True)
class Table:
    """What both files hold."""

    head: list[str]
    lines: list[Line]
    notes: list[str]
    cells: list[dict[str, Any]]
    """The same by cell, for programs."""


def write(job: Job, folder: SweepFolder, measuring: dict[str, Any]) -> Table:
    """Replaces table.md and table.csv by ones of the cells that are done; returns what they hold."""
    found = read(job, folder, measuring)
    write_text(folder.path / "table.md", markdown(job, found))
    write_text(folder.path / "table.csv", comma_separated(found))
    return found


def read(job: Job, folder: SweepFolder, measuring: dict[str, Any]) -> Table:
    """The table of the cells that are done."""
    done = {}
    for cell in job.cells:
        entry = folder.read(cell) if folder.state(cell, measuring) == "done" else None
        if entry is not None:
            done[cell.name] = entry
    columns = [(cell, column) for cell in _shown(job) for column in cell.columns]
    lines = []
    for row in job.sweep.rows:
        published = [column.published.get(row.name) for _, column in columns]
        if any(value is not None for value in published):
            lines.append(Line("paper", row.name, list(published)))
        lines.append(Line("ours", _our_name(row, done), [_ours(done, *place, row) for place in columns]))
    head = [column.name.format(preset=job.small) for _, column in columns]
    cells = [_program(job, folder, cell, done.get(cell.name)) for cell in _shown(job)]
    return Table(head, lines, _notes(job, done), cells)


def _program(job: Job, folder: SweepFolder, cell: Cell, entry: dict[str, Any] | None) -> dict[str, Any]:
    """A cell as JSON; figures and published numbers are by row and column."""
    published = {
        row.name: values
        for row in job.sweep.rows
        if (values := {c.name: c.published[row.name] for c in cell.columns if row.name in c.published})
    }
    kept = {name: entry[name] for name in KEPT} if entry else {}
    run = str(folder.run(cell).path) if cell in job.cells else None
    return {"name": cell.name, "run": run, "done": entry is not None, "published": published, **kept}


def _shown(job: Job) -> list[Cell]:
    """The cells of this scale, and at small scale those of the paper whose figures stand beside."""
    return [cell for cell in job.sweep.cells if cell.only != "small" or job.scale == "small"]


def _our_name(row: Row, done: dict[str, Any]) -> str:
    """FID is what the paper measures; ours carries the name of its features."""
    if not row.path.startswith("distance"):
        return row.name
    names = {entry["distance"]["name"] for entry in done.values()}
    return ", ".join(sorted(names)) or "distance"


def _ours(done: dict[str, Any], cell: Cell, column: Column, row: Row) -> float | None:
    if cell.name not in done:
        return None
    value: float = done[cell.name]["figures"][row.name][column.name]
    return value


def _notes(job: Job, done: dict[str, Any]) -> list[str]:
    notes = [_trained(job)]
    if job.scale == "small":
        notes.append(_toy(job))
    seen = dict.fromkeys(_measured(entry) for entry in done.values())
    notes += [*seen] or ["No cell is done yet."]
    return [*notes, *job.sweep.notes]


def _trained(job: Job) -> str:
    """What the cells are, in a line for each base."""
    lines = []
    for base in job.bases:
        cells = [cell for cell in job.cells if job.base(cell) == base]
        c: Config = job.settings(cells[0])
        lines.append(
            f"preset {base} on {c.data} at {_size(c)}, {c.networks.family} networks, {c.run.steps:,} updates "
            f"of {c.optim.batch_size} images"
        )
    return f"Scale {job.scale}, training seed {job.seed}, one run a cell: {'; '.join(lines)}."


def _size(c: Config) -> str:
    return f"{c.images.size}x{c.images.size}x{c.images.channels}"


def _toy(job: Job) -> str:
    """What the small scale is not."""
    from dualmcmc import presets

    paper = dict.fromkeys(cell.preset or job.sweep.preset for cell in job.sweep.cells if cell.only != "small")
    full = [presets.preset(name) for name in paper]
    theirs = " and ".join(f"{c.preset}, {_size(c)}, {c.networks.family}, {c.run.steps:,} updates" for c in full)
    return (
        f"This is not the paper's setting ({theirs}): no value is comparable with the paper's, only orderings "
        "are, and with one seed and so few updates small differences mean nothing."
    )


def _measured(entry: dict[str, Any]) -> str:
    """How a cell was measured; equal for most cells."""
    p = entry["protocol"]
    distance = ""
    if entry["distance"]:
        name, seen = entry["distance"]["name"], p["reference"]
        distance = f"{name}: {p['samples']:,} samples to {seen['n']:,} images of {seen['data']}"
    heldout = f"{p['n']:,} held-out images of {p['data']}" if "n" in p else ""
    what = "; ".join(part for part in (distance, heldout) if part)
    about = f"dualmcmc {p['version']}, weights {p['weights']} of update {p['step']:,}, seed {p['seed']}"
    return f"Measured by {about}: {what}. Machine: {entry['machine']}."


def markdown(job: Job, found: Table) -> str:
    """The table with its notes."""
    label = f"{job.table[:-1].capitalize()} {job.table[-1]}"
    rows = [["", *found.head], ["---"] * (len(found.head) + 1)]
    for line in found.lines:
        name = line.name.replace("_", "\\_")
        shown = [NONE if value is None else _number(value, line.of) for value in line.values]
        rows.append([f"{line.of}: {name}", *shown])
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    drawing = f"\n![{label}]({job.table}.png)\n" if job.sweep.drawing else ""
    notes = "\n".join(f"- {note}" for note in found.notes)
    return f"# {label}: {job.sweep.title}\n\n{body}\n{drawing}\n{notes}\n- In the paper: {job.sweep.source}.\n"


def _number(value: float, of: str) -> str:
    return f"{value:g}" if of == "paper" else f"{value:.4g}"


def comma_separated(found: Table) -> str:
    """The same figures in full precision; nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["of", "figure", *found.head])
    for line in found.lines:
        writer.writerow([line.of, line.name, *("" if v is None else repr(v) for v in line.values)])
    return text.getvalue()
