"""The paper's figures beside ours, laid out as in the paper, as Markdown and CSV; reads files only, no torch."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dualmcmc.reproduce.folder import SweepFolder
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.notes import notes
from dualmcmc.reproduce.sweeps import Cell, Column, Row
from dualmcmc.storage.files import write_text

NONE = "–"
KEPT = ("figures", "distance", "seconds_per_update", "seconds_measuring", "protocol", "machine")
"""What programs are told of a finished cell."""

Done = Mapping[str, Any]
"""Finished cells' entries, by name."""

Value = float | str | None
"""A figure, or words; None where there is none."""


class Head(NamedTuple):
    """Over a column: whose figures stand in it, where that differs by column, and its name."""

    of: str
    name: str


class Line(NamedTuple):
    """A row: whose figures stand in it, where that differs by row, its name and values."""

    of: str
    name: str
    values: list[Value]


@dataclass(frozen=True)
class Table:
    """What both files hold."""

    corner: list[str]
    """Over the names of rows."""
    heads: list[Head]
    lines: list[Line]
    notes: list[str]
    cells: list[dict[str, Any]]
    """The same by cell, for programs."""


Remarks = Mapping[str, str]
"""Why there are no figures, by cell."""


def write(job: Job, folder: SweepFolder, features: dict[str, Any] | None, remarks: Remarks) -> Table:
    """Replaces table.md and table.csv by ones of the cells that are done; returns what they hold.

    Arguments:
        job: the sweep.
        folder: where it is.
        features: the feature network's protocol, if there is one.
        remarks: on cells that cannot be run, or failed.
    """
    found = read(job, folder, features, remarks)
    write_text(folder.path / "table.md", markdown(job, found))
    write_text(folder.path / "table.csv", comma_separated(found))
    return found


def read(job: Job, folder: SweepFolder, features: dict[str, Any] | None, remarks: Remarks) -> Table:
    """The table of the cells that are done; see `write`."""
    done = {}
    for cell in job.cells:
        state = folder.state(cell, job.measuring(cell, features))
        entry = folder.read(cell) if state == "done" else None
        if entry is not None:
            done[cell.name] = entry
    cells = [_program(job, folder, cell, done.get(cell.name), remarks.get(cell.name)) for cell in _shown(job)]
    heads, lines = (_transposed if job.sweep.transposed else _plain)(job, done, remarks)
    corner = ["method"] if job.sweep.transposed else ["of", "figure"]
    return Table(corner, heads, lines, notes(job, done), cells)


def _program(
    job: Job, folder: SweepFolder, cell: Cell, entry: dict[str, Any] | None, remark: str | None
) -> dict[str, Any]:
    """A cell as JSON; figures and published numbers are by row and column."""
    published = {
        row.name: values
        for row in job.sweep.rows
        if (values := {c.name: c.published[row.name] for c in cell.columns if row.name in c.published})
    }
    kept = {name: entry[name] for name in KEPT if name in entry} if entry else {}
    about = {"name": cell.name, "method": cell.method, "done": entry is not None, "published": published}
    run = str(folder.run(cell).path) if cell in job.cells else None
    return {**about, "run": run, **({"remark": remark} if remark else {}), **kept}


def _shown(job: Job) -> list[Cell]:
    """The cells of this scale, what is quoted, and at small scale the paper's, whose figures stand beside."""
    return [cell for cell in job.sweep.cells if cell.only in (None, "paper", job.scale)]


# -- figures one below the other, cells side by side ------------------------------------------------


def _plain(job: Job, done: Done, remarks: Remarks) -> tuple[list[Head], list[Line]]:
    """A row of the paper's figures, if it has any, and one of ours for each of the sweep's."""
    places = [(cell, column) for cell in _shown(job) for column in cell.columns]
    lines = []
    for row in job.rows:
        published = [column.published.get(row.name) for _, column in places]
        if any(value is not None for value in published):
            lines.append(Line("paper", row.name, list(published)))
        lines.append(Line("ours", _our_name(row, done), [_ours(done, *place, row) for place in places]))
    if remarks:
        lines.append(Line("ours", "remark", [remarks.get(cell.name) for cell, _ in places]))
    return [Head("", column.title.format(preset=job.small)) for _, column in places], lines


# -- methods one below the other, data sets and figures side by side --------------------------------


def _transposed(job: Job, done: Done, remarks: Remarks) -> tuple[list[Head], list[Line]]:
    """A column of the paper's figures and one of ours for each of the sweep's, on each data set."""
    shown = _shown(job)
    names = dict.fromkeys(column.title for cell in shown for column in cell.columns)
    heads, columns = [], []
    for data in dict.fromkeys(cell.data for cell in shown):
        # By name, as no line has two cells on a data set.
        places = {column.title: (cell, column) for cell in shown if cell.data == data for column in cell.columns}
        title = data.format(preset=job.small)
        for row in job.sweep.rows:
            published = {name: column.published.get(row.name) for name, (_, column) in places.items()}
            if any(value is not None for value in published.values()):
                heads.append(Head("paper", f"{title} {row.name}".strip()))
                columns.append(published)
            measured = any(cell in job.cells for cell, _ in places.values())
            if measured and row in job.rows and _asked(job, data, row):
                ours = {name: _ours(done, *place, row) for name, place in places.items()}
                entries = {cell.name: done[cell.name] for cell, _ in places.values() if cell.name in done}
                heads.append(Head("ours", f"{title} {_our_name(row, entries)}".strip()))
                columns.append(ours)
    lines = [Line("", name, [column.get(name) for column in columns]) for name in names]
    if remarks:
        heads.append(Head("", "remark"))
        for line in lines:
            line.values.append(_remark(job, line.name, remarks))
    return heads, lines


def _asked(job: Job, data: str, row: Row) -> bool:
    """Whether the paper has that figure on that data set, or says nothing of the one or the other."""
    cells = job.sweep.cells
    printed = {(cell.data, name) for cell in cells for column in cell.columns for name in column.published}
    if (data, row.name) in printed:
        return True
    return data not in {where for where, _ in printed} or row.name not in {name for _, name in printed}


def _remark(job: Job, name: str, remarks: Remarks) -> str | None:
    """On a line's cells."""
    cells = [cell for cell in job.cells if name in {column.title for column in cell.columns}]
    said = [
        f"{cell.data.format(preset=job.small)}: {remarks[cell.name]}" for cell in cells if cell.name in remarks
    ]
    return "; ".join(line.removeprefix(": ") for line in said) or None


# -- both -------------------------------------------------------------------------------------------


def _our_name(row: Row, done: Done) -> str:
    """FID is what the paper measures; ours carries the name of its features."""
    if not row.path.startswith("distance"):
        return row.name
    names = {entry["distance"]["name"] for entry in done.values()}
    return ", ".join(sorted(names)) or "distance"


def _ours(done: Done, cell: Cell, column: Column, row: Row) -> float | None:
    if cell.name not in done:
        return None
    value: float | None = done[cell.name]["figures"][row.name][column.name]
    return value


def markdown(job: Job, found: Table) -> str:
    """The table with its notes."""
    label = f"{job.table[:-1].capitalize()} {job.table[-1]}"
    rows = [["", *map(_label, found.heads)], ["---"] * (len(found.heads) + 1)]
    for line in found.lines:
        ofs = [line.of or head.of for head in found.heads]
        rows.append([_label(line), *(_text(value, of) for value, of in zip(line.values, ofs, strict=True))])
    body = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    drawing = f"\n![{label}]({job.table}.png)\n" if job.sweep.drawing else ""
    below = "\n".join(f"- {note}" for note in found.notes)
    return f"# {label}: {job.sweep.title}\n\n{body}\n{drawing}\n{below}\n- In the paper: {job.sweep.source}.\n"


def _label(place: Head | Line) -> str:
    return _escaped(f"{place.of}: {place.name}" if place.of else place.name)


def _escaped(words: str) -> str:
    return words.replace("_", "\\_").replace("|", "\\|")


def _text(value: Value, of: str) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return _escaped(value)
    return f"{value:g}" if of == "paper" else f"{value:.4g}"


def comma_separated(found: Table) -> str:
    """The same figures in full precision; nothing where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*found.corner, *(f"{of}: {name}" if of else name for of, name in found.heads)])
    for line in found.lines:
        names = [line.of, line.name][-len(found.corner) :]
        writer.writerow(
            [*names, *("" if v is None else v if isinstance(v, str) else repr(v) for v in line.values)]
        )
    return text.getvalue()
