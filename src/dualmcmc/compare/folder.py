"""A comparison's folder: what of it is done.

compare.json               what is compared and how, and how far held-out images are from training images
cells/METHOD/seed-N/       an ordinary run, with its evaluations in metrics.json and figures/
cells/METHOD/seed-N.json   written last: what came of it; delete it, and the cell is measured (or tried) again
cells/METHOD/seed-N.err    what its process said, if anything
table.md, .csv, .json      of the cells that are done
samples.png                a row for each method
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dualmcmc import config as configs
from dualmcmc import reading
from dualmcmc.compare.job import Cell, Job
from dualmcmc.errors import InputError
from dualmcmc.methods import JEM
from dualmcmc.settings import Config
from dualmcmc.storage.files import check_folder, write_json
from dualmcmc.storage.run_folder import RunFolder


@dataclass(frozen=True)
class CompareFolder:
    """Paths and small files of one comparison."""

    path: Path

    @property
    def label(self) -> Path:
        """What is compared."""
        return self.path / "compare.json"

    def run(self, cell: Cell) -> RunFolder:
        """A cell's run."""
        return RunFolder(self.path / "cells" / cell.method / f"seed-{cell.seed}")

    def outcome(self, cell: Cell) -> Path:
        """Where it says what came of it."""
        return self.path / "cells" / cell.method / f"seed-{cell.seed}.json"

    def said(self, cell: Cell) -> Path:
        """What its process writes to standard error."""
        return self.path / "cells" / cell.method / f"seed-{cell.seed}.err"

    def check(self, job: Job) -> None:
        """Refuses a place that holds anything but this comparison with these settings.

        Raises:
            InputError: another comparison, other things, or a cell trained with other settings are there.
        """
        if not self.label.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise InputError(f"{self.path} already exists and is no comparison: choose another --out")
            return check_folder(self.path)
        self.check_same(job.identity())
        for cell in job.cells:
            self.read(cell)
            if (self.run(cell).path / "config.json").is_file():
                self._check_settings(job.settings(cell), self.run(cell))
        return None

    def check_same(self, identity: dict[str, Any], of: str | None = None) -> None:
        """Refuses to go on with what the folder was begun with otherwise; `of` is the entry of compare.json.

        Raises:
            InputError: naming the first thing that differs.
        """
        kept = self.about()[of] if of else self.about()
        for name, ours in identity.items():
            theirs = kept.get(name)
            if theirs != json.loads(json.dumps(ours)):
                raise InputError(
                    f"{self.path} was begun with {name} {_words(theirs)}, not {_words(ours)}: give the same, or "
                    "choose another --out"
                )

    def _check_settings(self, settings: Config, run: RunFolder) -> None:
        theirs = run.read_config()
        if isinstance(settings.method, JEM) and isinstance(theirs.method, JEM) and not settings.method.classes:
            settings = replace(settings, method=replace(settings.method, classes=theirs.method.classes))
        lines = configs.differences(settings, theirs)
        if lines:
            raise InputError(
                f"{run.path} was trained with other settings: {lines[0]} there; give the same, or choose another "
                "--out"
            )

    def about(self) -> dict[str, Any]:
        """What compare.json holds; nothing where there is none.

        Raises:
            InputError: it is damaged.
        """
        if not self.label.is_file():
            return {}
        try:
            kept: dict[str, Any] = reading.json_of(self.label)
            _ = kept["preset"], kept["measured"]
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(f"{self.label} is damaged: restore it, or choose another --out") from None
        return kept

    def begin(self, about: dict[str, Any]) -> None:
        """Makes the folder and says what it holds.

        Raises:
            InputError: it cannot be made there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make {self.path} ({error.strerror}): name another with --out") from None
        write_json(self.label, about)

    def read(self, cell: Cell) -> dict[str, Any] | None:
        """What came of a cell; None if it is not finished.

        Raises:
            InputError: its file is damaged.
        """
        path = self.outcome(cell)
        if not path.is_file():
            return None
        try:
            kept: dict[str, Any] = reading.json_of(path)
            _ = kept["status"], kept["figures"]
        except (ValueError, KeyError, TypeError, OSError):
            raise InputError(f"{path} is damaged: delete it, and the cell is measured again") from None
        return kept


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
