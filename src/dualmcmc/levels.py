r"""Conditional chains over noise levels: how recovery likelihood draws.

With x~ = x_{t+1} of Eq. (Y1) and y = a x_t, the energy of level t makes

    log p(y given x~) = h(y / a, t) / T_t - |x~ - y|^2 / (2 sigma^2) + const                  (Y2)

of which the second term is what x~ says of y, and exp(h / T_t) the density of x_t. Where sigma is small the
Gaussian outweighs h: the conditional has one mode, near x~, and a short chain from x~ samples it. An image is
drawn from noise by the chains of all levels, each starting where the one before has ended.

The released network sees y; ours sees x_t = y / a, so that h of level 0 is that of images and log pi(x) is
h(x, 0) / T_0 up to a constant. Source: Gao, Song, Poole, Wu & Kingma, Learning Energy-Based Models by Diffusion
Recovery Likelihood, ICLR 2021, Algorithms 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc import densities
from dualmcmc.langevin import LogDensity, fresh, langevin
from dualmcmc.methods.chain import Chain
from dualmcmc.methods.diffusion import Level
from dualmcmc.noise import Noise
from dualmcmc.trio import Trio


class Pair(NamedTuple):
    """x_t and x_{t+1} of the same images, both (B, *)."""

    x: Tensor
    noisier: Tensor


def at(levels: Sequence[Level], level: Tensor, name: str, like: Tensor) -> Tensor:
    """A number of each row's level, (B, 1, ...) with as many dimensions as `like` (B, *), on its device."""
    table = _table(tuple(levels), name, like.dtype, like.device)
    return table[level].reshape(-1, *(1 for _ in like.shape[1:]))


@cache
def _table(levels: tuple[Level, ...], name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number of each level; kept, as copying it to a GPU would make the chain wait."""
    with torch.inference_mode(False):
        return torch.tensor([float(getattr(one, name)) for one in levels], dtype=dtype, device=device)


@torch.no_grad()
def diffuse(levels: Sequence[Level], x: Tensor, level: Tensor, *, noise: Noise) -> Pair:
    """Images x (B, *), each at its level, int64 (B,), and at the next: Eq. (Y1)."""
    noise = noise.stream("diffusion")
    x = at(levels, level, "signal", x) * x + at(levels, level, "noise", x) * noise.normal_like(x)
    kept, added = at(levels, level, "next_signal", x), at(levels, level, "next_noise", x)
    return Pair(x, kept * x + added * noise.normal_like(x))


def log_conditional(trio: Trio, levels: Sequence[Level], noisier: Tensor, level: Tensor) -> LogDensity:
    """Eq. (Y2) without its constant, for x_{t+1} (B, *) and levels int64 (B,): takes x_t (B, *) to (B,)."""
    names = ("scale", "temperature", "precision")
    scale, temperature, precision = (fresh(at(levels, level, name, noisier)) for name in names)
    energy = trio.part("energy")

    def log_density(x: Tensor) -> Tensor:
        h = densities.at_least_float32(energy(x, level))
        squares = (precision * (noisier - scale * x).square()).flatten(1).sum(1)
        return h / temperature.flatten() - squares / 2

    return log_density


def recover(
    trio: Trio,
    levels: Sequence[Level],
    x: Tensor,
    noisier: Tensor,
    level: Tensor,
    chain: Chain,
    *,
    noise: Noise,
) -> Tensor:
    """The chain on (Y2) from x_t.

    Arguments:
        trio: its energy network is told the level.
        levels: all there are.
        x: where chains start, (B, *); released: at noisier / a.
        noisier: x_{t+1}, (B, *).
        level: t of each row, int64 (B,).
        chain: its step is in units of each level's b_t, and its temperature the square of a factor on the noise.
        noise: draw k of each row serves transition k.

    Returns:
        x_t, (B, *), detached.
    """
    # In y / b_t the chains of all levels have the same step.
    unit = fresh(at(levels, level, "step", x) / at(levels, level, "scale", x))
    log_density = log_conditional(trio, levels, fresh(noisier), fresh(level))
    return unit * langevin(lambda state: log_density(unit * state), x / unit, chain, noise=noise)


def start(levels: Sequence[Level], noisier: Tensor, level: Tensor) -> Tensor:
    """Where a level's chain starts: x_t with y = x_{t+1}, (B, *)."""
    return noisier / at(levels, level, "scale", noisier)


def descend(
    trio: Trio, levels: Sequence[Level], x: Tensor, level_steps: int, chain: Chain, *, noise: Noise
) -> Iterator[Tensor]:
    """Images passed through from noise x ~ N(0, I), (B, *): x itself, then the state after each transition.

    The k-th transition is the same however long the chain. After those of all levels it goes on at level 0, given
    the same x_1.

    Arguments:
        trio: as for `recover`.
        levels: all there are, the least noise first.
        x: where it starts.
        level_steps: transitions of each level.
        chain: as for `recover`; its steps are transitions in all.
        noise: of the transitions.
    """
    yield x
    one, noisier = replace(chain, steps=1), x
    for k in range(chain.steps):
        t = max(len(levels) - 1 - k // level_steps, 0)
        level = torch.full((len(x),), t, device=x.device)
        if k % level_steps == 0 and k < level_steps * len(levels):
            noisier = x
            x = start(levels, noisier, level)
        x = recover(trio, levels, x, noisier, level, one, noise=noise)
        yield x
