"""What a method has beside three networks: learned numbers, or what a trained model draws from.

Sampler      no_mcmc: the deviation of p(x given z), and those of the posterior around a known code
CodeDensity  rae: the Gaussian fitted to training codes, its prior; only in trained models
Memory       persistent, improved_cd, jem: the buffer, where chains start; only in trained models
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sampler(nn.Module):
    """log sigma of p(x given z), and log deviations (d,) of q(z' given z) = N(z, diag exp(2 log_deviations)).

    Arguments:
        latent_dim: d.
        sigma: at first.
        sigma_range: where `sigma` is held.
    """

    def __init__(self, latent_dim: int, sigma: float, sigma_range: tuple[float, float]) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.tensor(sigma).log())
        self.log_deviations = nn.Parameter(torch.full((latent_dim,), 0.1).log())
        self.log_range = math.log(sigma_range[0]), math.log(sigma_range[1])

    @property
    def sigma(self) -> Tensor:
        """The deviation of p(x given z) within its range: a scalar with gradient."""
        low, high = self.log_range
        held = self.log_sigma.clamp(low, high)
        # The bound's value with the gradient at the bound, so that what has left the range can come back.
        return (self.log_sigma + (held - self.log_sigma).detach()).exp()

    @torch.no_grad()
    def hold(self) -> None:
        """Takes log sigma back into its range, in place: updates must not carry it ever further out."""
        self.log_sigma.clamp_(*self.log_range)


class CodeDensity(nn.Module):
    """N(mean, L L'): mean (d,), L (d, d) lower triangular; N(0, I) until it is fitted."""

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.eye(latent_dim))

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Takes over mean and covariance of codes (N, d), N > d or the covariance is only just made positive."""
        codes = codes.cpu().double()  # not every device has float64
        covariance = torch.cov(codes.T).reshape(codes.shape[1], codes.shape[1])
        jitter = 1e-6 * covariance.diagonal().mean().clamp_min(1e-12)
        covariance = covariance + jitter * torch.eye(len(covariance), dtype=covariance.dtype)
        self.mean.copy_(codes.mean(0))
        self.scale.copy_(torch.linalg.cholesky(covariance))

    def forward(self, eps: Tensor) -> Tensor:
        """Draws of the density from draws eps (B, d) of N(0, I): (B, d)."""
        return self.mean + (self.scale * eps[:, None]).sum(2)  # no matrix product, which autocast would round


class Memory(nn.Module):
    """Images in 8 bits, uint8 (M, C, S, S)."""

    images: Tensor

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(count, *shape, dtype=torch.uint8))

    @torch.no_grad()
    def fill(self, states: Tensor) -> None:
        """Takes over states (M, C, S, S), clamped to [-1, 1] and rounded to 8 bits."""
        self.images.copy_(((states.clamp(-1, 1) + 1) * 127.5).round())

    def forward(self, chosen: Tensor) -> Tensor:
        """The images at positions int64 (B,), float32 in [-1, 1]."""
        return self.images[chosen].float() / 127.5 - 1
