"""What stands under a comparison's table: what was trained on what, measured how, on which machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dualmcmc import methods
from dualmcmc.compare.job import MEASURING_SEED, Cell, Job
from dualmcmc.settings import Config


def joined(things: Sequence[object]) -> str:
    """With commas."""
    return ", ".join(map(str, things))


def under(job: Job, about: dict[str, Any], done: Mapping[Cell, dict[str, Any]]) -> list[str]:
    """Lines that say what was trained and how it was measured, of the cells that are done."""
    timed = ", looking and saving not counted" if job.budget.minutes else ""
    seeds = joined(sorted({cell.seed for cell in job.cells}))
    notes = [
        _trained(job.settings(job.cells[0]), about["images"]),
        f"Budget: {job.budget} for each run{timed}; seeds {seeds}, and a seed gives every method the same images "
        "in the same order. The model measured is the average of weights (EMA) after the last update.",
        f"Distance: {about['name']}, {job.n:,} samples to all training images; the generator's is without a data "
        f"chain. {_chains(job)}",
        f"{_heldout(done)} Evaluation seed {MEASURING_SEED}; AUROC is the mean over the sets.",
        "± is one standard error over seeds. Seconds are of updates alone; parameters are those trained; peak "
        "memory is the process's while it trains, data and libraries included (GPU: what torch allocated there).",
    ]
    if job.changes:
        notes.append(f"Settings given: {', '.join(map(str, job.changes))}.")
    notes += [f"{change} is no setting of {', '.join(names)}." for change, names in job.absent.items()]
    return [*notes, *_machines(done)]


def _trained(c: Config, count: int) -> str:
    """What all cells are trained on, with which networks."""
    n, side, optim = c.networks, c.images.size, c.optim
    widths = f"widths {n.energy_width} (energy), {n.generator_width} (generator), {n.inference_width} (inference)"
    norms = f"{n.norm} norm, spectral norm {'on' if n.spectral_norm else 'off'}"
    return (
        f"Preset {c.preset} on {c.data} ({count:,} training images, {side}x{side}x{c.images.channels}); "
        f"{n.family} networks, {widths}, {n.latent_dim} latent dimensions, {norms}; batches of "
        f"{optim.batch_size}, EMA {optim.ema}, {c.precision}."
    )


def _machines(done: Mapping[Cell, dict[str, Any]]) -> list[str]:
    """What cells ran on; which of them, where it was not one machine for all."""
    machines: dict[str, list[str]] = {}
    for cell, entry in done.items():
        machines.setdefault(f"dualmcmc {entry['version']} on {entry['machine']}", []).append(str(cell))
    several = len(machines) > 1
    return [f"Machine: {name}{f' ({joined(cells)})' if several else ''}." for name, cells in machines.items()]


def _chains(job: Job) -> str:
    """How long each method's chains are."""
    data, latent = dict[int, list[str]](), dict[int, list[str]]()
    for method in job.methods:
        settings = job.settings(Cell(method, job.seed)).method
        if "energy" in settings.PARTS:
            data.setdefault(methods.test_chain(settings).steps, []).append(method)
        if "generator" in settings.PARTS:
            latent.setdefault(methods.latent_chain(settings).steps, []).append(method)
    found = []
    for name, lengths in (("data", data), ("latent", latent)):
        if lengths:
            words = "; ".join(f"{steps} ({', '.join(names)})" for steps, names in sorted(lengths.items()))
            found.append(f"Steps of the {name} chain: {words}.")
    return " ".join(found)


def _heldout(done: Mapping[Cell, dict[str, Any]]) -> str:
    for entry in done.values():
        protocols = entry.get("protocols", {})
        for task in ("reconstruction", "ood"):
            if task in protocols:
                p = protocols[task]
                training = ", which are training images" if p.get("held_out_is_training") else ""
                return f"MSE (pixels in [-1, 1]) and AUROC on {p['n']:,} images of {p['data']}{training}."
    return "Nothing is measured on held-out images yet."
