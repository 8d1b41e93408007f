"""What stands below a table: what its cells are, how they were measured, which works it quotes; no torch."""

from __future__ import annotations

from typing import Any

from dualmcmc import presets
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import REFERENCES
from dualmcmc.settings import Config


def notes(job: Job, done: dict[str, Any]) -> list[str]:
    """Lines of text; `done` has the finished cells' entries by name."""
    found = [_trained(job)]
    if job.scale == "small":
        found.append(_toy(job))
    seen = dict.fromkeys(_measured(entry) for entry in done.values())
    found += [*seen] or ["No cell is done yet."]
    return [*found, *job.sweep.notes, *_references(job)]


def _trained(job: Job) -> str:
    """What the cells are, in a line for each base."""
    settings = [job.settings(cell) for cell in job.cells]
    lines = dict.fromkeys(
        f"preset {c.preset} on {c.data} at {_size(c)}, {c.networks.family} networks, {c.run.steps:,} updates "
        f"of {c.optim.batch_size} images"
        for c in settings
    )
    return f"Scale {job.scale}, training seed {job.seed}, one run a cell: {'; '.join(lines)}."


def _size(c: Config) -> str:
    return f"{c.images.size}x{c.images.size}x{c.images.channels}"


def _toy(job: Job) -> str:
    """What the small scale is not."""
    cells = [cell for cell in job.sweep.cells if cell.only != "small" and cell.method is not None]
    full = [presets.preset(name) for name in dict.fromkeys(cell.preset or job.sweep.preset for cell in cells)]
    theirs = " and ".join(f"{c.preset}, {_size(c)}, {c.networks.family}, {c.run.steps:,} updates" for c in full)
    return (
        f"This is not the paper's setting ({theirs}): no value is comparable with the paper's, only orderings "
        "are, and with one seed and so few updates small differences mean nothing."
    )


def _measured(entry: dict[str, Any]) -> str:
    """How a cell was measured; equal for most cells."""
    p = entry["protocol"]
    distance = ""
    if entry["distance"]:
        name, seen = entry["distance"]["name"], p["reference"]
        distance = f"{name}: {p['samples']:,} samples to {seen['n']:,} images of {seen['data']}"
    heldout = f"{p['n']:,} held-out images of {p['data']}" if "n" in p else ""
    what = "; ".join(part for part in (distance, heldout) if part)
    about = f"dualmcmc {p['version']}, weights {p['weights']} of update {p['step']:,}, seed {p['seed']}"
    return f"Measured by {about}: {what}. Machine: {entry['machine']}."


def _references(job: Job) -> list[str]:
    """The works that the paper cites in this table."""
    cited = {column.reference for cell in job.sweep.cells for column in cell.columns if column.reference}
    works = "; ".join(f"[{number}] {REFERENCES[number]}" for number in sorted(cited))
    return [f"References, numbered as in the paper: {works}."] if works else []
