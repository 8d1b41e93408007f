"""Trains and measures the cells of a sweep that are not done, one after another; the table grows with each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from time import monotonic
from typing import Any, NamedTuple

import torch

from dualmcmc import config as configs
from dualmcmc import cost, data, features, figures, methods, metrics, presets
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.methods import DualMCMC
from dualmcmc.model import Model
from dualmcmc.parallel import Processes
from dualmcmc.reproduce import measured, table
from dualmcmc.reproduce.folder import SweepFolder
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import Cell
from dualmcmc.storage import checkpoints
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.tasks import running
from dualmcmc.tasks.ood import TABLE_8
from dualmcmc.tasks.others import OTHERS
from dualmcmc.tasks.plan import lacking
from dualmcmc.training import setup
from dualmcmc.training.loop import Trainer

Say = Callable[[str], None]


class Outcome(NamedTuple):
    """A sweep that was carried out: its table, a line for each cell that failed, whether to print here."""

    table: table.Table
    failed: list[str]
    main: bool


def carry_out(job: Job, *, say: Say, quiet: bool = True) -> Outcome:
    """Trains and measures what is not done; a cell that fails or cannot be run leaves the others to go on.

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
    protocol = (job.network and features.load(job.network, job.feature_weights).protocol) or None
    states = {cell.name: folder.state(cell, job.measuring(cell, protocol)) for cell in job.cells}
    remarks: dict[str, str] = {}
    if set(states.values()) != {"done"}:
        if not processes.main:
            processes.wait()  # one process decodes
        remarks = _check_data(job, folder)
        if processes.main:
            processes.wait()
    for cell in job.cells:
        if states[cell.name] == "done":
            remarks |= _went_back(job, cell, folder)
    processes.wait()  # all have seen the folder as it was
    if processes.main:
        folder.begin(job)
        table.write(job, folder, protocol, remarks)
    failed = []
    for i, cell in enumerate(job.cells, 1):
        place = f"cell {i} of {len(job.cells)}: {cell.name}"
        if states[cell.name] == "done":
            say(f"{place}, done before")
            continue
        if cell.name in remarks:
            say(f"{place}, cannot be run: {remarks[cell.name]}")
            continue
        began = monotonic()
        try:
            if job.run is None:
                settings, begun = job.settings(cell), states[cell.name] == "begun"
                say(f"{place}, {'going on to' if begun else 'training'} {settings.run.steps:,} updates")
                Trainer(settings, folder.run(cell).path, device=job.device, resume=begun, quiet=quiet).train()
            say(f"{place}, measuring")
            entry = _measure(job, cell, folder.run(cell), processes, quiet)
        except (InputError, TrainingError) as error:
            if processes.count > 1:  # the others may not know
                raise TrainingError(f"{place}: {error}") from error
            failed.append(f"cell {cell.name} failed: {error}")
            remarks[cell.name] = str(error).partition(";")[0]
            say(f"{place}, failed")
        else:
            if processes.main:
                folder.write(cell, {**entry, "measuring": job.measuring(cell, protocol)})
            remarks |= _went_back(job, cell, folder)
            say(f"{place}, done in {monotonic() - began:.0f} s")
        if processes.main:
            table.write(job, folder, protocol, remarks)
        processes.wait()
    if processes.main and job.sweep.drawing:
        _copy_drawing(job, folder)
    return Outcome(table.read(job, folder, protocol, remarks), failed, processes.main)


def _went_back(job: Job, cell: Cell, folder: SweepFolder) -> dict[str, str]:
    """A remark on a cell whose training diverged on its way: its rates are no longer those of its line."""
    if job.run is not None:
        return {}
    count = len(checkpoints.newest(folder.run(cell).checkpoints)[0].state["trips"])
    return {cell.name: f"training diverged and went back {count} times"} if count else {}


def _check_data(job: Job, folder: SweepFolder) -> dict[str, str]:
    """Refuses images that cannot be trained on, or are others than those of the cells that are there.

    Returns:
        Why a cell cannot be run on its images, where that is so.

    Raises:
        InputError: saying so.
    """
    seen: dict[Any, data.ImageSet] = {}
    cannot = {}
    for cell in job.cells if job.run is None else ():
        settings, run = job.settings(cell), folder.run(cell)
        key = (settings.data, settings.images)
        if key not in seen:
            seen[key] = setup.load_sets(settings).train
            _check_others(job, cell)
        if (run.path / "config.json").is_file() and run.read_about().get("data_sha256") != seen[key].fingerprint:
            raise InputError(
                f"the images of {settings.data} are not those that {run.path} was trained on: restore them, "
                "or choose another --out"
            )
        try:
            setup.with_classes(settings, seen[key])
        except InputError as error:
            cannot[cell.name] = str(error)
    return cannot


def _check_others(job: Job, cell: Cell) -> None:
    """Refuses sets of other images that are not there: now, and not after hours of training."""
    rule = replace(job.settings(cell).images, crop="square")
    for name in job.plan(cell).ood if "ood" in job.sweep.tasks else ():
        for ref in TABLE_8 if name == "table8" else () if name in ("builtin", *OTHERS) else (name,):
            data.load(ref, rule)


def _measure(job: Job, cell: Cell, run: RunFolder, processes: Processes, quiet: bool) -> dict[str, Any]:
    """A trained cell's evaluations, into its run; returns its part of the table."""
    began = monotonic()
    settings, model = run.read_config(), Model.from_pretrained(run.path, device=processes.device)
    if job.run is not None and isinstance(settings.method, DualMCMC):  # trained for something else, it may differ
        test_chain = methods.test_chain(job.settings(cell).method)
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
    entries: dict[str, Any] = {"seconds": measured.seconds(run), "steps": measured.steps(settings.method)}
    entries["millions"] = {name: count / 1e6 for name, count in cost.parameters(model.trio).items()}
    tasks = [task for task in job.sweep.tasks if lacking(task, settings.method.PARTS) is None]
    for task, result in running.run(tasks, setting, job.plan(cell), job.network, job.feature_weights):
        entries[task] = result.figures
        if processes.main:
            run.add_metrics(task, result.figures)
            figures.save(task, result, run.path / "figures")
    steps = methods.test_chain(settings.method).steps
    distance = measured.distance(entries, steps)
    entries["distance"] = [distance.get("generator"), distance.get("chain")]
    entries["score"] = [measured.score(entries, 0), measured.score(entries, steps)]
    return {
        "cell": cell.name,
        "figures": measured.figures(job, cell, entries),
        "distance": distance,
        "seconds_per_update": entries["seconds"],
        "seconds_measuring": monotonic() - began,
        # Tasks agree on what they share; generation has samples and a reference, the others held-out images.
        "protocol": {k: v for task in tasks for k, v in entries[task]["protocol"].items()},
        "machine": _machine(processes),
        "config": asdict(settings),
    }


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
                "method": settings.method.name,
                "changes": configs.differences(settings, presets.preset(base, settings.method.name)),
                "updates": settings.run.steps,
                "parameters": costs["parameters"],
                "flops": costs["flops_per_iteration"] * settings.run.steps,
                "config": configs.to_dict(settings),
            }
        )
    return cells
