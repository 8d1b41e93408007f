"""Synthesis and explanation: the two chains, started where the paper starts them.

Both are `langevin` with a log-density of a trio: the data chain follows h at temperature T from the
generator's image of a prior draw (Eq. 20), the latent chain follows log p(x, z) in z from the inference
network's guess (Eq. 21).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dualmcmc import densities
from dualmcmc.langevin import Trace, langevin
from dualmcmc.noise import Noise
from dualmcmc.settings import Chain
from dualmcmc.trio import Trio


class Synthesis(NamedTuple):
    """z ~ p(z) (B, d); x^, where the data chain starts, and x-, where it ends, both (B, *)."""

    z_prior: Tensor
    x_gen: Tensor
    x_model: Tensor


class Explanation(NamedTuple):
    """z0, where the latent chain starts, and z+, where it ends, both (B, d)."""

    z_init: Tensor
    z_post: Tensor


@torch.no_grad()
def prior(trio: Trio, n: int, *, noise: Noise) -> Tensor:
    """n draws of p(z) = N(0, I): (n, d), of the generator's device and type."""
    like = next(trio.generator.parameters())
    return noise.stream("prior").normal_like(like.new_empty(n, trio.latent_dim))


@torch.no_grad()
def generate(trio: Trio, z: Tensor, start: Literal["mean", "draw"], *, noise: Noise) -> Tensor:
    """x^ of codes z (B, d): the mean g(z), or a draw of N(g(z), sigma^2 I), Eq. 20. Returns (B, *)."""
    x = trio.g(z)
    if start == "draw":
        x = x + trio.sigma * noise.stream("generator").normal_like(x)
    return x


def revise(trio: Trio, x: Tensor, chain: Chain, *, noise: Noise, trace: Trace | None = None) -> Tensor:
    """The data chain, Eq. 20: `chain` on h from x (B, *), leaving exp(h / chain.temperature) invariant."""
    return langevin(trio.h, x, chain, noise=noise.stream("data_chain"), trace=trace)


def synthesise(trio: Trio, n: int, chain: Chain, start: Literal["mean", "draw"], *, noise: Noise) -> Synthesis:
    """A prior draw, its image, and that image revised by the data chain, for n rows."""
    z = prior(trio, n, noise=noise)
    x = generate(trio, z, start, noise=noise)
    return Synthesis(z, x, revise(trio, x, chain, noise=noise))


def explain(
    trio: Trio,
    x: Tensor,
    chain: Chain,
    *,
    noise: Noise,
    start: Literal["draw", "mean", "prior"] = "draw",
    trace: Trace | None = None,
) -> Explanation:
    """The latent chain on log p(x, z), Eq. 21, for images x (B, *).

    It starts at a draw of q(z given x) (training), at its mean (a trained model), or at the prior
    (the noise-initialised chain that the paper compares with in its Figure 3).
    """
    with torch.no_grad():
        if start == "prior":
            z_init = prior(trio, len(x), noise=noise)
        else:
            mean, log_variance = trio.q(x)
            z_init = mean
            if start == "draw":
                z_init = densities.draw_diagonal_normal(mean, log_variance, noise=noise.stream("q"))
    z_post = langevin(
        lambda z: trio.log_joint(x, z), z_init, chain, noise=noise.stream("latent_chain"), trace=trace
    )
    return Explanation(z_init, z_post)
