"""A comparison: the whole configuration of each cell, and how all are measured. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from dualmcmc import config as configs
from dualmcmc import presets
from dualmcmc.compare import changes as changing
from dualmcmc.compare.budget import Budget
from dualmcmc.compare.changes import Change
from dualmcmc.errors import InputError
from dualmcmc.methods import METHODS
from dualmcmc.settings import Config
from dualmcmc.tasks.plan import Plan, Task

TASKS: tuple[Task, ...] = ("generation", "reconstruction", "ood")
NOISE_STEPS = (10, 30)
"""Lengths of the latent chain from noise; the last is the table's."""
MEASURING_SEED = 0
"""Of all evaluations: cells differ by training alone."""
CHECKPOINT_EVERY = 2000


class Cell(NamedTuple):
    """A method with a seed."""

    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is compared, and how."""

    preset: str
    methods: tuple[str, ...]
    budget: Budget
    out: Path
    seeds: int = 3
    """Runs of each method."""
    seed: int = 0
    """The first one's."""
    data: str | None = None
    """A data reference; None: the preset's own."""
    changes: tuple[Change, ...] = ()
    features: str = "pixels"
    """The feature network of distances."""
    feature_weights: Path | None = None
    n: int = 2000
    """Samples that distances are measured with."""
    held_out: int | None = None
    """Held-out images for all else; None: the first 1,000, or all there are."""
    ood: tuple[str, ...] = ("builtin",)
    jobs: int = 1
    """Cells at once."""
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError(f"--methods: name some of {', '.join(METHODS)}, or all")
        if len(set(self.methods)) < len(self.methods):
            raise InputError("--methods names one twice")
        if self.n < 20:
            raise InputError(f"-n {self.n}: distances need 20 samples or more")
        if not self.ood:
            raise InputError("--ood: name some sets, or builtin")
        for method in self.methods:
            self.settings(Cell(method, self.seed))
        for change in self.changes:
            if not any(change in self._having(method) for method in METHODS):
                who = f"method {change.only}" if change.only else "no method"
                raise InputError(f"--set {change}: {who} has {'no' if change.only else 'a'} setting {change.path}")

    @property
    def cells(self) -> list[Cell]:
        """Every method's first seed comes first."""
        return [Cell(method, self.seed + i) for i in range(self.seeds) for method in self.methods]

    def settings(self, cell: Cell) -> Config:
        """A cell's whole configuration.

        Raises:
            InputError: there is no such preset or method, or some setting may not be so.
        """
        return configs.from_dict(self._values(cell)[0])

    @cached_property
    def absent(self) -> dict[str, list[str]]:
        """Changes (as they were given) that some methods have no setting for, and these methods."""
        found: dict[str, list[str]] = {}
        for method in self.methods:
            for change in self._values(Cell(method, self.seed))[1]:
                found.setdefault(str(change), []).append(method)
        return found

    def _having(self, method: str) -> list[Change]:
        """The changes that a method, compared here or not, takes."""
        absent = self._values(Cell(method, self.seed))[1]
        return [change for change in self.changes if change.only in (None, method) and change not in absent]

    def _values(self, cell: Cell) -> tuple[dict[str, Any], list[Change]]:
        values = configs.to_dict(presets.preset(self.preset, cell.method))
        values["seed"] = cell.seed
        values["data"] = self.data or values["data"]
        values["run"] |= {
            "steps": self.budget.steps,
            "minutes": self.budget.minutes,
            "sample_every": 0,
            "evaluate_every": 0,
            "checkpoint_every": CHECKPOINT_EVERY,
            "keep": 2,
        }
        return values, changing.apply(self.changes, values)

    @property
    def plan(self) -> Plan:
        """How cells are measured."""
        return Plan(n=self.n, held_out=self.held_out, ood=self.ood, noise_steps=NOISE_STEPS)

    def identity(self) -> dict[str, Any]:
        """What all cells of one folder share, as JSON; methods and seeds may be added."""
        return {
            "preset": self.preset,
            "budget": str(self.budget),
            "set": [str(change) for change in self.changes],
            "n": self.n,
            "held_out": self.held_out,
            "ood": list(self.ood),
        }
