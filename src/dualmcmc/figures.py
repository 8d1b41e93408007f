"""Drawings of what the tasks measured: the paper's Figures 2 to 5, samples, and detection.

Each takes a task's `Result`; curves and labels are the numbers of its figures, nothing is measured here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dualmcmc.pictures import tile
from dualmcmc.tasks.setting import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
STAGE_NAMES = {
    "inference": "inference",
    "latent_chain": "+ latent chain",
    "data_chain": "+ data chain",
}


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _show(axes: Axes, images: Tensor, columns: int, title: str) -> None:
    """Images (N, C, S, S) as a grid, without ticks."""
    axes.imshow(tile(images, columns), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _frames(axes: Axes, frames: Tensor, title: str) -> None:
    """(N, frames, C, S, S): a row per chain, from left to right."""
    _show(axes, frames.flatten(0, 1), frames.shape[1], title)


def _curve(axes: Axes, values: list[float], title: str, across: str) -> None:
    axes.plot(range(len(values)), values)
    axes.set(title=title, xlabel=across)
    axes.title.set_fontsize(9)
    axes.grid(alpha=0.3)


def samples(result: Result) -> Figure:
    """Samples of the generator and after each length of the data chain (or given images), with their distance."""
    figures, panels = result.figures, result.pictures
    name, values = next(iter(figures["figures"].items()))
    figure = _figure(3.6 * len(panels), 4.1)
    for axes, (k, images) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        start = "generator" if k == "0" else f"after {k} steps" if k.isdigit() else k
        _show(axes, images, 8, f"{start}: {name} {values[k]:.4g}")
    return figure


def figure2(result: Result) -> Figure:
    """Both chains: frames above, log-density and MSE over steps below."""
    figures, shown = result.figures, result.pictures
    data, latent, distance = figures["data_chain"], figures["latent_chain"], figures["distance"]
    figure = _figure(11, 6.9)
    grid = figure.subplots(2, 2, height_ratios=(1.8, 1))
    for axes, chain in zip(grid.T, (data, latent), strict=True):
        if chain is None:
            for each in axes:
                each.set_axis_off()
    title = "data chain, every third step"
    if distance is not None:
        values = " to ".join(f"{value:.4g}" for key, value in distance.items() if key != "name")
        title += f"; {distance['name']} {values}"
    if data is not None:
        _frames(grid[0, 0], shown["data_frames"], title)
        density = "log-density h / T, nats up to a constant"
        _curve(grid[1, 0], data["log_density"], density, "step of the data chain")
    if latent is not None:
        _frames(grid[0, 1], shown["latent_frames"], "latent chain, every step")
        _curve(grid[1, 1], latent["mse"], "mean squared error", "step of the latent chain")
    return figure


def figure3(result: Result) -> Figure:
    """Reconstruction over latent steps, started at inference and at noise; PCA as a line; examples below."""
    figures = result.figures
    figure = _figure(11, 7.5)
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.2))  # type: ignore[misc]
    starts = {"from noise": figures["from_noise"]}
    if "inference" in figures:
        starts = {"from inference": {"0": figures["inference"], **figures["from_inference"]}, **starts}
    for axes, name in zip(above.subplots(1, 3), ("mse", "ssim", "psnr"), strict=True):
        for start, by_steps in starts.items():
            steps = [int(k) for k in by_steps]
            axes.plot(steps, [by_steps[str(k)][name] for k in steps], marker="o", label=start)
        pca = figures["pca"]
        axes.axhline(pca[name], color="gray", linestyle=":", label=f"PCA, {pca['dimensions']} dimensions")
        axes.set(title=name.upper(), xlabel="steps of the latent chain")
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    rows = result.pictures
    images = torch.cat(list(rows.values()))
    _show(below.subplots(), images, len(rows["images"]), "from top: " + ", ".join(rows))
    return figure


def figure4(result: Result) -> Figure:
    """Paths between prior draws and between images' codes, and the log-density along them."""
    figures = result.figures
    figure = _figure(11, 4.8)
    grid = figure.subplots(2, 3, width_ratios=(1.25, 1.25, 1))
    for row, kind in enumerate(("prior", "images")):
        for column, path in enumerate(("linear", "spherical")):
            between = "prior draws" if kind == "prior" else "two images' codes"
            _frames(grid[row, column], result.pictures[f"{kind} {path}"], f"{path}, between {between}")
            axes = grid[row, 2]
            if kind not in figures:
                continue
            axes.plot(range(figures["points"]), figures[kind][path]["log_density"], marker="o", label=path)
        if kind not in figures:
            axes.set_axis_off()
            continue
        axes.set(title="log-density along the path, nats", xlabel="point")
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return figure


def figure5(result: Result) -> Figure:
    """For each mask: images, occluded, and the three stages, with PSNR and SSIM of each stage."""
    panels = result.pictures
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = _figure(4.2 * columns, 4.5 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (mask, strip) in zip(grid, panels.items(), strict=False):
        stages = result.figures["masks"][mask]["stages"]
        scores = [f"{STAGE_NAMES[s]} {stages[s]['psnr']:.2f} dB, {stages[s]['ssim']:.3f}" for s in stages]
        _show(axes, strip.flatten(0, 1), strip.shape[1], "\n".join([f"{mask}: image, occluded,", *scores]))
        axes.title.set_fontsize(8)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return figure


def ood(result: Result) -> Figure:
    """AUROC of each score on each other set, beside examples of the sets."""
    sets = result.figures["sets"]
    kinds = [kind for kind in next(iter(sets.values())) if kind != "n"]
    figure = _figure(11, 0.45 * len(sets) + 2)
    left, right = figure.subplots(1, 2, width_ratios=(1.4, 1))
    height = 0.8 / len(kinds)
    for j, kind in enumerate(kinds):
        places = [i + (j - (len(kinds) - 1) / 2) * height for i in range(len(sets))]
        left.barh(places, [values[kind]["auroc"] for values in sets.values()], height, label=kind)
    left.axvline(0.5, color="gray", linestyle=":")
    left.set(title="AUROC against held-out images", xlim=(0, 1), yticks=range(len(sets)), yticklabels=list(sets))
    left.invert_yaxis()
    left.legend(fontsize=8, ncol=len(kinds), loc="upper center", bbox_to_anchor=(0.5, -0.06))
    rows = result.pictures
    width = min(len(images) for images in rows.values())
    images = torch.cat([images[:width] for images in rows.values()])
    _show(right, images, width, textwrap.fill("from top: " + ", ".join(rows), 60))
    return figure


DRAWINGS: dict[str, tuple[str, Callable[[Result], Figure]]] = {
    "generation": ("samples", samples),
    "images": ("images", samples),
    "reconstruction": ("figure3", figure3),
    "revision": ("figure2", figure2),
    "interpolation": ("figure4", figure4),
    "ood": ("ood", ood),
    "inpainting": ("figure5", figure5),
}
"""Task to the name of its PNG and what draws it."""


def save(task: str, result: Result, folder: Path) -> Path:
    """Writes a task's drawing as PNG into `folder`; returns its path."""
    name, draw = DRAWINGS[task]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    metadata: dict[str, Any] = {"Software": None}
    draw(result).savefig(path, metadata=metadata)
    return path
