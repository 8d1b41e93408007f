"""What a sweep is made of, and what the two scales are.

A sweep is made of cells, one run each: the base preset, taught by a method, with a few settings changed. Rows say
where in a cell's measurements their figure lies, by a dotted path in which `{at}` stands for the column's place;
what a method has no part for is not there, and stays empty:

    generation, reconstruction, ...   the tasks' entries, as in metrics.json
    distance, score                   to training images, inception score: of the generator, after the test chain
    seconds                           of an update, the median over the log's lines
    millions                          learned numbers of each network
    steps                             of the chains in training: data, latent; 0 where the method has none

At paper scale the base is the paper's data set, at small scale a preset that a CPU trains in minutes. Tables of
methods are transposed: the methods stand one below the other, data sets and figures side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dualmcmc.tasks.plan import Plan, Task

Scale = Literal["small", "paper"]
SmallPreset = Literal["digits", "fashion_mnist"]
TableName = Literal[
    "table1",
    "table2",
    "table3",
    "table4",
    "table5",
    "table6",
    "table7",
    "table8",
    "table9",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
]

SAMPLES: Mapping[Scale, int] = {"small": 1500, "paper": 50_000}
"""Of each distance."""
FEWER_SAMPLES: Mapping[str, int] = {"celeba_hq256": 30_000}
"""The paper's other numbers of samples, by preset (Appendix C)."""
FEATURES: Mapping[Scale, str] = {"small": "pixels", "paper": "inception"}
"""Their feature network, unless another is asked for."""
SMALL: Mapping[SmallPreset, Mapping[str, Any]] = {
    "digits": {"run.evaluate_every": 0, "run.checkpoint_every": 200},
    "fashion_mnist": {
        "images.size": 16,
        "run.sample_every": 200,
        "run.evaluate_every": 0,
        "run.checkpoint_every": 100,
    },
}
"""What the small scale changes in its presets, beside the number of updates. Without evaluations, a run's model is
that of its last update; the best by a small evaluation has had more updates in one cell than in another."""


@dataclass(frozen=True)
class Times:
    """A change to so many times what the preset has."""

    factor: float


@dataclass(frozen=True)
class OfUpdates:
    """A change to so large a part of the run's updates."""

    part: float


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table; where it is transposed, one line of it, which cells on several data sets share."""

    name: str
    """As in the paper."""
    reference: int | None = None
    """The paper's number of the work that it cites there (`references.py`)."""
    at: str = ""
    """Stands for `{at}` in the rows' paths."""
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's figures, by row."""

    @property
    def title(self) -> str:
        """The name with the reference behind it."""
        return f"{self.name} [{self.reference}]" if self.reference else self.name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run, or what is quoted of others' work."""

    name: str
    columns: tuple[Column, ...]
    """What it fills in."""
    method: str | None = "dual_mcmc"
    """What teaches it, with that method's default settings; None: it is quoted and never run."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings by path, as "method.data_chain.steps"."""
    small: Mapping[str, Any] = field(default_factory=dict)
    """More of them at small scale."""
    preset: str | None = None
    """The base at paper scale; None: the sweep's."""
    only: Scale | None = None
    """It is run at this scale alone; at small scale, others' columns show the paper's figures."""
    data: str = ""
    """What a transposed table calls its data set, if it has several."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table; where it is transposed, a column for each data set."""

    name: str
    """As in the paper."""
    path: str
    """Where our figure lies; see above."""
    only: Scale | None = None
    """It is measured at this scale alone; at small scale, others show the paper's figures."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A table or figure."""

    title: str
    source: str
    """Where in the paper."""
    preset: str
    """The base at paper scale."""
    updates: Mapping[SmallPreset, int]
    """Of each cell at small scale: as many as end within 20 minutes or so on two cores."""
    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]
    tasks: tuple[Task, ...]
    plan: Plan = field(default_factory=Plan)
    small_plan: Mapping[str, Any] = field(default_factory=dict)
    """What the small scale changes in the plan."""
    transposed: bool = False
    """Rows and columns change places."""
    drawing: Task | None = None
    """The task whose drawing is the figure."""
    notes: tuple[str, ...] = ()


DISTANCE = Row(name="FID", path="distance.-1")
SECONDS = Row(name="Time (s)", path="seconds")
PAPERS_TIMES = "The paper's times are of an NVIDIA A100 (40 GB)."
