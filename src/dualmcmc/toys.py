"""2-D densities that are known exactly: is a learned energy one of them, and how far are samples from it?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """Equal-weight mixture of isotropic Gaussians: means (M, 2), one standard deviation for all."""

    means: Tensor
    deviation: float

    @classmethod
    def ring(cls, modes: int, radius: float, deviation: float) -> Mixture:
        """Modes evenly spaced on a circle."""
        angles = torch.arange(modes) * (2 * math.pi / modes)
        return cls(radius * torch.stack([angles.cos(), angles.sin()], 1), deviation)

    def log_density(self, x: Tensor) -> Tensor:
        """log p(x), normalised: x (B, 2); returns (B,)."""
        squares = torch.cdist(x, self.means.to(x)).square()
        variance = self.deviation**2
        terms = -squares / (2 * variance) - math.log(2 * math.pi * variance * len(self.means))
        return terms.logsumexp(1)

    def gradient(self, x: Tensor) -> Tensor:
        """grad log p(x) in closed form, sum_m p(m | x) (mean_m - x) / deviation^2: x (B, 2); returns (B, 2)."""
        means, variance = self.means.to(x), self.deviation**2
        # |x|^2 is common to all modes and drops out of p(m | x); modes come first, as short rows are slow to sum.
        logits = torch.addmm(-means.square().sum(1, keepdim=True) / (2 * variance), means / variance, x.T)
        return ((means.T @ logits.softmax(0)).T - x) / variance

    def sample(self, n: int, source: torch.Generator) -> Tensor:
        """n draws (n, 2)."""
        return self.labelled(n, source)[0]

    def labelled(self, n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        """n draws (n, 2), and the modes that they are drawn from, int64 (n,)."""
        which = torch.randint(len(self.means), (n,), generator=source)
        return self.means[which] + self.deviation * torch.randn(n, 2, generator=source), which

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the mode nearest to each row of x (B, 2), and -1 beyond 3 standard deviations of all: (B,)."""
        distance, mode = torch.cdist(x, self.means.to(x)).min(1)
        return torch.where(distance < 3 * self.deviation, mode, -1)

    def shares(self, x: Tensor) -> Tensor:
        """Share of samples x (N, 2) by the mode that they are `nearest` to, (M,); those beyond all are missing."""
        counts = torch.bincount(self.nearest(x) + 1, minlength=len(self.means) + 1)
        return counts[1:] / len(x)


def kl_on_grid(
    truth: Callable[[Tensor], Tensor], learned: Callable[[Tensor], Tensor], *, extent: float, cells: int = 200
) -> float:
    """KL(truth || learned) in nats, both normalised as sums over a grid on [-extent, extent]^2.

    truth and learned map (B, 2) to log-densities (B,), up to constants.
    """
    axis = (torch.arange(cells) + 0.5) / cells * 2 * extent - extent
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        log_p, log_q = truth(grid).double(), learned(grid).double()
    log_p, log_q = log_p - log_p.logsumexp(0), log_q - log_q.logsumexp(0)
    return float((log_p.exp() * (log_p - log_q)).sum())


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| from samples (N, D) and (M, D), in units of x; 0 if of one law alone.

    Pairs of a sample with itself are left out, so that its mean over samples of one law is 0: it may be below.
    Source: Szekely & Rizzo (2013).
    """
    within = [torch.cdist(a, a).double().sum() / (len(a) * (len(a) - 1)) for a in (x, y)]
    return float(2 * torch.cdist(x, y).double().mean() - within[0] - within[1])
