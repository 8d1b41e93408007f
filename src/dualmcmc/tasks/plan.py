"""What an evaluation measures and on how much; nothing here imports torch, as the command line is made from it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from annotated_types import Ge

Task = Literal["generation", "reconstruction", "revision", "interpolation", "ood", "inpainting"]
TASKS: tuple[Task, ...] = ("generation", "reconstruction", "revision", "interpolation", "ood", "inpainting")
NEEDS: dict[Task, tuple[str, ...]] = {
    "reconstruction": ("generator",),
    "interpolation": ("generator",),
    "inpainting": ("generator",),
}
"""Networks that a task cannot do without; the others measure what they can with those there are."""
Counts = tuple[Annotated[int, Ge(0)], ...]


def lacking(task: Task, parts: Collection[str]) -> str | None:
    """The first network that a task needs and a method with these parts has not."""
    return next((part for part in NEEDS.get(task, ()) if part not in parts), None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tasks' settings."""

    n: Annotated[int, Ge(1), tyro.conf.arg(aliases=["-n"])] = 10_000
    """Generation: samples; 50,000 for figures without their number in the name."""
    held_out: Annotated[int, Ge(1)] | None = None
    """Held-out images that the other tasks use; default: the first 1,000, or all there are."""
    steps: Counts | None = None
    """Generation: lengths of the data chain, 0 being the generator; default: 0 and the run's test chain."""
    reference_images: Annotated[int, Ge(20)] | None = None
    """Generation: training images that distances are measured to, evenly spread; default: all."""
    latent_steps: Counts | None = None
    """Reconstruction: lengths of the latent chain from inference; default: as in training."""
    noise_steps: Counts = (10, 30)
    """Reconstruction: lengths of the latent chain from noise."""
    chains: Annotated[int, Ge(1)] = 1000
    """Revision: data chains."""
    pairs: Annotated[int, Ge(1)] | None = None
    """Interpolation: paths of each kind; default: 64, or as many as there are pairs of held-out images."""
    ood: tuple[str, ...] = ("builtin",)
    """Ood: other sets: data references, builtin (no download), table8 (SVHN, CIFAR-100, CelebA)."""
    masks: tuple[str, ...] = ("M20", "M30", "M40", "R20", "R30", "R40")
    """Inpainting: masks as `inpaint` takes them."""
    visible: Literal["free", "clamped"] = "free"
    """Inpainting: whether the data chain may move visible pixels."""
