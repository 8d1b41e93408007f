"""SIGKILL at random moments: every run resumes, and ends as the unbroken one does, bit for bit.

A child trains; its parent kills it after a random time, or, where the moment is to be in a save or in an
evaluation, a random part of its length after it began. Then another child resumes the run, to be killed in its
turn, until one comes to the end.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from dualmcmc.storage import checkpoints
from dualmcmc.training import occasions
from faulty import tiny
from faulty.outcome import Outcome

AT_WORK, SAVING, EVALUATING = range(3)
MOMENTS = ("training", "saving", "evaluating")
WATCHED = ((checkpoints, "save", SAVING), (occasions, "small_evaluation", EVALUATING))
LONGEST = 60.0
"""Seconds after which a child hangs."""


def child(run: str, doing: Any, resume: bool, seed: int) -> None:
    """Trains the tiny run, and tells through `doing` what it is at."""
    for owner, name, number in WATCHED:
        setattr(owner, name, _told(getattr(owner, name), doing, number))
    tiny.train(tiny.config(seed=seed), Path(run), resume=resume)


def _told(function: Any, doing: Any, number: int) -> Any:
    def told(*args: Any, **how: Any) -> Any:
        doing.value = number
        try:
            return function(*args, **how)
        finally:
            doing.value = AT_WORK

    return told


def _lengths(whole: Path, seed: int) -> dict[int, float]:
    """Makes the unbroken run; seconds of all of it, and of the longest save and evaluation."""
    length = {SAVING: 0.0, EVALUATING: 0.0}
    with ExitStack() as stack:
        for owner, name, number in WATCHED:
            stack.enter_context(_timed(owner, name, length, number))
        start = time.monotonic()
        tiny.train(tiny.config(seed=seed), whole)
    return {**length, AT_WORK: time.monotonic() - start}


@contextmanager
def _timed(owner: Any, name: str, length: dict[int, float], number: int) -> Iterator[None]:
    function = getattr(owner, name)

    def timed(*args: Any, **how: Any) -> Any:
        start = time.monotonic()
        try:
            return function(*args, **how)
        finally:
            length[number] = max(length[number], time.monotonic() - start)

    setattr(owner, name, timed)
    try:
        yield
    finally:
        setattr(owner, name, function)


def _kill(process: Any, doing: Any, moment: int, chance: random.Random, length: dict[int, float]) -> int | None:
    """Kills the child at such a moment; what it was doing, or None if it came to its end first."""
    began = time.monotonic()
    if moment != AT_WORK:
        wait = chance.randint(0, 2)  # not always the first
        while process.is_alive() and time.monotonic() - began < LONGEST:
            if doing.value == moment:
                if wait == 0:
                    break
                wait -= 1
                while doing.value == moment and process.is_alive():
                    time.sleep(0.0002)
            time.sleep(0.0002)
    time.sleep(chance.uniform(0, length[moment]))
    seen = int(doing.value)
    if not process.is_alive():
        return None
    process.kill()
    return seen


def run(count: int, seed: int, folder: Path) -> Outcome:
    """`count` kills of as many runs as it takes."""
    began, chance = time.monotonic(), random.Random(seed)
    context: ForkServerContext = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["faulty.kills"])
    whole = folder / "whole"
    length = _lengths(whole, seed)
    wanted = tiny.tensors_of(whole)
    failures: list[str] = []
    hits = [0, 0, 0]
    lost = killed = runs = 0
    place, begun = folder / "run-0", False
    while killed < count or begun:
        doing = context.RawValue(ctypes.c_int, AT_WORK)
        resume = (place / "config.json").exists()
        process = context.Process(target=child, args=(str(place), doing, resume, seed))
        process.start()
        begun, moment = True, chance.randrange(3)
        seen = _kill(process, doing, moment, chance, length) if killed < count else None
        process.join(LONGEST)
        if process.is_alive():
            process.kill()
            failures.append(f"{place.name}: hangs")
        if seen is not None and process.exitcode == -9:
            killed += 1
            hits[seen] += 1
            steps = checkpoints.steps(place / "checkpoints")
            whole_steps = [s for s in steps if not checkpoints.fault(place / "checkpoints" / f"step-{s}")]
            behind = tiny.logged_step(place) - max(whole_steps, default=0)
            lost = max(lost, behind)
            if behind > tiny.LENGTHS.checkpoint_every:
                failures.append(f"{place.name}: {behind} logged updates are in no checkpoint")
            continue
        if process.exitcode != 0:
            failures.append(f"{place.name}: ended with {process.exitcode}")
        elif names := tiny.different(tiny.tensors_of(place), wanted):
            failures.append(f"{place.name}: {len(names)} tensors are not the unbroken run's, {names[0]} first")
        else:
            for name in ("metrics.json", "model/manifest.json", "checkpoints/index.json"):
                if (place / name).read_bytes() != (whole / name).read_bytes():
                    failures.append(f"{place.name}: {name} is not the unbroken run's")
        shutil.rmtree(place, ignore_errors=True)
        runs += 1
        place, begun = folder / f"run-{runs}", False
    told = ", ".join(f"{n} while {what}" for n, what in zip(hits, MOMENTS, strict=True))
    note = f"{told}; {runs} runs to their end; at most {lost} logged updates to make again"
    return Outcome("SIGKILL", killed, failures, time.monotonic() - began, note)
