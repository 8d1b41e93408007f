"""samples.png: a row of samples for each method, of its first seed and with the same keys, under real images."""

from __future__ import annotations

import numpy as np
import torch

from dualmcmc.compare.folder import CompareFolder
from dualmcmc.compare.job import Job
from dualmcmc.data import holdout, load
from dualmcmc.data.rule import to_float
from dualmcmc.pictures import enlarge, tile

DPI = 110


def write(job: Job, folder: CompareFolder) -> None:
    """Replaces samples.png by one of the cells that are done; none are, and there is none."""
    rows = _rows(job, folder)
    if len(rows) < 2:
        return
    from matplotlib.figure import Figure

    size = next(iter(rows.values())).shape[2]
    columns = max(len(images) for images in rows.values())
    inch = (size + 2) * enlarge(size) / DPI
    figure = Figure(figsize=(columns * inch + 2.2, len(rows) * inch), dpi=DPI, layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        axes.imshow(tile(images, columns), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.spines[:].set_visible(False)
    figure.savefig(folder.path / "samples.png", bbox_inches="tight", metadata={"Software": None})


def _rows(job: Job, folder: CompareFolder) -> dict[str, torch.Tensor]:
    """Images in [-1, 1] by method, after held-out ones."""
    found: dict[str, torch.Tensor] = {}
    for cell in job.cells:
        row = folder.run(cell).path / "figures" / "row.npy"
        if cell.seed == job.seed and row.is_file():
            found[cell.method] = to_float(np.load(row, allow_pickle=False))
    if found:
        settings = job.settings(job.cells[0])
        images = holdout(settings.data, settings.images) or load(settings.data, settings.images, split="train")
        count = min(len(images), max(map(len, found.values())))
        found = {"held-out images": images.tensor(range(count)), **found}
    return found
