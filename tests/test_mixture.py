"""On a 2-D mixture of known density, the energy learned by dual-MCMC teaching is that density."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from dualmcmc.langevin import score
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import synthesise
from dualmcmc.settings import Chain, DualMCMC
from dualmcmc.teaching import teaching
from dualmcmc.toys import Mixture, kl_on_grid
from dualmcmc.trio import Trio

# Modes 1.18 apart with deviation 0.4: 30 steps of 0.25 diffuse over 1.4, so chains pass from mode to mode.
TRUTH = Mixture.ring(modes=5, radius=1.0, deviation=0.4)
CHAIN = Chain(steps=30, step=0.25)
UPDATES, BATCH = 1000, 128


class _Energy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).squeeze(1) - x.square().sum(1) / 2  # decays far out, so that exp(h) is normalisable


class _Inference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.trunk(x).chunk(2, 1)
        return mean, log_variance


@pytest.fixture(scope="module")
def trained() -> Trio:
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    trio = Trio(_Energy(), generator, _Inference(), latent_dim=2, sigma=0.3, temperature=1.0)
    settings = DualMCMC(data_chain=CHAIN, latent_chain=Chain(steps=5, step=0.15), sigma=0.3, start="draw")
    module = teaching(trio, settings)
    optimiser = torch.optim.Adam(trio.parameters(), lr=3e-3, betas=(0.5, 0.99), fused=True)
    source = torch.Generator().manual_seed(1)
    for t in range(UPDATES):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - t / UPDATES)
        module(TRUTH.sample(BATCH, source), BatchNoise(0, range(BATCH), path=("train", t))).total().backward()
        optimiser.step()
        optimiser.zero_grad()
    return trio


def test_the_learned_density_is_within_a_tenth_of_a_nat(trained: Trio) -> None:
    assert kl_on_grid(TRUTH.log_density, trained.log_pi, extent=3.5) < 0.1


def test_the_data_chain_started_from_the_generator_covers_every_mode(trained: Trio) -> None:
    """1,000 samples: each mode gets 200 within 5 standard deviations of an equal share (63)."""
    x = synthesise(trained, 1000, CHAIN, "draw", noise=Noise(5)).x_model
    counts = torch.bincount(TRUTH.nearest(x) + 1, minlength=6)
    assert (counts[1:] > 1000 / 5 - 5 * math.sqrt(1000 * 0.2 * 0.8)).all()
    assert counts[0] < 100


def test_a_mixture_integrates_to_one_and_a_density_is_no_distance_from_itself() -> None:
    axis = torch.linspace(-4, 4, 401)
    grid = torch.cartesian_prod(axis, axis)
    assert abs(TRUTH.log_density(grid).exp().sum().item() * 0.02**2 - 1) < 1e-4
    assert abs(kl_on_grid(TRUTH.log_density, lambda x: TRUTH.log_density(x) + 7, extent=4)) < 1e-6


def test_a_mixture_s_gradient_is_that_of_its_log_density() -> None:
    """In float64, out to 20 deviations from every mode."""
    x = TRUTH.means.double()[0] * torch.linspace(-8, 8, 41, dtype=torch.float64)[:, None] + 0.1
    _, by_autograd = score(TRUTH.log_density, x)
    assert torch.allclose(TRUTH.gradient(x), by_autograd, rtol=1e-10, atol=1e-10)


def test_kl_on_a_grid_is_the_closed_form_for_two_gaussians() -> None:
    """KL(N(0, s^2 I) || N(m, s^2 I)) = |m|^2 / (2 s^2)."""
    p, q = (Mixture(torch.tensor([mean]), 0.5) for mean in ([0.0, 0.0], [0.3, -0.4]))
    assert abs(kl_on_grid(p.log_density, q.log_density, extent=4) - 0.25 / (2 * 0.25)) < 1e-3


def test_draws_of_a_mixture_have_its_entropy() -> None:
    """The mean log-density of draws equals its integral on a grid, within 5 standard errors."""
    x = TRUTH.sample(20_000, torch.Generator().manual_seed(0))
    values = TRUTH.log_density(x)
    axis = torch.linspace(-4, 4, 401)
    grid = TRUTH.log_density(torch.cartesian_prod(axis, axis))
    exact = (grid.exp() * grid).sum().item() * 0.02**2
    assert abs(values.mean().item() - exact) < 5 * values.std().item() / math.sqrt(len(x)) + 1e-3
