"""Figures of one or several runs as rows: one run's as rows and columns, several runs' with a column each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dualmcmc.report.evaluations import PRIMARY, Evaluation, Place, Value, differing
from dualmcmc.report.numbers import ARROWS, direction, number, plain, with_error


@dataclass(frozen=True)
class Label:
    """A heading, with an arrow where higher or lower is better; spans so many rows."""

    text: str
    arrow: str = ""
    rows: int = 1
    code: bool = True
    """It is the name of a figure, as JSON has it."""


@dataclass(frozen=True)
class Cell:
    """A figure as it is shown, and in full."""

    text: str
    exact: str = ""
    best: bool = False


NONE = Cell("–")
NAMED = {"h", "moved", "outside", "drift", "dip", "chains", "combination"}
"""Names of figures that look like words."""


@dataclass(frozen=True)
class Table:
    """What the page shows as a table."""

    title: Label
    head: list[Label]
    rows: list[tuple[list[Label], list[Cell]]]
    corner: int = 1
    """Leading columns that are headings."""


@dataclass(frozen=True)
class Measured:
    """A task's figures of all runs."""

    tables: list[Table]
    further: list[Table]
    """Tables that need not be seen at once."""
    protocols: list[tuple[str, list[str], bool]]
    """How it was measured: name, a value per run, whether the runs differ in it."""
    captions: list[tuple[str, str]]
    """The gist of it per run: its name, and a line."""
    runs: list[str]
    """The runs that were measured."""
    differing: list[str] = field(default_factory=list)
    """In what the runs were measured differently."""
    shaded: bool = False
    """Some figure is marked as the best of the runs."""
    error: str = ""
    """What the figures behind ± are."""


def measured(task: str, evaluations: dict[str, Evaluation | None], *, several: bool) -> Measured | None:
    """Tables of a task from each run's evaluation; None if no run has one.

    Arguments:
        task: its name.
        evaluations: by the run's name; None where there is none.
        several: a column per run, even if but one of them was evaluated.
    """
    there = {name: evaluation for name, evaluation in evaluations.items() if evaluation}
    if not there:
        return None
    unlike = differing(list(there.values()))
    figures = [evaluation.figures if evaluation else {} for evaluation in evaluations.values()]
    titles = merged(list(dict.fromkeys(place.table for place in found)) for found in figures)
    kinds: tuple[list[Table], list[Table]] = ([], [])
    for title in titles:
        parts = [{p: v for p, v in found.items() if p.table == title} for found in figures]
        table = _runs(title, parts, list(evaluations), not unlike) if several else _grid(title, parts[0])
        first = title in PRIMARY.get(task, (title,)) and title != "also recorded"
        kinds[0 if first else 1].append(table)
    return Measured(
        *kinds,
        protocols=_protocols(there, unlike),
        captions=[(name, _gist(evaluation)) for name, evaluation in there.items()],
        runs=list(there),
        differing=unlike,
        shaded=any(cell.best for tables in kinds for table in tables for _, cells in table.rows for cell in cells),
        error=_error(list(there.values())),
    )


def label(name: str, rows: int = 1) -> Label:
    """A heading; names of figures keep their spelling, and have an arrow."""
    code = name in NAMED or (bool(name) and " " not in name and (direction(name) != 0 or "_" in name))
    return Label(name, ARROWS[direction(name)], rows, code)


def cell(value: Value | None, *, best: bool = False) -> Cell:
    """A figure as text, with all its digits to hover over."""
    if value is None:
        return NONE
    if isinstance(value.mean, int):
        return Cell(number(value.mean), best=best)
    error = "" if value.error is None else f" ± {value.error!r}"
    return Cell(with_error(value.mean, value.error), f"{value.mean!r}{error}", best)


def merged(lists: Iterable[Sequence[str]]) -> list[str]:
    """All items of several lists once, each after what it follows in its own list."""
    order: list[str] = []
    for items in lists:
        place = 0
        for item in items:
            if item in order:
                place = order.index(item) + 1
            else:
                order.insert(place, item)
                place += 1
    return order


def _grid(title: str, figures: dict[Place, Value]) -> Table:
    """One run: rows and columns as the task has them."""
    rows, columns = (list(dict.fromkeys(getattr(place, part) for place in figures)) for part in ("row", "column"))
    body = [([label(row)], [cell(figures.get(Place(title, row, c))) for c in columns]) for row in rows]
    return Table(label(title), [label(column) for column in columns], body)


def _runs(title: str, parts: list[dict[Place, Value]], names: list[str], comparable: bool) -> Table:
    """Several runs: a row per figure, the best one marked if all were measured alike."""
    body: list[tuple[list[Label], list[Cell]]] = []
    for row in merged(list(dict.fromkeys(p.row for p in part)) for part in parts):
        columns = merged([p.column for p in part if p.row == row] for part in parts)
        for i, column in enumerate(columns):
            place = Place(title, row, column)
            values = [part.get(place) for part in parts]
            best = _best(values, direction(*place)) if comparable else None
            heads = [label(row, len(columns))] if i == 0 else []
            cells = [cell(value, best=value is not None and value.mean == best) for value in values]
            body.append(([*heads, label(column)], cells))
    return Table(label(title), [Label(name, code=False) for name in names], body, corner=2)


def _best(values: list[Value | None], better: int) -> float | None:
    means = [value.mean for value in values if value is not None]
    if better == 0 or len(set(means)) < 2:
        return None
    return max(means) if better > 0 else min(means)


def _protocols(there: dict[str, Evaluation], unlike: list[str]) -> list[tuple[str, list[str], bool]]:
    names = merged(list(evaluation.protocol) for evaluation in there.values())
    rows = []
    for name in names:
        values = [_seeds(e) if name == "seed" else _protocol(e.protocol, name) for e in there.values()]
        rows.append((name, values, name in unlike))
    return rows


def _protocol(protocol: dict[str, Any], name: str) -> str:
    return plain(protocol[name]) if name in protocol else "–"


def _seeds(evaluation: Evaluation) -> str:
    return ", ".join(map(plain, evaluation.seeds))


def _gist(evaluation: Evaluation) -> str:
    """Which model, which images, how many: the least that a figure needs beside it."""
    p = evaluation.protocol
    words = [f"step {p['step']:,}"] if isinstance(p.get("step"), int) else []
    if weights := p.get("weights"):
        words.append({"ema": "EMA weights", "live": "live weights"}.get(str(weights), str(weights)))
    if isinstance(p.get("samples"), int):
        words.append(f"{p['samples']:,} samples")
    if isinstance(p.get("reference.n"), int):
        words.append(f"against {p['reference.n']:,} images of {p.get('reference.data', 'the reference')}")
    elif isinstance(p.get("n"), int):
        words.append(f"{p['n']:,} images of {p.get('data', 'the data')}{_split(p)}")
    if "seed" in p:
        words.append(f"seed{'s' if len(evaluation.seeds) > 1 else ''} {_seeds(evaluation)}")
    return " · ".join(words)


def _split(protocol: dict[str, Any]) -> str:
    data, split = str(protocol.get("data", "")), protocol.get("split")
    return f" ({split})" if split and not data.endswith(f":{split}") else ""


def _error(evaluations: list[Evaluation]) -> str:
    """What ± means in these tables, if there is one."""
    if not any(value.error is not None for e in evaluations for value in e.figures.values()):
        return ""
    seeds = {len(e.seeds) for e in evaluations}
    if seeds == {1}:
        return "± is the standard error within one evaluation."
    several = ", ".join(str(n) for n in sorted(seeds - {1}))
    within = " (where there is but one seed: within that evaluation)" if 1 in seeds else ""
    return f"Means over {several} seeds; ± is the standard error over them{within}."
