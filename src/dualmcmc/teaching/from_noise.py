"""Chains that start from uniform noise in [-1, 1], and buffers that are filled, and partly refilled, with it.

Source: Nijkamp et al. (2019) for the first; Du & Mordatch (2019), Grathwohl et al. (2020) for the second.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.drawing import uniform
from dualmcmc.noise import Noise
from dualmcmc.teaching import buffer
from dualmcmc.teaching.base import Update


def uniform_as(x: Tensor, *, noise: Noise) -> Tensor:
    """Uniform noise in [-1, 1] of x's shape (B, *), device and type."""
    return uniform(tuple(x.shape), noise=noise, device=x.device).to(x)


def filled(x: Tensor, depth: int, *, noise: Noise) -> Tensor:
    """A new buffer for batches like x (B, *), all uniform noise: (B, depth, *)."""
    states = x.new_empty(len(x), depth, *x.shape[1:])
    for slot in range(depth):
        states[:, slot] = uniform_as(x, noise=noise.stream("buffer", "filling", slot))
    return states


def visit(
    rows: dict[str, Tensor], x: Tensor, size: int, restart: float, *, noise: Noise, update: Update
) -> buffer.Visit:
    """Where an update's chains start: a slot of each place's own, of which a share starts anew from uniform noise.

    Arguments:
        rows: of the method; `rows["buffer"]` is made at the first visit.
        x: training images (B, *), for their shape.
        size: of the buffer over all places.
        restart: probability that a place starts anew.
        noise: of the update.
        update: says how many places there are on all processes.
    """
    if "buffer" not in rows:
        rows["buffer"] = filled(x, buffer.depth(size, update.batch or len(x)), noise=noise)
    return buffer.visit(rows["buffer"], noise, restart=restart, fresh=lambda own: uniform_as(x, noise=own))
