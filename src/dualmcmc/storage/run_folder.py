"""A run's folder: the only interface between training and what comes after.

config.json          all settings, the code's version, how `best` is decided
log.jsonl            one line per logged step
metrics.json         evaluations, each with its settings
samples/             pictures drawn during training
checkpoints/step-N/  complete states (checkpoints.py)
model/               what users ship (pretrained.py): the average's weights at the best evaluation
tensorboard/         the log lines, for TensorBoard
.lock, owner.json, .metrics.json.lock    while a process writes the run, or its evaluations (lock.py)
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc import __version__, config
from dualmcmc.errors import InputError
from dualmcmc.settings import Config
from dualmcmc.storage.files import tidy, write_json, write_text
from dualmcmc.storage.lock import turn

if TYPE_CHECKING:
    from dualmcmc.storage.checkpoints import Checkpoint


@dataclass(frozen=True)
class RunFolder:
    """Paths and small files of one run."""

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Where complete states are."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Where pictures drawn during training are."""
        return self.path / "samples"

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """The log, one JSON object per line."""
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """The evaluations."""
        return self.path / "metrics.json"

    def check_free(self) -> None:
        """Refuses a place that something already occupies.

        Raises:
            InputError: there is a run, another non-empty folder, or a file.
        """
        self.check_new()
        if self.path.exists() and not (self.path.is_dir() and all(map(_made_first, self.path.iterdir()))):
            raise InputError(f"{self.path} already exists and is no run: name another folder with --out")

    def check_new(self) -> None:
        """Refuses a place where a run is.

        Raises:
            InputError: there is one.
        """
        if (self.path / "config.json").exists():
            raise InputError(f"{self.path} already holds a run: --resume continues it, --out names another folder")

    def begun(self) -> bool:
        """Whether the run got as far as its first checkpoint, or to an update."""
        return any(self.checkpoints.glob("step-*")) or (self.log.exists() and self.log.stat().st_size > 0)

    def make(self) -> None:
        """Makes the folder.

        Raises:
            InputError: it cannot be made there.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the run folder {self.path} ({error.strerror}): name another with --out"
            ) from None

    def create(self, settings: Config, **about: Any) -> None:
        """Makes the folder if it is not there, and writes config.json.

        Raises:
            InputError: the folder cannot be made there.
        """
        self.make()
        write_json(
            self.path / "config.json",
            {"library": "dualmcmc", "version": __version__, **about, "config": config.to_dict(settings)},
        )

    def read_config(self) -> Config:
        """The settings the run was started with.

        Raises:
            InputError: this is no run.
        """
        return config.read(self.path / "config.json")

    def check_settings(self, settings: Config, checkpoint: Checkpoint) -> None:
        """Refuses settings that are not those under which a checkpoint was saved.

        Raises:
            InputError: config.json was altered.
        """
        if checkpoint.state["settings"] != config.identity(settings):
            raise InputError(
                f"{self.path / 'config.json'} was altered: its settings are not those that the checkpoint of step "
                f"{checkpoint.step} was saved under; restore it from a copy"
            )

    def read_about(self) -> dict[str, Any]:
        """What config.json says beside the settings."""
        about: dict[str, Any] = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
        return about

    def continue_with(self, settings: Config) -> None:
        """Keeps the settings that a resumed run goes on with; lengths and intervals may have changed."""
        tidy(self.path, "config.json", "log.jsonl", "owner.json")  # of a process that was killed
        write_json(self.path / "config.json", {**self.read_about(), "config": config.to_dict(settings)})

    def cut_metrics(self, step: int) -> None:
        """Drops the training's evaluations after `step`, which a resumed run makes anew."""
        if not self.metrics.exists():
            return
        with turn(self.metrics):
            tidy(self.path, self.metrics.name)
            entries = self.read_metrics()
            kept = [entry for entry in entries.get("training", []) if entry.get("step", 0) <= step]
            write_json(self.metrics, {**entries, "training": kept})

    def cut_log(self, step: int) -> None:
        """Drops log lines after `step`, which a resumed run writes anew."""
        if not self.log.exists():
            return
        kept = []
        for line in self.log.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # the line a killed process was writing
        write_text(self.log, "".join(f"{line}\n" for line in kept))

    def read_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """The evaluations of metrics.json by name, oldest first; none if there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        path = self.metrics
        try:
            entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise InputError(f"{path} is damaged ({error}): mend it, or move it away") from None
        if not isinstance(entries, dict) or not all(
            isinstance(listed, list) and all(isinstance(entry, dict) for entry in listed)
            for listed in entries.values()
        ):
            raise InputError(f"{path} does not hold a list of evaluations for each name: mend it, or move it away")
        return entries

    def add_metrics(self, name: str, entry: dict[str, Any]) -> None:
        """Adds an evaluation to metrics.json under `name`, after those already there.

        Raises:
            InputError: the file is damaged.
        """
        with turn(self.metrics):
            entries = self.read_metrics()
            entries.setdefault(name, []).append(entry)
            write_json(self.metrics, entries)


def _made_first(entry: Path) -> bool:
    """Whether `RunFolder.make` and a lock leave it of a run that is killed before it has a config.json."""
    if entry.name == "checkpoints" and entry.is_dir():
        return not any(entry.iterdir())
    return bool(re.fullmatch(r"\.lock|owner\.json|\.(owner|config)\.json\.\d+\.tmp", entry.name))
