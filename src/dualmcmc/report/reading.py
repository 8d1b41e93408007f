"""A run's files as plain records; whatever a training run has not written yet is simply empty."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from dualmcmc import limits, reading
from dualmcmc.errors import InputError

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""Tensors of normalisation layers that are no parameters."""


@dataclass(frozen=True)
class RunRecord:
    """What the files of one run say."""

    path: Path
    """Its folder, as the user named it."""
    name: str
    """Tells it from the other runs on the page."""
    about: dict[str, Any]
    """config.json without the settings: code version, held-out data, how `best` is decided."""
    config: dict[str, Any]
    """Its settings."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """Log lines of updates."""
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """Log lines of the small evaluations."""
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """metrics.json: a task's evaluations, oldest first."""
    model: dict[str, Any] = field(default_factory=dict)
    """model/config.json without the settings."""
    parameters: dict[str, int] = field(default_factory=dict)
    """Parameters of each network of the model folder."""
    images: int | None = None
    """Number of training images, where the run says so."""
    figures: dict[str, Path] = field(default_factory=dict)
    """figures/*.png by name."""
    samples: list[tuple[int, Path]] = field(default_factory=list)
    """samples/step-N.png with N, ascending."""
    reconstructions: list[tuple[int, Path]] = field(default_factory=list)
    """samples/reconstructions-N.png with N, ascending."""
    notes: tuple[str, ...] = ()
    """What could not be read."""

    @property
    def done(self) -> int:
        """Updates that the log has seen."""
        return int(self.log[-1]["step"]) if self.log else 0

    @property
    def planned(self) -> int | None:
        """Updates in all."""
        steps = setting(self.config, "run.steps")
        return steps if isinstance(steps, int) else None

    @property
    def seconds(self) -> float:
        """Time of all logged updates, from the mean time per update of each log line."""
        return sum(seconds for _, seconds in self.durations())

    def durations(self) -> list[tuple[dict[str, Any], float]]:
        """Each log line with the seconds of the updates since the line before."""
        durations, before = [], 0
        for line in self.log:
            each = line.get("seconds_per_step")
            durations.append((line, (line["step"] - before) * each if isinstance(each, int | float) else 0.0))
            before = line["step"]
        return durations


def read(places: Sequence[str]) -> list[RunRecord]:
    """Records of the runs in these folders.

    Raises:
        InputError: no folder is named, one is no run or is named twice, or metrics.json is damaged.
    """
    if not places:
        raise InputError("name one or more run folders: report RUN ...")
    paths = [Path(place) for place in places]
    for i, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:i]]:
            raise InputError(f"{path} is named twice: name each run once")
    return [_read(path, name) for path, name in zip(paths, names(paths), strict=True)]


def names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart, at least the folder's own name."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(p[-length:]) for p in parts]
        if len(set(ends)) == len(ends):
            return ends
    return [str(path) for path in paths]


def setting(config: dict[str, Any], place: str) -> Any:
    """The setting at a dotted path, None where another version's configuration has none."""
    node: Any = config
    for name in place.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def flat(values: Any, place: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots; lists stay whole."""
    if not isinstance(values, dict) or not values:
        return {place: values}
    joined: dict[str, Any] = {}
    for name, value in values.items():
        joined |= flat(value, f"{place}.{name}" if place else str(name))
    return joined


def _read(path: Path, name: str) -> RunRecord:
    about, metrics = _about(path), _metrics(path / "metrics.json")
    lines, unread = _log(path / "log.jsonl")
    notes = [f"{name}: {unread} log line{'s' if unread > 1 else ''} could not be read"] if unread else []
    attempts = [line.get("attempt") for line in lines if line["kind"] == "rollback"]
    if backs := max((attempt for attempt in attempts if isinstance(attempt, int)), default=0):
        notes.append(f"{name}: training went back from {backs} divergence{'s' if backs > 1 else ''}")
    return RunRecord(
        path=path,
        name=name,
        about={key: value for key, value in about.items() if key != "config"},
        config=about["config"],
        log=[line for line in lines if line["kind"] == "train"],
        evaluations=[line for line in lines if line["kind"] == "evaluation"],
        metrics=metrics,
        model={key: value for key, value in _lenient(path / "model/config.json").items() if key != "config"},
        parameters=_parameters(path / "model/model.safetensors"),
        images=_images(about, metrics),
        figures={file.stem: file for file in sorted(_own(path, "figures/*.png"))},
        samples=_numbered(_own(path, "samples/step-*.png")),
        reconstructions=_numbered(_own(path, "samples/reconstructions-*.png")),
        notes=tuple(notes),
    )


def _about(path: Path) -> dict[str, Any]:
    """config.json; its settings are taken as they are, so that other versions' runs can be shown, too."""
    place = path / "config.json"
    try:
        about = reading.json_of(place)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} is no run: it has no config.json; name the folder that train wrote") from None
    except (ValueError, OSError) as error:
        raise InputError(f"{place} cannot be read as JSON ({error}): restore it from a copy") from None
    if not isinstance(about, dict) or not isinstance(about.get("config"), dict):
        raise InputError(f"{place} holds no configuration: name the folder that train wrote")
    if "format" in about:
        raise InputError(f"{path} is a model folder, without its training: name the run's folder")
    return about


def _log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Readable log lines, and how many are not: a killed process cuts its last one."""
    lines, unread = [], 0
    try:
        texts = reading.lines_of(path) if path.is_file() else []
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): cut it, or move it away") from None
    for text in texts:
        try:
            line = reading.parse(text)
        except ValueError:
            line = None
        if isinstance(line, dict) and isinstance(line.get("step"), int) and isinstance(line.get("kind"), str):
            lines.append(line)
        else:
            unread += 1
    return lines, unread


def _metrics(path: Path) -> dict[str, list[dict[str, Any]]]:
    if not path.is_file():
        return {}
    try:
        metrics = reading.json_of(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it from a copy or remove it") from None
    lists = metrics.values() if isinstance(metrics, dict) else [None]
    if not all(isinstance(x, list) and all(isinstance(entry, dict) for entry in x) for x in lists):
        raise InputError(f"{path} is no list of evaluations per task: restore it from a copy or remove it")
    return {task: entries for task, entries in metrics.items() if entries}


def _lenient(path: Path) -> dict[str, Any]:
    """A JSON object that the report can do without."""
    try:
        value = reading.json_of(path)
    except (ValueError, OSError):
        return {}
    return value if isinstance(value, dict) else {}


def _parameters(path: Path) -> dict[str, int]:
    """Parameter counts of the three networks, from the header of the weights' file alone."""
    try:
        reading.check_size(path, limits.TENSORS)  # a pipe never ends
        with path.open("rb") as file:
            header = reading.parse(file.read(min(int.from_bytes(file.read(8), "little"), limits.JSON)).decode())
        counts: dict[str, int] = {}
        for name, tensor in header.items():
            if name != "__metadata__" and not name.endswith(STATISTICS):
                network = name.partition(".")[0]
                counts[network] = counts.get(network, 0) + prod(tensor["shape"])
    except (ValueError, OSError, KeyError, TypeError, AttributeError):
        return {}
    return counts


def _images(about: dict[str, Any], metrics: dict[str, list[dict[str, Any]]]) -> int | None:
    """How many training images: as config.json says, or an evaluation that was made against all of them."""
    n = about.get("images")
    if not isinstance(n, int) and "stream" not in about:  # whose evaluations are against a view
        references = [setting(entry, "protocol.reference") for entry in metrics.get("generation", [])]
        alike = [
            r for r in references if isinstance(r, dict) and r.get("fingerprint") == about.get("data_sha256", "")
        ]
        n = alike[-1].get("n") if alike else None
    return n if isinstance(n, int) else None


def _own(path: Path, pattern: str) -> list[Path]:
    """Files of the run; none that a link takes from elsewhere, as a page is made to be passed on."""
    home = path.resolve()
    return [file for file in path.glob(pattern) if file.resolve().is_relative_to(home)]


def _numbered(paths: Iterable[Path]) -> list[tuple[int, Path]]:
    found = [(re.search(r"-(\d+)$", path.stem), path) for path in paths]
    return sorted((int(match[1]), path) for match, path in found if match)
