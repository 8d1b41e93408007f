"""Networks whose densities are Gaussian, so that every answer is known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualmcmc.trio import Trio


class QuadraticEnergy(nn.Module):
    """h(x) = -y' A y / 2 + c' y with y = B' (x - o), A symmetric: a Gaussian in its natural parameters.

    Natural parameters make maximum likelihood convex (a mean as parameter bends it into a valley); a basis
    B that does not mix wide and narrow directions keeps each entry's gradient as quiet as it can be.
    """

    basis: Tensor
    origin: Tensor

    def __init__(self, precision: Tensor, mean: Tensor, basis: Tensor | None = None) -> None:
        """exp(h) is N(mean, precision^-1), the origin o being zero, or `mean` where a basis is given."""
        super().__init__()
        self.register_buffer("origin", torch.zeros_like(mean) if basis is None else mean)
        basis = torch.eye(len(mean), dtype=mean.dtype) if basis is None else basis
        self.register_buffer("basis", basis)
        self.matrix = nn.Parameter(basis.T @ precision @ basis)
        self.linear = nn.Parameter(basis.T @ precision @ (mean - self.origin))

    @property
    def precision(self) -> Tensor:
        return self.basis @ (self.matrix + self.matrix.T) @ self.basis.T / 2

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.origin) @ self.basis
        return -((y @ (self.matrix + self.matrix.T)) * y).sum(1) / 4 + y @ self.linear


class LinearInference(nn.Module):
    """q(z given x) = N(V x + c, diag exp(v)), v the same for all x."""

    def __init__(self, data_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(data_dim, latent_dim)
        self.log_variance = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = self.mean(x)
        return mean, self.log_variance.expand_as(mean)


def linear_trio(data_dim: int, latent_dim: int, *, sigma: float, seed: int = 0) -> Trio:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Trio(
            QuadraticEnergy(torch.eye(data_dim), torch.zeros(data_dim)),
            nn.Linear(latent_dim, data_dim),
            LinearInference(data_dim, latent_dim),
            latent_dim=latent_dim,
            sigma=sigma,
            temperature=1.0,
        )


def posterior(generator: nn.Linear, sigma: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (B, d) and precision (d, d) of p(z given x) for g(z) = W z + b."""
    w, b = generator.weight.detach(), generator.bias.detach()
    precision = torch.eye(w.shape[1], dtype=w.dtype) + w.T @ w / sigma**2
    return (x - b) @ w @ torch.linalg.inv(precision) / sigma**2, precision


def settled_covariance(precision: Tensor, step: float, temperature: float = 1.0) -> Tensor:
    """Eq. (L2) in every eigendirection of the precision."""
    values, vectors = torch.linalg.eigh(precision)
    return vectors @ torch.diag(temperature / (values * (1 - step**2 * values / 4))) @ vectors.T


def assert_moments(x: Tensor, mean: Tensor, covariance: Tensor, errors: float = 5) -> None:
    """Sample mean and covariance of independent Gaussian rows within `errors` standard errors, entry by entry."""
    n = len(x)
    scale = covariance.diagonal()
    assert ((x.mean(0) - mean).abs() < errors * (scale / n).sqrt()).all()
    error = ((scale[:, None] * scale[None] + covariance**2) / n).sqrt()
    assert ((torch.cov(x.T) - covariance).abs() < errors * error).all()
