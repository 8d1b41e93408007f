"""The page: its sections filled into the template, and kept under the size limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc import __version__
from dualmcmc.errors import InputError
from dualmcmc.report import words
from dualmcmc.report.curves import COLOURS, DASHES
from dualmcmc.report.evaluations import TASKS, newest
from dualmcmc.report.numbers import plain
from dualmcmc.report.pictures import Album, embed
from dualmcmc.report.reading import RunRecord, flat
from dualmcmc.report.sections import Evaluations, sections_of
from dualmcmc.report.tables import cell

if TYPE_CHECKING:
    from jinja2 import Template

MARK = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="generator" content="dualmcmc report'
)
"""How every report begins, and by which one is known."""
LIMIT = 5_000_000
GOAL = 4_500_000
"""Bytes that pictures may fill the page up to; the rest is room for notes about them."""


@dataclass(frozen=True)
class Page:
    """The HTML and what could not be shown on it."""

    html: str
    notes: list[str]
    pictures: int


def render(runs: Sequence[RunRecord], today: date) -> Page:
    """The report of these runs.

    Raises:
        InputError: there are so many runs that text and curves alone exceed the limit, or one is damaged.
    """
    evaluations: Evaluations = {task: {run.name: newest(run, task) for run in runs} for task in _tasks(runs)}
    sections = list(sections_of(runs, evaluations))
    pictures = [p for s in sections for p in (*s.pictures, *(p for strip in s.strips for p in strip))]
    known: dict[str, Any] = {
        "version": __version__,
        "today": today.isoformat(),
        "title": f"dualmcmc report: {', '.join(run.name for run in runs)}",
        "runs": [_run(run, i, evaluations) for i, run in enumerate(runs)],
        "sections": sections,
        "glance": _glance(runs, evaluations),
        "settings": _settings(runs),
        "notes": [note for run in runs for note in run.notes],
    }
    bare = len(_fill(known, Album({}, [])).encode())
    if bare > GOAL:
        raise InputError(
            f"the text and curves of {len(runs)} runs alone take {bare / 1e6:.1f} MB, and a page may take 5: "
            "name fewer runs"
        )
    album = embed(pictures, GOAL - bare)
    html = _fill(known, album)
    return Page(html, [*known["notes"], *album.notes], len(album.pictures))


def _tasks(runs: Sequence[RunRecord]) -> list[str]:
    return list(dict.fromkeys([*TASKS, *(task for run in runs for task in run.metrics)]))


def _fill(known: dict[str, Any], album: Album) -> str:
    html = _template().render(**{**known, "notes": [*known["notes"], *album.notes]}, album=album.pictures)
    html = html.encode("utf-8", "replace").decode()  # file names need not be Unicode
    assert html.startswith(MARK)
    return html


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _run(run: RunRecord, index: int, evaluations: Evaluations) -> dict[str, Any]:
    own = {task: by_run[run.name] for task, by_run in evaluations.items()}
    colour = f"c{index % COLOURS}" + (f" d{index // COLOURS % DASHES}" if index >= COLOURS else "")
    return {"name": run.name, "path": str(run.path), "about": words.about(run, own), "key": colour}


def _glance(runs: Sequence[RunRecord], evaluations: Evaluations) -> list[dict[str, Any]]:
    """The few figures to see first: name, what of, and a cell per run."""
    by_run = [words.headlines({task: entries[run.name] for task, entries in evaluations.items()}) for run in runs]
    there = {(h.name, h.detail): h for headlines in by_run for h in headlines}
    return [
        {
            "name": name,
            "detail": detail,
            "arrow": headline.arrow,
            "cells": [
                cell(next((h.value for h in hs if (h.name, h.detail) == (name, detail)), None)) for hs in by_run
            ],
        }
        for (name, detail), headline in there.items()
    ]


def _settings(runs: Sequence[RunRecord]) -> list[tuple[str, list[str], bool]]:
    """All settings: name, a value per run, whether the runs differ in it."""
    each = [
        {**flat(run.config), **flat(run.about), **{f"model.{k}": v for k, v in flat(run.model).items()}}
        for run in runs
    ]
    names = list(dict.fromkeys(name for values in each for name in values))
    rows = []
    for name in names:
        shown = [plain(values[name]) if name in values else "–" for values in each]
        rows.append((name, shown, len(set(shown)) > 1))
    return rows
