"""How far a trained toy is from the truth: its density on a grid, its samples by mode and by energy distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dualmcmc import densities, methods
from dualmcmc.drawing import draw
from dualmcmc.methods import Method
from dualmcmc.noise import BatchNoise
from dualmcmc.sampling import generate, prior
from dualmcmc.toy_family import TRUTH, UNIT
from dualmcmc.toys import Mixture, energy_distance, kl_on_grid
from dualmcmc.trio import Trio

EXTENT, CELLS = 3.5 * UNIT, 100
"""Of the grid on which divergences are summed."""


@torch.no_grad()
def samples(trio: Trio, settings: Method, n: int, *, seed: int = 0) -> Tensor:
    """n draws of a trained toy (n, 2): `drawing.draw`, but draws of p(x given z) where that is the whole model."""
    noise = BatchNoise(seed, range(n), path=("samples",))
    if _generator_alone(settings):
        return generate(trio, prior(trio, n, noise=noise), "draw", noise=noise)
    return draw(trio, settings, (n, 2), methods.test_chain(settings), noise=noise)


def _generator_alone(settings: Method) -> bool:
    return isinstance(settings, (methods.VAE, methods.ABP, methods.ShortRunABP))


def log_generated(trio: Trio, *, cells: int = 60, extent: float = 4.5) -> Callable[[Tensor], Tensor]:
    """log p(x), p(x, z) being summed over a grid of codes on [-extent, extent]^2: a function of (B, 2) to (B,)."""
    axis = (torch.arange(cells) + 0.5) / cells * 2 * extent - extent
    z = torch.cartesian_prod(axis, axis)
    z = z[densities.standard_normal(z) > -14]
    with torch.no_grad():
        means, prior_terms = trio.g(z), densities.standard_normal(z)
    constant = 2 * math.log(2 * extent / cells) - math.log(2 * math.pi * trio.sigma**2)

    def log_density(x: Tensor) -> Tensor:
        parts = [
            (prior_terms - torch.cdist(part, means).square() / (2 * trio.sigma**2)).logsumexp(1)
            for part in x.split(500)
        ]
        return torch.cat(parts) + constant

    return log_density


@dataclass(frozen=True)
class Figures:
    """How far a trained toy is from the truth; None where a method has no such thing."""

    kl: float | None
    """KL(truth || exp(h / T)), nats; with an energy that corrects a generator, of the corrected density."""
    generator_kl: float | None
    """KL(truth || the generator's marginal), nats."""
    covered: float
    """Share of samples within 3 deviations of a mode (truth: 0.99)."""
    least: float
    """Share of the least frequent mode, times the number of modes (truth: 1)."""
    distance: float
    """Energy distance of samples to as many draws of the truth, in units of x."""


def figures(trio: Trio, settings: Method, truth: Mixture = TRUTH, *, n: int = 5000, seed: int = 0) -> Figures:
    """A trained toy against the truth, by n samples."""
    drawn = samples(trio, settings, n, seed=seed)
    kl: float | None = None
    generator_kl: float | None = None
    if trio.generator is not None and not isinstance(settings, (methods.WAE, methods.RAE)):
        generated = log_generated(trio)
        generator_kl = _kl(truth, generated)
    if isinstance(settings, methods.VAEBM):
        kl = _kl(truth, lambda x: generated(x) + trio.log_pi(x))
    elif trio.energy is not None:
        kl = _kl(truth, trio.log_pi)
    return Figures(kl, generator_kl, *by_samples(drawn, truth, seed=seed))


def one_gaussian(truth: Mixture = TRUTH, *, n: int = 5000, seed: int = 0) -> Figures:
    """The figures of the Gaussian that has the truth's mean and covariance: what any method must beat."""
    covariance = torch.cov(truth.means.T, correction=0) + truth.deviation**2 * torch.eye(2)
    law = torch.distributions.MultivariateNormal(truth.means.mean(0), covariance)
    kl = _kl(truth, law.log_prob)
    eps = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Figures(kl, kl, *by_samples(law.mean + eps @ law.scale_tril.T, truth, seed=seed))


def _kl(truth: Mixture, learned: Callable[[Tensor], Tensor]) -> float:
    return kl_on_grid(truth.log_density, learned, extent=EXTENT, cells=CELLS)


def by_samples(drawn: Tensor, truth: Mixture = TRUTH, *, seed: int = 0) -> tuple[float, float, float]:
    """`Figures.covered`, `least` and `distance` of samples (n, 2)."""
    shares = truth.shares(drawn)
    others = truth.sample(len(drawn), torch.Generator().manual_seed(seed + 1_000_000))
    least = float(shares.min() * len(shares))
    return float(shares.sum()), least, energy_distance(drawn, others)
