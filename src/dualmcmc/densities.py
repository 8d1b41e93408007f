"""Gaussian log-densities and draws, the only ones the three networks are made of.

    log N(x; m, s^2 I)          = -|x - m|^2 / (2 s^2) - D/2 log(2 pi s^2)                (D1)
    log N(z; mu, diag exp(v))   = -1/2 sum (z - mu)^2 exp(-v) - 1/2 sum v - d/2 log(2 pi)  (D2)
    KL(N(mu, diag exp(v)) || N(0, I)) = 1/2 sum (mu^2 + exp(v) - v - 1)                    (D3)

Sums run over all but the first dimension, in float32 or better whatever the networks compute in. The released
code writes (D1) without the factor 1/2 (its sigma of 0.3 acts as 0.3 / sqrt(2)) and without the
constants; ours are the densities themselves, so that likelihoods can be compared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dualmcmc.noise import Noise

LOG_VARIANCE_RANGE = (-13.8, 10.0)
"""log q variances are clamped here: 1e-6, the released code's floor, to 2e4. Beyond, q has collapsed or burst."""


def at_least_float32(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is that: half precision ends here."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def normal(x: Tensor, mean: Tensor, sigma: float, *, where: Tensor | None = None) -> Tensor:
    """log N(x; mean, sigma^2 I), Eq. (D1); x, mean: (B, *), sigma > 0. Returns (B,).

    `where`, bool and broadcast against x, leaves the other entries out: the density of those it marks alone.
    """
    squares = at_least_float32(x - mean).square()
    count: int | Tensor = squares.flatten(1).shape[1]
    if where is not None:
        where = where.expand_as(squares)
        squares, count = squares.masked_fill(~where, 0.0), where.flatten(1).sum(1)
    return -squares.flatten(1).sum(1) / (2 * sigma**2) - count * math.log(sigma * math.sqrt(2 * math.pi))


def standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I), the prior p(z); z: (B, *). Returns (B,)."""
    squares = at_least_float32(z).square().flatten(1)
    return -squares.sum(1) / 2 - squares.shape[1] * math.log(2 * math.pi) / 2


def diagonal_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, diag exp(log_variance)), Eq. (D2); all (B, d). Returns (B,)."""
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    terms = (z - mean).square() * (-log_variance).exp() + log_variance + math.log(2 * math.pi)
    return -terms.flatten(1).sum(1) / 2


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Eq. (D3), in nats: both (B, d). Returns (B,)."""
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return (mean.square() + log_variance.exp() - log_variance - 1).flatten(1).sum(1) / 2


def draw_diagonal_normal(mean: Tensor, log_variance: Tensor, *, noise: Noise) -> Tensor:
    """A draw of (D2) per row, reparametrised: mean + exp(log_variance / 2) eps. All (B, d), float32."""
    mean, log_variance = at_least_float32(mean), at_least_float32(log_variance)
    return mean + (log_variance / 2).exp() * noise.normal_like(mean)
