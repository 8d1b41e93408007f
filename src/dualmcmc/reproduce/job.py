"""A sweep at a scale: the whole configuration of each cell, and how it is measured. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dualmcmc import config as configs
from dualmcmc import presets
from dualmcmc.errors import InputError
from dualmcmc.reproduce.sweeps import (
    FEATURES,
    FEWER_SAMPLES,
    SAMPLES,
    SMALL,
    SWEEPS,
    Cell,
    OfUpdates,
    Row,
    Scale,
    SmallPreset,
    Sweep,
    TableName,
    Times,
)
from dualmcmc.settings import Config
from dualmcmc.tasks.plan import Plan


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """The configuration with settings changed by path.

    Raises:
        KeyError: there is no such setting.
        InputError: one may not be so.
    """
    values = configs.to_dict(config)
    for path, value in changes.items():
        *folders, leaf = path.split(".")
        node = values
        for folder in folders:
            node = node[folder]
        before = node[leaf]
        if isinstance(value, Times):
            value = round(before * value.factor)
        elif isinstance(value, OfUpdates):
            value = round(values["run"]["steps"] * value.part)
        node[leaf] = value
    return configs.from_dict(values)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A sweep to be carried out."""

    table: TableName
    scale: Scale
    out: Path
    small: SmallPreset = "digits"
    """The base at small scale."""
    data: tuple[str, ...] = ()
    """Where the images lie: a reference for each preset that cells start from, in order; (): the presets' own."""
    features: str | None = None
    """The feature network of distances; None: the scale's."""
    feature_weights: Path | None = None
    seed: int = 0
    device: str | None = None
    run: Path | None = None
    """A trained run to measure instead of training; for sweeps of one cell."""

    def __post_init__(self) -> None:
        if self.run is not None and len(self.cells) != 1:
            raise InputError(f"--run: {self.table} at {self.scale} scale has {len(self.cells)} cells, not one run")
        if self.data and len(self.data) != len(self.bases):
            names = ", ".join(self.bases)
            raise InputError(
                f"--data: {self.table} at {self.scale} scale trains on {names}: give "
                f"{'one reference for each, in this order' if len(self.bases) > 1 else 'one reference'}"
            )

        if self.network is None and (self.features or self.feature_weights):
            raise InputError(f"{self.table} measures no distance of features: leave --features out")

    @property
    def sweep(self) -> Sweep:
        """What is carried out."""
        return SWEEPS[self.table]

    @property
    def cells(self) -> list[Cell]:
        """The runs of this scale; what is only quoted is none."""
        return [cell for cell in self.sweep.cells if cell.method is not None and cell.only in (None, self.scale)]

    @property
    def rows(self) -> list[Row]:
        """What is measured at this scale."""
        return [row for row in self.sweep.rows if row.only in (None, self.scale)]

    @property
    def bases(self) -> list[str]:
        """The presets that cells start from."""
        return list(dict.fromkeys(self.base(cell) for cell in self.cells))

    @property
    def network(self) -> str | None:
        """The feature network; None where nothing needs one."""
        if "generation" not in self.sweep.tasks:
            return None
        return self.features or FEATURES[self.scale]

    def plan(self, cell: Cell) -> Plan:
        """How a cell is measured."""
        if self.scale == "small":
            return replace(self.sweep.plan, n=SAMPLES["small"], **self.sweep.small_plan)
        return replace(self.sweep.plan, n=FEWER_SAMPLES.get(self.base(cell), SAMPLES["paper"]))

    def base(self, cell: Cell) -> str:
        """The preset that a cell starts from."""
        return self.small if self.scale == "small" else cell.preset or self.sweep.preset

    def settings(self, cell: Cell) -> Config:
        """A cell's whole configuration.

        Raises:
            InputError: some setting may not be so.
        """
        assert cell.method is not None, cell.name
        name = self.base(cell)
        changes: dict[str, Any] = {"seed": self.seed}
        if self.data:
            changes["data"] = self.data[self.bases.index(name)]
        if self.scale == "small":
            changes |= {**SMALL[self.small], "run.steps": self.sweep.updates[self.small]}
        changes |= cell.changes
        if self.scale == "small":
            changes |= cell.small
        return changed(presets.preset(name, cell.method), changes)

    def measuring(self, cell: Cell, features: dict[str, Any] | None) -> dict[str, Any]:
        """How a cell is measured, as JSON; `features` is the feature network's protocol."""
        return {
            "tasks": list(self.sweep.tasks),
            **asdict(self.plan(cell)),
            "features": features,
            "seed": self.seed,
        }
