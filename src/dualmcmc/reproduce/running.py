"""Trains and measures the cells of a sweep that are not done, one after another; the table grows with each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from statistics import median
from time import monotonic
from typing import Any, NamedTuple

import torch

from dualmcmc import config as configs
from dualmcmc import data, features, figures, metrics
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.model import Model
from dualmcmc.parallel import Processes
from dualmcmc.reproduce import table
from dualmcmc.reproduce.folder import SweepFolder
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import Cell
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.tasks import running
from dualmcmc.training import setup
from dualmcmc.training.loop import Trainer

Say = Callable[[str], None]


class Outcome(NamedTuple):
    """A sweep that was carried out: its table, a line for each cell that failed, whether to print here."""

    table: table.Table
    failed: list[str]
    main: bool


def carry_out(job: Job, *, say: Say, quiet: bool = True) -> Outcome:
    """Trains and measures what is not done; a cell whose training fails leaves the others to go on.

    Arguments:
        job: the sweep.
        say: is given a line on each cell as it begins and ends.
        quiet: show no bars.

    Raises:
        InputError: the place, the data or the feature network cannot be used; nothing was changed.
    """
    folder, processes = SweepFolder(job.out, job.run), Processes.current(job.device)
    say = say if processes.main else lambda line: None
    folder.check(job)
    metrics.import_torchmetrics()  # now, and not after hours of training
    protocol = job.network and features.load(job.network, job.feature_weights).protocol
    measuring = job.measuring(protocol or None)
    states = {cell.name: folder.state(cell, measuring) for cell in job.cells}
    if set(states.values()) != {"done"}:
        if not processes.main:
            processes.wait()  # one process decodes
        _check_data(job, folder)
        if processes.main:
            processes.wait()
    processes.wait()  # all have seen the folder as it was
    if processes.main:
        folder.begin(job)
        table.write(job, folder, measuring)
    failed = []
    for i, cell in enumerate(job.cells, 1):
        place = f"cell {i} of {len(job.cells)}: {cell.name}"
        if states[cell.name] == "done":
            say(f"{place}, done before")
            continue
        began, settings, begun = monotonic(), job.settings(cell), states[cell.name] == "begun"
        try:
            if job.run is None:
                say(f"{place}, {'going on to' if begun else 'training'} {settings.run.steps:,} updates")
                Trainer(settings, folder.run(cell).path, device=job.device, resume=begun, quiet=quiet).train()
        except TrainingError as error:
            if processes.count > 1:  # the others may not know
                raise TrainingError(f"{place}: {error}") from error
            failed.append(f"cell {cell.name} failed: {error}")
            say(f"{place}, failed")
            continue
        say(f"{place}, measuring")
        entry = _measure(job, cell, folder.run(cell), processes, quiet)
        if processes.main:
            folder.write(cell, {**entry, "measuring": measuring})
            table.write(job, folder, measuring)
        processes.wait()
        say(f"{place}, done in {monotonic() - began:.0f} s")
    if processes.main and job.sweep.drawing:
        _copy_drawing(job, folder)
    return Outcome(table.read(job, folder, measuring), failed, processes.main)


def _check_data(job: Job, folder: SweepFolder) -> None:
    """Refuses images that cannot be trained on, or are others than those of the cells that are there.

    Raises:
        InputError: saying so.
    """
    seen: dict[Any, str] = {}
    for cell in job.cells if job.run is None else ():
        settings, run = job.settings(cell), folder.run(cell)
        key = (settings.data, settings.images)
        if key not in seen:
            seen[key] = setup.load_sets(settings).train.fingerprint
        if (run.path / "config.json").is_file() and run.read_about().get("data_sha256") != seen[key]:
            raise InputError(
                f"the images of {settings.data} are not those that {run.path} was trained on: restore them, "
                "or choose another --out"
            )


def _measure(job: Job, cell: Cell, run: RunFolder, processes: Processes, quiet: bool) -> dict[str, Any]:
    """A trained cell's evaluations, into its run; returns its part of the table."""
    began = monotonic()
    settings, model = run.read_config(), Model.from_pretrained(run.path, device=processes.device)
    if job.run is not None:  # trained for something else, it may have another test chain
        test_chain = job.settings(cell).method.test_chain
        settings = replace(settings, method=replace(settings.method, test_chain=test_chain))
        model.config = settings
    setting = running.setting_of(
        model,
        None,
        seed=job.seed,
        batch_size=settings.optim.batch_size,
        processes=processes,
        quiet=quiet,
        about={"run": str(run.path), "weights": "ema"},
    )
    if job.scale == "paper":
        setting = replace(setting, images=len(setting.heldout))
    entries: dict[str, Any] = {"seconds": _seconds(run)}
    for task, result in running.run(job.sweep.tasks, setting, job.plan, job.network, job.feature_weights):
        entries[task] = result.figures
        if processes.main:
            run.add_metrics(task, result.figures)
            figures.save(task, result, run.path / "figures")
    distance = _distance(entries, settings.method.test_chain.steps)
    entries["distance"] = [distance.get("generator"), distance.get("chain")]
    return {
        "cell": cell.name,
        "figures": _figures(job, cell, entries),
        "distance": distance,
        "seconds_per_update": entries["seconds"],
        "seconds_measuring": monotonic() - began,
        # Tasks agree on what they share; generation has samples and a reference, the others held-out images.
        "protocol": {k: v for task in job.sweep.tasks for k, v in entries[task]["protocol"].items()},
        "machine": _machine(processes),
        "config": asdict(settings),
    }


def _distance(entries: dict[str, Any], steps: int) -> dict[str, Any]:
    """The name of the distance, of the generator and after the test chain; nothing where it was not measured."""
    if "generation" not in entries:
        return {}
    name, values = next(iter(entries["generation"]["figures"].items()))
    return {"name": name, "generator": values["0"], "chain": values[str(steps)]}


def _seconds(run: RunFolder) -> float:
    """Of an update: the median over log lines, which leave pictures, evaluations and checkpoints out."""
    lines = [json.loads(line) for line in run.log.read_text(encoding="utf-8").splitlines()]
    return median(line["seconds_per_step"] for line in lines if line["kind"] == "train")


def _figures(job: Job, cell: Cell, entries: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The cell's figures by row and column."""
    return {
        row.name: {column.name: look_up(entries, row.path.format(at=column.at)) for column in cell.columns}
        for row in job.sweep.rows
    }


def look_up(entries: dict[str, Any], path: str) -> float:
    """The number at a dotted path through dictionaries and lists."""
    node: Any = entries
    for part in path.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    return float(node)


def _machine(processes: Processes) -> str:
    device, several = processes.device, f"{processes.count} processes on " if processes.count > 1 else ""
    name = f"{device.type}, {torch.get_num_threads()} thread(s)"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{several}{name}, torch {torch.__version__}"


def _copy_drawing(job: Job, folder: SweepFolder) -> None:
    """The figure beside the table."""
    assert job.sweep.drawing is not None
    name = f"{figures.DRAWINGS[job.sweep.drawing][0]}.png"
    for cell in job.cells:
        drawing = folder.run(cell).path / "figures" / name
        if drawing.is_file():
            shutil.copyfile(drawing, folder.path / name)


def dry_run(job: Job) -> list[dict[str, Any]]:
    """What each cell would be: what it changes in its preset, parameters, FLOPs; trains and writes nothing.

    Raises:
        InputError: the place cannot be used.
    """
    from dualmcmc import cost, presets

    SweepFolder(job.out, job.run).check(job)
    for ref in job.data:
        data.parse(ref)
    cells = []
    for cell in job.cells:
        settings, base = job.settings(cell), job.base(cell)
        costs = cost.iteration(settings)
        cells.append(
            {
                "name": cell.name,
                "preset": base,
                "changes": configs.differences(settings, presets.preset(base)),
                "updates": settings.run.steps,
                "parameters": costs["parameters"],
                "flops": costs["flops_per_iteration"] * settings.run.steps,
                "config": configs.to_dict(settings),
            }
        )
    return cells
