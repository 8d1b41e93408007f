"""What a table takes from a cell's measurements, and where in them figures lie (`sweeps/parts.py`); no torch."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from dualmcmc import methods
from dualmcmc.methods import Method
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import Cell
from dualmcmc.storage.run_folder import RunFolder


def distance(entries: dict[str, Any], steps: int) -> dict[str, Any]:
    """The name of the distance, of the generator and after the test chain; nothing where it was not measured."""
    if "generation" not in entries:
        return {}
    name, values = next(iter(entries["generation"]["figures"].items()))
    return {"name": name, "generator": values["0"], "chain": values[str(steps)]}


def score(entries: dict[str, Any], steps: int) -> float | None:
    """The inception score after so many steps; None where the features do not classify."""
    found = entries.get("generation", {}).get("figures", {})
    return next((float(at[str(steps)]["mean"]) for name, at in found.items() if name.startswith("is")), None)


def steps(method: Method) -> dict[str, int]:
    """Of the chains that training runs; other methods have a latent chain for a trained model only."""
    taught = isinstance(method, (methods.DualMCMC, methods.ABP, methods.ShortRunABP))
    return {
        "data": method.data_chain.steps if hasattr(method, "data_chain") else 0,
        "latent": methods.latent_chain(method).steps if taught else 0,
    }


def seconds(run: RunFolder) -> float:
    """Of an update: the median over log lines, which leave pictures, evaluations and checkpoints out."""
    lines = [json.loads(line) for line in run.read_log()]
    return median(line["seconds_per_step"] for line in lines if line["kind"] == "train")


def figures(job: Job, cell: Cell, entries: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The cell's figures by row and column."""
    return {
        row.name: {column.name: look_up(entries, row.path.format(at=column.at)) for column in cell.columns}
        for row in job.rows
    }


def look_up(entries: dict[str, Any], path: str) -> float | None:
    """The number at a dotted path through dictionaries and lists; None where the method has nothing there."""
    node: Any = entries
    for part in path.split("."):
        try:
            node = node[int(part)] if isinstance(node, list) else node[part]
        except (KeyError, IndexError):
            return None
    return None if node is None else float(node)
