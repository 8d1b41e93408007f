r"""VAEBM's chain: it moves the noise behind a VAE's image, not the image.

A VAE's image is x = g(z) + sigma eps with z and eps from N(0, I). With both in one state w = (z, eps), the model
pi(x) ∝ p_VAE(x) exp(h(x) / T) is the law of x(w) where w has the density

    log pi(w) = h(g(z) + sigma eps) / T - |z|^2 / 2 - |eps|^2 / 2 + const                     (N1)

All components of w have the same scale, so one step serves all; where h = 0 chains stay at N(0, I). Source: Xiao,
Kreis, Kautz & Vahdat, VAEBM: A Symbiosis between Variational Autoencoders and Energy-based Models, ICLR 2021,
Section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from dualmcmc.langevin import langevin
from dualmcmc.methods.chain import Chain
from dualmcmc.noise import Noise
from dualmcmc.sampling import prior
from dualmcmc.trio import Trio


def start(trio: Trio, shape: tuple[int, ...], *, noise: Noise) -> Tensor:
    """Draws of N(0, I) for images (B, *): w (B, d + D), those of `sampling.generate` for the same noise."""
    z = prior(trio, shape[0], noise=noise)
    eps = noise.stream("generator").normal_like(z.new_empty(shape))
    return torch.cat([z, eps.flatten(1)], 1)


def image(trio: Trio, w: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x(w) = g(z) + sigma eps: w (B, d + D), shape (B, *); returns that shape."""
    z, eps = w.split([trio.latent_dim, math.prod(shape[1:])], 1)
    return trio.g(z) + trio.sigma * eps.reshape(shape)


@torch.no_grad()
def shown(trio: Trio, w: Tensor, shape: tuple[int, ...], pixels: Literal["draw", "mean"]) -> Tensor:
    """What w (B, d + D) stands for to whoever looks: x(w), or g(z), its mean over eps; returns `shape`."""
    return image(trio, w, shape) if pixels == "draw" else trio.g(w[:, : trio.latent_dim])


def log_density(trio: Trio, w: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Eq. (N1) without its constant: w (B, d + D) and the shape (B, *) of its images; returns (B,)."""
    return trio.log_pi(image(trio, w, shape)) - w.square().sum(1) / 2


def move(trio: Trio, w: Tensor, shape: tuple[int, ...], chain: Chain, *, noise: Noise) -> Tensor:
    """`chain` on (N1) from w (B, d + D), in units of its components: where it ends."""
    return langevin(lambda state: log_density(trio, state, shape), w, chain, noise=noise)


def moves(trio: Trio, w: Tensor, shape: tuple[int, ...], chain: Chain, *, noise: Noise) -> Iterator[Tensor]:
    """What `move` passes through: w, then the state after each transition."""
    yield w
    for _ in range(chain.steps):
        w = move(trio, w, shape, replace(chain, steps=1), noise=noise)
        yield w
