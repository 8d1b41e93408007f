"""A sweep's folder: what of it is done.

reproduce.json       which table, at which scale
cells/NAME/          an ordinary run, with its evaluations in metrics.json and figures/
cells/NAME/cell.json written last: how it was trained and measured, and its part of the table; cell.json here
                     where the one cell is a run from elsewhere
table.md, table.csv  of the cells that are done
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dualmcmc import config as configs
from dualmcmc import reading
from dualmcmc.errors import InputError
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import Cell
from dualmcmc.storage.files import write_json
from dualmcmc.storage.run_folder import RunFolder

State = Literal["new", "begun", "done"]


@dataclass(frozen=True)
class SweepFolder:
    """Paths and small files of one sweep."""

    path: Path
    given: Path | None = None
    """A run trained elsewhere that its one cell is measured on."""

    def run(self, cell: Cell) -> RunFolder:
        """A cell's run."""
        return RunFolder(self.given or self.path / "cells" / cell.name)

    def _entry(self, cell: Cell) -> Path:
        """Its part of the table; a run from elsewhere is not written to for that."""
        return (self.path if self.given else self.run(cell).path) / "cell.json"

    def check(self, job: Job) -> None:
        """Refuses a place that holds anything but this sweep with these settings.

        Raises:
            InputError: another sweep, other things, or a cell trained with other settings are there.
        """
        label = self.path / "reproduce.json"
        if label.is_file():
            try:
                held = reading.json_of(label)
                _ = held["table"], held["scale"]
            except (ValueError, KeyError, TypeError, OSError):
                raise InputError(f"{label} is damaged: restore it, or choose another --out") from None
            if (held.get("table"), held.get("scale")) != (job.table, job.scale):
                raise InputError(
                    f"{self.path} holds {held.get('table')} at {held.get('scale')} scale: choose another --out"
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f"{self.path} already exists and is no sweep: choose another --out")
        for cell in job.cells:
            self._check_cell(job, cell)

    def _check_cell(self, job: Job, cell: Cell) -> None:
        run = self.run(cell)
        if self.given is None and not (run.path / "config.json").is_file():
            return run.check_free()
        lines = configs.differences(job.settings(cell), run.read_config())
        lines = [line for line in lines if not line.startswith("method.classes is 0,")]  # as many as the data have
        if self.given is not None:  # its seed, its length and where its images lie are its own
            own = ("data", "seed", "preset", "run.", "method.test_chain.")
            lines = [line for line in lines if not line.startswith(own)]
        if lines:
            raise InputError(
                f"{run.path} was trained with other settings: {lines[0]} there; give the same, "
                "or choose another --out"
            )
        return None

    def begin(self, job: Job) -> None:
        """Makes the folder.

        Raises:
            InputError: it cannot be made there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {self.path} ({error.strerror}): name another with --out") from None
        write_json(self.path / "reproduce.json", {"table": job.table, "scale": job.scale})

    def state(self, cell: Cell, measuring: dict[str, Any]) -> State:
        """How far a cell is; one that was measured in another way is not done."""
        if not (self.run(cell).path / "config.json").is_file():
            return "new"
        kept = self.read(cell)
        return "done" if kept is not None and kept["measuring"] == json.loads(json.dumps(measuring)) else "begun"

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """A finished cell's part of the table; None if it is not finished.

        Raises:
            InputError: its file is damaged.
        """
        path = self._entry(cell)
        if not path.is_file():
            return None
        try:
            kept: dict[str, Any] = reading.json_of(path)
            _ = kept["measuring"], kept["figures"]
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(f"{path} is damaged: delete it, and the cell is measured again") from None
        return kept

    def write(self, cell: Cell, entry: dict[str, Any]) -> None:
        """Keeps a finished cell's part of the table."""
        write_json(self._entry(cell), entry)
