"""Lines of a transposed table: a method with its runs, or what others' work is quoted with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dualmcmc.reproduce.sweeps.parts import Cell, Column

SETTINGS = (
    "Each method has its own default settings, all have the same networks, data, optimiser, batch size and number "
    "of updates; the works themselves differ in all of these."
)
Published = Mapping[str, Mapping[str, float]]
"""Figures by data set and row."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the paper's table."""

    name: str
    reference: int | None = None
    at: str = ""
    """Where our figures lie, as in `Column`."""
    published: Published = field(default_factory=dict)


def runs(
    method: str, presets: Mapping[str, str], *lines: Line, changes: Mapping[str, Any] | None = None
) -> tuple[Cell, ...]:
    """A method's cells: one on each data set at paper scale, and one at small scale.

    Arguments:
        method: what teaches it.
        presets: preset by data set.
        lines: what each run fills in.
        changes: settings by path.
    """
    shared: dict[str, Any] = {"method": method, "changes": changes or {}}
    papers = (
        Cell(
            name=f"{method}-{preset}",
            data=data,
            preset=preset,
            only="paper",
            columns=tuple(_column(line, data) for line in lines),
            **shared,
        )
        for data, preset in presets.items()
    )
    columns = tuple(_column(line) for line in lines)
    return (*papers, Cell(name=method, data="{preset}", only="small", columns=columns, **shared))


def quoted(line: Line) -> tuple[Cell, ...]:
    """Cells that are never run."""
    return tuple(
        Cell(name=f"{line.name}, {data}", method=None, data=data, columns=(_column(line, data),))
        for data in line.published
    )


def _column(line: Line, data: str | None = None) -> Column:
    published = line.published.get(data, {}) if data else {}
    return Column(name=line.name, reference=line.reference, at=line.at, published=published)
