"""Carries out what is not done of a comparison, each cell in a process of its own; the table grows with each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, replace
from subprocess import Popen
from typing import Any, NamedTuple

from dualmcmc import config as configs
from dualmcmc import data, features, methods, metrics
from dualmcmc.compare import children, picture, table
from dualmcmc.compare.floor import floor
from dualmcmc.compare.folder import CompareFolder
from dualmcmc.compare.job import Cell, Job
from dualmcmc.devices import best_device, check_device
from dualmcmc.model import Model
from dualmcmc.settings import Config
from dualmcmc.storage import pretrained
from dualmcmc.tasks import running
from dualmcmc.tasks.generation import Names
from dualmcmc.tasks.ood import TABLE_8
from dualmcmc.tasks.others import OTHERS
from dualmcmc.tasks.reference import reference
from dualmcmc.training import setup
from dualmcmc.training.stopping import Signals

Say = Callable[[str], None]
POLL_SECONDS = 0.1


class Outcome(NamedTuple):
    """A comparison that was carried out: its table, and why each cell that has no outcome has none."""

    table: table.Table
    crashed: dict[Cell, str]


def carry_out(job: Job, *, say: Say) -> Outcome:
    """Trains and measures what is not done.

    Arguments:
        job: the comparison.
        say: is given a line on each cell as it begins and ends.

    Raises:
        InputError: the place, the data or the feature network cannot be used; nothing was changed.
        KeyboardInterrupt: SIGINT or SIGTERM came; every cell at work has saved a checkpoint.
    """
    folder = CompareFolder(job.out)
    folder.check(job)
    metrics.import_torchmetrics()  # now, and not after hours of training
    about = _about(job, folder)
    if folder.label.is_file():
        folder.check_same(about["measured"], "measured")
    folder.begin(about)
    states = {cell: folder.read(cell) is not None for cell in job.cells}
    for cell, done in states.items():
        if done:
            say(f"{cell}, done before")
    table.write(job, folder)
    crashed = _work(job, folder, [cell for cell, done in states.items() if not done], say)
    picture.write(job, folder)
    return Outcome(table.write(job, folder, crashed), crashed)


def _about(job: Job, folder: CompareFolder) -> dict[str, Any]:
    """What the folder holds. Everything that cells need is looked at here, and cached, before any trains.

    Raises:
        InputError: some of it cannot be used.
    """
    check_device(job.device)
    settings = job.settings(job.cells[0])
    train, heldout = setup.load_sets(settings)
    _check_others(job, settings)
    network = features.load(job.features, job.feature_weights, job.device or best_device())
    measured = {
        "features": network.protocol,
        "training images": train.fingerprint,
        "held-out images": heldout.fingerprint,
    }
    about = {**job.identity(), "measured": measured, "name": Names(network.label, job.n).frechet}
    kept = folder.about()
    if kept.get("measured") == measured:
        return {**kept, **about}
    # No network of it is used, but a setting has a model, and its device.
    model = Model(pretrained.plain_networks(_plain(settings)), settings, device=job.device or best_device())
    setting = running.setting_of(model, None, job.held_out, quiet=True)
    found = floor(setting, network, reference(setting, network), job.n)
    return {**about, "floor": found, "images": len(train), "classes": network.num_classes is not None}


def _plain(settings: Config) -> Config:
    """The same images and networks under a method that any data will do for."""
    return replace(settings, method=methods.DualMCMC())


def _check_others(job: Job, settings: Config) -> None:
    """Refuses other sets that cannot be read."""
    rule = replace(settings.images, crop="square")
    for name in job.ood:
        for ref in TABLE_8 if name == "table8" else (name,):
            if ref != "builtin" and ref not in OTHERS:
                data.load(ref, rule)


def _work(job: Job, folder: CompareFolder, cells: list[Cell], say: Say) -> dict[Cell, str]:
    """Runs cells, `jobs` at once; returns why those ended that have no outcome."""
    waiting, crashed = deque(cells), dict[Cell, str]()
    at_work: dict[Cell, tuple[Popen[bytes], float]] = {}
    place = {cell: f"cell {i} of {len(job.cells)}: {cell}" for i, cell in enumerate(job.cells, 1)}
    with Signals() as signals:
        try:
            while waiting or at_work:
                while waiting and len(at_work) < job.jobs:
                    cell = waiting.popleft()
                    begun = (folder.run(cell).path / "config.json").is_file()
                    say(f"{place[cell]}, {'going on' if begun else 'training'}: {job.budget}")
                    at_work[cell] = _start(job, folder, cell), time.monotonic()
                time.sleep(POLL_SECONDS)
                if signals.came:
                    raise KeyboardInterrupt
                for cell in [cell for cell, (child, _) in at_work.items() if children.ended(child)]:
                    child, began = at_work.pop(cell)
                    kept = folder.read(cell)
                    if kept is None:
                        crashed[cell] = children.reason(child, folder.said(cell))
                    end = _end(kept, crashed.get(cell))
                    say(f"{place[cell]}, {end} ({time.monotonic() - began:.0f} s)")
                    table.write(job, folder, crashed)
        finally:
            children.stop(child for child, _ in at_work.values())
    return crashed


def _start(job: Job, folder: CompareFolder, cell: Cell) -> Popen[bytes]:
    request = _request(job, folder, cell)
    return children.start("dualmcmc.compare.cell", request, folder.said(cell), jobs=job.jobs)


def _end(kept: dict[str, Any] | None, reason: str | None) -> str:
    if kept is None:
        return f"failed: {reason}"
    return "done" if kept["status"] == "done" else f"{kept['status']}: {kept['reason']}"


def _request(job: Job, folder: CompareFolder, cell: Cell) -> dict[str, Any]:
    """What a cell's process is told, as JSON."""
    return {
        "config": configs.to_dict(job.settings(cell)),
        "run": str(folder.run(cell).path),
        "outcome": str(folder.outcome(cell)),
        "plan": asdict(job.plan),
        "features": job.features,
        "feature_weights": job.feature_weights and str(job.feature_weights),
        "device": job.device,
        "torch_device": job.device or best_device(),
        "jobs": job.jobs,
    }


def dry_run(job: Job) -> list[dict[str, Any]]:
    """What each method's cells would be: parameters and FLOPs per iteration, settings; trains and writes nothing.

    Raises:
        InputError: the place cannot be used.
    """
    from dualmcmc import cost

    CompareFolder(job.out).check(job)
    data.parse(job.settings(job.cells[0]).data)
    found = []
    for method in job.methods:
        settings = job.settings(Cell(method, job.seed))
        costed = settings
        if isinstance(settings.method, methods.JEM) and not settings.method.classes:
            costed = replace(settings, method=replace(settings.method, classes=10))  # the data are not read here
        costs = cost.iteration(costed)
        found.append(
            {
                "method": method,
                "seeds": [cell.seed for cell in job.cells if cell.method == method],
                "without": [change for change, names in job.absent.items() if method in names],
                **{name: costs[name] for name in ("parameters", "flops_per_iteration", "memory_bytes")},
                "config": configs.to_dict(settings),
            }
        )
    return found
