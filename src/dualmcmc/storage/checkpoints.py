"""Checkpoints: the complete state of a run in `checkpoints/step-N/`, written whole or not at all.

    weights.safetensors     the three live networks
    average.safetensors     their running average (EMA)
    optimiser.safetensors   Adam's moments, one name per parameter
    memory.safetensors      what the method remembers: buffers, banks, codes of images; empty for most
    state.json              format, step, counters, best value so far
    manifest.json           SHA-256 of the files above; written last

and `checkpoints/index.json` says which step is the latest and which the best, for whoever looks. A folder whose
files do not match its manifest, or that is another step's, is no checkpoint: the newest one that does is used,
and those passed over are named. Randomness needs no file: it is a function of (seed, step, attempt).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from dualmcmc import reading
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.storage import tensors
from dualmcmc.storage.files import new_folder, read_written, tidy, write_json

PARTS = ("weights", "average", "optimiser", "memory")
FORMAT = 3
"""Of state.json; raise it when what a checkpoint holds changes."""
HEADERS = 1 << 18
"""Bytes of a checkpoint beside its tensors, rounded up."""


class Checkpoint(NamedTuple):
    """A complete state: the step, named tensors per part of `PARTS`, and what state.json holds."""

    step: int
    parts: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save(folder: Path, step: int, parts: Mapping[str, Mapping[str, Tensor]], state: dict[str, Any]) -> Path:
    """Writes `folder/step-N`; an existing one of that step is replaced.

    Raises:
        TrainingError: it could not be written (say, a full disk); earlier checkpoints are as they were.
    """
    place = folder / f"step-{step}"
    try:
        _check_room(folder, parts)
        with new_folder(place) as temporary:
            for part, named in parts.items():
                tensors.save(temporary / f"{part}.safetensors", named)
            write_json(temporary / "state.json", {"format": FORMAT, "step": step, **state})
            sums = {file.name: tensors.sha256(file) for file in sorted(temporary.iterdir())}
            write_json(temporary / "manifest.json", sums)
    except OSError as error:
        kept = steps(folder)
        safe = f"the checkpoint of step {kept[-1]} is intact" if kept else "there is no earlier checkpoint"
        raise TrainingError(f"could not save the checkpoint of step {step} ({error}); {safe}") from error
    return place


def _check_room(folder: Path, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuses to begin what the disk has no room for, so that a full one is left with what room there is.

    Raises:
        OSError: saying how much is missing.
    """
    needed = sum(t.numel() * t.element_size() for named in parts.values() for t in named.values()) + HEADERS
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    if free < needed:
        raise OSError(f"it takes {needed / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free on the disk of {folder}")


def steps(folder: Path) -> list[int]:
    """Steps of the checkpoints in `folder`, oldest first, unchecked."""
    found = (re.fullmatch(r"step-(\d+)", entry.name) for entry in folder.glob("step-*"))
    return sorted(int(match[1]) for match in found if match)


def prune(folder: Path, keep: int, best: int | None, done: int) -> None:
    """Keeps the newest `keep` checkpoints up to step `done`, that of step `best`, and what was best by those.

    All others are removed; later ones are undone: a run that is at step `done` has left them. What killed saves
    left goes too.
    """
    mend(folder)
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover)
    tidy(folder, "index.json")
    there = steps(folder)
    kept = {step for step in there if step <= done}
    newest_ones = sorted(kept)[-keep:]
    kept = set(newest_ones) | (kept & {best, *(_best(folder / f"step-{step}") for step in newest_ones)})
    for step in set(there) - kept:
        shutil.rmtree(folder / f"step-{step}")
    write_json(folder / "index.json", {"latest": max(kept, default=None), "best": best if best in kept else None})


def _best(place: Path) -> int | None:
    """The step that was best by the time of a checkpoint; None if there was none, or it cannot be read."""
    try:
        best = state(place)["best"]
    except (OSError, ValueError, KeyError):
        return None
    return best["step"] if best else None


def mend(folder: Path) -> None:
    """Puts back what a process killed while it replaced a checkpoint had moved out of the way."""
    for leftover in folder.glob(".step-*.old"):
        place = folder / leftover.name.split(".")[1]
        if place.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(place)


def put_aside(folder: Path, done: int) -> None:
    """Renames checkpoints after step `done`, which could not be used, to `unusable-step-N`: they are kept."""
    for step in steps(folder):
        if step > done:
            aside = folder / f"unusable-step-{step}"
            shutil.rmtree(aside, ignore_errors=True)
            (folder / f"step-{step}").rename(aside)


def state(place: Path) -> dict[str, Any]:
    """What the state.json of the checkpoint at `place` holds, unchecked."""
    found: dict[str, Any] = reading.json_of(place / "state.json")
    return found


def fault(place: Path) -> str | None:
    """What is wrong with the checkpoint at `place`; None if it is complete and unaltered."""
    try:
        sums = read_written(place / "manifest.json")
        expected = {f"{part}.safetensors" for part in PARTS} | {"state.json"}
        if not isinstance(sums, dict) or set(sums) != expected:
            return "manifest.json does not list its files"
        for name, wanted in sums.items():
            if tensors.sha256(place / name) != wanted:
                return f"{name} is cut short or altered"
        found = state(place)
        if found["format"] != FORMAT:
            return f"it has format {found['format']}, and this version reads {FORMAT}"
        if place.name != f"step-{found['step']}":
            return f"it is that of step {found['step']}"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (KeyError, TypeError):
        return "state.json holds no state"
    except (OSError, ValueError) as error:
        return f"it cannot be read ({error})"
    return None


def newest(folder: Path, before: int | None = None) -> tuple[Checkpoint, list[str]]:
    """The newest complete checkpoint (of those before a step), and a line for each newer one that is not.

    Raises:
        InputError: there is no complete checkpoint.
    """
    passed_over = []
    for step in reversed(steps(folder)):
        if before is not None and step >= before:
            continue
        place = folder / f"step-{step}"
        if reason := fault(place):
            passed_over.append(f"{place} is not complete: {reason}")
            continue
        parts = {part: tensors.load(place / f"{part}.safetensors") for part in PARTS}
        return Checkpoint(step, parts, state(place)), passed_over
    reasons = "; ".join(passed_over) or "the folder has none"
    raise InputError(f"no complete checkpoint in {folder}: {reasons}; start afresh in another folder")
