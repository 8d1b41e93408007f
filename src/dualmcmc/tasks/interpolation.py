"""Paths in code space, decoded, with the log-density along them (the paper's Figure 4).

Between pairs of prior draws and between the codes of pairs of held-out images (pair i: images 2i and 2i + 1),
linear as in the paper and spherical. A generator that has learned one connected set of images keeps the
log-density level along a path; a dip in its middle says that the path leaves what is usual.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dualmcmc.calls import inferring
from dualmcmc.errors import InputError
from dualmcmc.paths import PATHS, between
from dualmcmc.tasks.setting import Result, Setting

SHOWN = 3


@inferring
def interpolation(setting: Setting, *, pairs: int, points: int = 8) -> Result:
    """Mean log-density along `pairs` paths of `points` images, of each kind; without energy network only pictures.

    Raises:
        InputError: there are not twice as many held-out images.
    """
    check_pairs(setting, pairs)
    model = setting.model
    pictures: dict[str, Tensor] = {}
    rows: dict[str, dict[str, list[Tensor]]] = {kind: {path: [] for path in PATHS} for kind in ("prior", "images")}
    for keys in setting.batches(pairs, "interpolating"):
        for kind, (a, b) in _ends(setting, list(keys)).items():
            for path in PATHS:
                images = model.decode(between(a, b, points, path).flatten(0, 1), batch_size=setting.batch_size)
                if not model.has("energy"):
                    continue
                densities = model.log_density(images, batch_size=setting.batch_size)
                rows[kind][path].append(densities.reshape(len(keys), points).cpu().double())
    for kind, (a, b) in _ends(setting, list(range(min(SHOWN, pairs)))).items():
        for path in PATHS:
            shown = model.decode(between(a, b, points, path).flatten(0, 1)).cpu()
            pictures[f"{kind} {path}"] = shown.reshape(len(a), points, *shown.shape[1:])
    empty = torch.empty((0, points), dtype=torch.float64)
    figures: dict[str, Any] = {
        kind: {
            path: _along(setting.processes.collect(torch.cat([empty, *parts]))) for path, parts in paths.items()
        }
        for kind, paths in rows.items()
        if model.has("energy")
    }
    return Result({**figures, "pairs": pairs, "points": points, "protocol": setting.protocol()}, pictures)


def check_pairs(setting: Setting, pairs: int) -> None:
    """Refuses more pairs than there are images for.

    Raises:
        InputError: saying how many there are.
    """
    if not 1 <= pairs <= setting.images // 2:
        raise InputError(
            f"interpolation: {pairs} pairs of {setting.images} held-out images, where each takes two: "
            "give fewer --pairs, or name the other --tasks"
        )


def _ends(setting: Setting, keys: list[int]) -> dict[str, tuple[Tensor, Tensor]]:
    """Codes at the ends of the paths with these numbers: prior draws, and inferred codes of images."""
    model, seed = setting.model, setting.seed
    first, second = [2 * key for key in keys], [2 * key + 1 for key in keys]
    drawn = tuple(model.prior(len(keys), seed=seed, keys=side) for side in (first, second))
    inferred = tuple(
        model.infer(setting.heldout.tensor(side), seed=seed, keys=side, batch_size=setting.batch_size)
        for side in (first, second)
    )
    return {"prior": (drawn[0], drawn[1]), "images": (inferred[0], inferred[1])}


def _along(rows: Tensor) -> dict[str, Any]:
    """Mean over paths at each point, and how far a path's lowest point lies below the straight line of ends."""
    t = torch.linspace(0, 1, rows.shape[1], dtype=torch.float64)
    line = (1 - t) * rows[:, :1] + t * rows[:, -1:]
    return {"log_density": rows.mean(0).tolist(), "dip": (line - rows).amax(1).mean().item()}
