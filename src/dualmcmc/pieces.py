"""A batch in pieces: what needs memory for all rows at once can be had of a few rows at a time.

Rows do not depend on one another, neither in chains nor in a loss that is a mean over rows, so results are
those of the whole batch, up to the rounding of kernels that treat other batch sizes otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dualmcmc.noise import Noise
from dualmcmc.precision import without_autocast


def pieces(rows: int, at_once: int) -> list[slice]:
    """Consecutive slices of `rows` rows, `at_once` in each but the last; all in one where that is 0."""
    size = at_once or max(rows, 1)
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)] or [slice(0, 0)]


def joined(
    rows: int, at_once: int, noise: Noise, work: Callable[[slice, Noise], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """`work` on every piece and its rows' noise; each of its results (piece, *) as (rows, *)."""
    found = [work(piece, noise.part(piece, rows)) for piece in pieces(rows, at_once)]
    return found[0] if len(found) == 1 else tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def taught(
    rows: int, at_once: int, networks: Sequence[nn.Module], loss: Callable[[slice], tuple[Tensor, ...]]
) -> tuple[Tensor, ...]:
    """A mean over rows whose gradient is taken here, piece by piece, so that no graph outlives its piece.

    The scalar returned hands that gradient on when it is differentiated, times whatever it was multiplied by:
    one backward, and one exchange between processes, still serves all losses, but no second one. Where nothing
    learns, or gradients are off, it is the plain mean.

    Arguments:
        rows: of the batch.
        at_once: rows in a piece; 0: all.
        networks: whose parameters that require it get a gradient.
        loss: for a piece, its mean, and anything else per row, (piece, *), which comes back joined and detached.
    """
    learning = [p for network in networks for p in network.parameters() if p.requires_grad]
    teach = bool(learning) and torch.is_grad_enabled()
    total: Tensor | None = None
    gradients: list[Tensor | None] = [None] * len(learning)
    others: list[tuple[Tensor, ...]] = []
    for piece in pieces(rows, at_once):
        mean, *seen = loss(piece)
        share = mean * ((piece.stop - piece.start) / max(rows, 1))
        if teach:
            with without_autocast(share):  # a backward runs in the precision of its forward
                found = _owned(torch.autograd.grad(share, learning, allow_unused=True))
            gradients = [_sum(a, b) for a, b in zip(gradients, found, strict=True)]
            share = share.detach()
        total = share if total is None else total + share
        others.append(tuple(s.detach() for s in seen))
    assert total is not None, "a mean over no rows"
    if teach:
        total = _Known.apply(total, gradients, *learning)
    return (total, *(torch.cat(parts) for parts in zip(*others, strict=True)))


def _owned(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The same, each in memory of its own: autograd may give both terms of a sum one tensor, or strides of 0."""
    seen: set[int] = set()
    owned: list[Tensor | None] = []
    for gradient in gradients:
        if gradient is not None:
            memory = gradient.untyped_storage()._cdata
            if memory in seen or torch._debug_has_internal_overlap(gradient):
                gradient = gradient.clone(memory_format=torch.contiguous_format)
            seen.add(memory)
        owned.append(gradient)
    return owned


def _sum(total: Tensor | None, more: Tensor | None) -> Tensor | None:
    if total is None or more is None:
        return more if total is None else total
    return total.add_(more)


class _Known(torch.autograd.Function):
    """A scalar whose gradients are known."""

    @staticmethod
    def forward(ctx, value, gradients, *parameters):  # type: ignore[no-untyped-def]
        """The value; `gradients` wait for the backward."""
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx, outer):  # type: ignore[no-untyped-def]
        """What each parameter gets: its gradient times that of the value, in the memory that held it."""
        if ctx.gradients is None:
            raise RuntimeError("a loss whose gradients were taken early can be differentiated once")
        gradients, ctx.gradients = ctx.gradients, None
        torch._foreach_mul_([g for g in gradients if g is not None], outer)
        return (None, None, *gradients)
