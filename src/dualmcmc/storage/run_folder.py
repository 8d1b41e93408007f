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

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc import __version__, config, reading
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
        if checkpoint.state.get("settings") != config.identity(settings):
            raise InputError(
                f"{self.path / 'config.json'} was altered: its settings are not those that the checkpoint of step "
                f"{checkpoint.step} was saved under; restore it from a copy"
            )

    def read_about(self) -> dict[str, Any]:
        """What config.json says beside the settings.

        Raises:
            InputError: the file is damaged.
        """
        place = self.path / "config.json"
        try:
            about: dict[str, Any] = reading.json_of(place, finite=True)
        except (ValueError, OSError) as error:
            raise InputError(f"{place} is damaged ({error}): restore it from a copy") from None
        return about

    def continue_with(self, settings: Config) -> None:
        """Keeps the settings that a resumed run goes on with; lengths and intervals may have changed.

        Raises:
            InputError: a file that the run adds to is damaged; nothing was written.
        """
        self.read_metrics()
        self.read_log()
        tidy(self.path, "config.json", "log.jsonl", "owner.json")  # of a process that was killed
        write_json(self.path / "config.json", {**self.read_about(), "config": config.to_dict(settings)})

    def cut_metrics(self, step: int) -> None:
        """Drops the training's evaluations after `step`, which a resumed run makes anew."""
        if not self.metrics.exists():
            return
        with turn(self.metrics):
            tidy(self.path, self.metrics.name)
            entries = self.read_metrics()
            kept = [entry for entry in entries.get("training", []) if _step(entry) <= step]
            write_json(self.metrics, {**entries, "training": kept})

    def cut_log(self, step: int) -> None:
        """Drops log lines after `step`, which a resumed run writes anew."""
        if not self.log.exists():
            return
        kept = []
        for line in self.read_log():
            try:
                if reading.parse(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # the line a killed process was writing
        write_text(self.log, "".join(f"{line}\n" for line in kept))

    def read_log(self) -> list[str]:
        """The log's lines; none if there is no log.

        Raises:
            InputError: it cannot be read, or is too large.
        """
        try:
            return reading.lines_of(self.log)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.log} cannot be read ({error.strerror}): mend it, or move it away") from None

    def check_inside(self) -> None:
        """Refuses a run in which a link leads out of it: what is written there would land elsewhere.

        Raises:
            InputError: naming the link.
        """
        home = self.path.resolve()
        for entry in sorted(self.path.rglob("*")) if self.path.is_dir() else ():
            if entry.is_symlink() and not entry.resolve().is_relative_to(home):
                raise InputError(f"{entry} is a link that leads out of the run: put what it names in its place")

    def read_metrics(self) -> dict[str, list[dict[str, Any]]]:
        """The evaluations of metrics.json by name, oldest first; none if there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        path = self.metrics
        try:
            entries = reading.json_of(path, finite=True) if path.exists() else {}
        except (ValueError, OSError) as error:
            raise InputError(f"{path} is damaged ({error}): mend it, or move it away") from None
        lists = entries.values() if isinstance(entries, dict) else [None]
        if not all(isinstance(x, list) and all(isinstance(entry, dict) for entry in x) for x in lists):
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


def _step(entry: dict[str, Any]) -> int:
    """An evaluation's step; of one that does not say, 0."""
    step = entry.get("step")
    return step if isinstance(step, int) else 0


def _made_first(entry: Path) -> bool:
    """Whether `RunFolder.make` and a lock leave it of a run that is killed before it has a config.json."""
    if entry.name == "checkpoints" and entry.is_dir():
        return not any(entry.iterdir())
    return bool(re.fullmatch(r"\.lock|owner\.json|\.(owner|config)\.json\.\d+\.tmp", entry.name))
