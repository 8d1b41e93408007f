"""A replay buffer: where earlier chains ended, and later ones go on.

Every place of the batch has slots of its own, so that with any number of processes each place meets the same
states: a buffer of 10,000 for batches of 100 is 100 slots for each of 100 places. A place draws one of its slots,
the chain goes on from there, and the slot holds its end. Source: Tieleman (2008); Du & Mordatch (2019).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc.noise import Noise


class Visit(NamedTuple):
    """The slots of an update, (B,), their states (B, *), and which of them start anew, bool (B,)."""

    slots: Tensor
    states: Tensor
    fresh: Tensor


def depth(size: int, batch: int) -> int:
    """Slots of each place: the buffer's size over the batch's, at least 1."""
    return max(1, round(size / batch))


@torch.no_grad()
def visit(states: Tensor, noise: Noise, *, restart: float, fresh: Callable[[Noise], Tensor]) -> Visit:
    """A slot of each place's, drawn uniformly; a share of them starts anew.

    Arguments:
        states: (B, m, *).
        noise: of the draws; those of place i depend on its key only.
        restart: probability that a place starts anew.
        fresh: makes new states (B, *) from noise.
    """
    noise = noise.stream("buffer")
    b, m = states.shape[:2]
    drawn = noise.uniform_like(torch.empty(b, 2, device=states.device))
    slots = (drawn[:, 0] * m).long().clamp_(max=m - 1)
    found = states[torch.arange(b, device=states.device), slots]
    anew = drawn[:, 1] < restart
    if restart > 0:
        found = torch.where(anew.reshape(-1, *(1 for _ in found.shape[1:])), fresh(noise), found)
    return Visit(slots, found, anew)


@torch.no_grad()
def put_back(states: Tensor, slots: Tensor, ends: Tensor) -> None:
    """The slots (B,) of states (B, m, *) hold the ends (B, *) of the chains that started from them; in place."""
    states[torch.arange(len(slots), device=states.device), slots] = ends


@torch.no_grad()
def spread(states: Tensor, count: int) -> Tensor:
    """`count` states of a buffer (B, m, *), every place's first slots first: (count, *)."""
    return states.transpose(0, 1).flatten(0, 1)[:count]
