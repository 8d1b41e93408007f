"""Is a run, or a model folder, whole?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from dualmcmc import methods, reading
from dualmcmc.doctor.finding import Finding
from dualmcmc.errors import InputError
from dualmcmc.storage import checkpoints, pretrained
from dualmcmc.storage.finding import WEIGHTS
from dualmcmc.storage.run_folder import RunFolder


def examine_run(place: Path) -> Iterator[Finding]:
    """What is in a run's or a model's folder, a finding at a time.

    Raises:
        InputError: it is neither.
    """
    folder = RunFolder(place)
    if not (place / "config.json").is_file():
        raise InputError(f"{place} holds no config.json: give a run or a model folder")
    try:
        settings = folder.read_config()
    except InputError as error:
        yield Finding("bad", "settings", str(error), "restore config.json from a copy")
        return
    method = settings.method
    seen = f"{method.name} ({methods.title(method.name)}), {settings.preset} on {settings.data}"
    yield Finding("ok", "settings", seen)
    if not (place / WEIGHTS).is_file():
        yield from saved(folder, settings.run.checkpoint_every)
        yield log(folder)
        yield evaluations(folder)
    yield weights(place)


def saved(folder: RunFolder, every: int) -> Iterator[Finding]:
    """Which checkpoints are whole."""
    there = checkpoints.steps(folder.checkpoints)
    faults = {step: checkpoints.fault(folder.checkpoints / f"step-{step}") for step in there}
    whole = [step for step, fault in faults.items() if fault is None]
    for step, fault in faults.items():
        if fault is not None:
            remedy = f"--resume goes on from step {whole[-1]}" if whole else "start afresh in another folder"
            yield Finding("bad", f"checkpoint {step}", fault, remedy)
    if whole:
        size = sum(file.stat().st_size for file in (folder.checkpoints / f"step-{whole[-1]}").iterdir())
        seen = f"step {', '.join(map(str, whole))} whole, {size / 1e6:.1f} MB each"
        yield Finding("ok", "checkpoints", f"{seen}; one every {every:,} updates" if every else seen)
    else:
        yield Finding("bad", "checkpoints", "none is whole", "the run cannot be resumed: start afresh")
    left = [*folder.checkpoints.glob(".step-*.tmp"), *folder.checkpoints.glob(".step-*.old")]
    if left:
        seen = f"{len(left)} begun and not finished, by a save that was killed"
        yield Finding(
            "note", "checkpoints", seen, "--resume clears them away, or puts back what they were to replace"
        )
    if aside := sorted(place.name for place in folder.checkpoints.glob("unusable-step-*")):
        seen = f"{', '.join(aside)}: put aside by --resume, which could not use them"
        yield Finding("note", "checkpoints", seen, "remove them once nobody wants them")


def log(folder: RunFolder) -> Finding:
    """How far the log goes, and whether its numbers are."""
    if not folder.log.is_file():
        return Finding("note", "log", "none: the run was stopped before its first line")
    try:
        lines = folder.read_log()
    except InputError as error:
        return Finding("bad", "log", str(error), "cut log.jsonl, or move it away")
    read, broken = [], []
    for number, line in enumerate(lines, 1):
        try:
            entry = reading.parse(line)
            read.append((int(entry["step"]), entry))
        except (ValueError, KeyError, TypeError, OverflowError):  # OverflowError: a step of infinity
            broken.append(number)
    for step, entry in read:
        wild = [name for name, value in entry.items() if isinstance(value, float) and not math.isfinite(value)]
        if wild:
            remedy = "the run diverged: resume from before, with a lower --optim.energy.rate or more chain steps"
            return Finding("bad", "log", f"{wild[0]} is not finite at step {step:,}", remedy)
    reached = f"{len(read):,} lines, to step {read[-1][0]:,}" if read else "no line that can be read"
    if backs := [entry for _, entry in read if entry.get("kind") == "rollback"]:
        last = backs[-1]
        reached += f"; {last.get('attempt')} roll-backs, the last as {last.get('reason')}"
    if broken:
        seen = f"{reached}; {len(broken)} cannot be read, the first is line {broken[0]}"
        return Finding("note", "log", seen, "a killed process leaves its last line unfinished; --resume drops it")
    return Finding("ok" if read else "note", "log", reached)


def evaluations(folder: RunFolder) -> Finding:
    """What metrics.json holds."""
    try:
        kept = folder.read_metrics()
    except InputError as error:
        return Finding("bad", "evaluations", str(error), "mend metrics.json, or move it away")
    if not kept:
        return Finding("ok", "evaluations", "none yet")
    return Finding("ok", "evaluations", ", ".join(f"{len(entries)} of {name}" for name, entries in kept.items()))


def weights(place: Path) -> Finding:
    """Whether the model that the folder ships loads, with finite weights."""
    try:
        trio, _, step = pretrained.load(place)
        scores = pretrained.load_scores(place)
    except InputError as error:
        if (place / "checkpoints").is_dir() and not (place / "model").is_dir():
            return Finding("note", "model", "none yet: it is made at the first small evaluation, and at the end")
        return Finding("bad", "model", str(error), "--resume makes it anew; of a model folder, fetch it again")
    count = sum(p.numel() for p in trio.parameters())
    told = f"percentiles from {scores.images:,} images" if scores else "without percentiles of training images"
    return Finding("ok", "model", f"{count:,} weights of step {step:,}, finite, {told}")
