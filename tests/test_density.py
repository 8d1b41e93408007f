"""With a buffer of chains the energy is a density, and with re-inferred pairs the generator stays what it was.

The data and the training of `test_linear_gaussian.py`; fixed points (F2) to (F4) of docs/maths.md. The six
directions of the noise relax within a chain, the two that W spans do not: there K s^2 lambda is 0.03, and a state
forgets where it began over 2 m / (K s^2 lambda) = 330 updates, m = 4 states a place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest
import torch
from linear import QuadraticEnergy
from test_linear_gaussian import BATCH, LATENT, SIGMA, D, Trained, generator_gap, log_likelihood, train

from dualmcmc.settings import Chain, DualMCMC

LATENT_STEP = 0.05
MODES = [("persistent", "reinferred"), ("mixed", "reinferred"), ("persistent", "prior")]


@lru_cache
def taught(negatives: Any, pair: Any) -> Trained:
    chains = {"data_chain": Chain(steps=30, step=0.1), "latent_chain": Chain(steps=10, step=LATENT_STEP)}
    return train(DualMCMC(**chains, sigma=SIGMA, start="draw", negatives=negatives, pair=pair, buffer=4 * BATCH))


def energy_gap(trained: Trained) -> float:
    """Nats per dimension by which the energy's own Gaussian is below the best one, that of the data's moments."""
    energy = trained.trio.energy
    assert isinstance(energy, QuadraticEnergy)
    matrix = (energy.matrix + energy.matrix.T).detach().double() / 2
    basis, origin = energy.basis.double(), energy.origin.double()
    mean = origin + basis @ torch.linalg.solve(matrix, energy.linear.detach().double())
    ours = log_likelihood(torch.linalg.inv(trained.energy_precision()), mean, trained.x)
    return (log_likelihood(trained.covariance, trained.x.mean(0), trained.x) - ours) / D


@pytest.mark.parametrize(("negatives", "pair"), MODES)
def test_a_buffer_makes_the_energy_a_density(negatives: str, pair: str) -> None:
    """Within 0.02 nats per dimension of the optimum; generator-started chains give none that is normalisable."""
    assert energy_gap(taught(negatives, pair)) < 0.02


@pytest.mark.parametrize(("negatives", "pair"), MODES[:2])
def test_reinferred_pairs_keep_the_generator(negatives: str, pair: str) -> None:
    """Within 0.005 nats per dimension, its variances within 5 % of v_d / (1 + s^2 v_d / (4 sigma^2)), Eq. (F4)."""
    trained = taught(negatives, pair)
    assert generator_gap(trained) < 0.005
    values, vectors = torch.linalg.eigh(trained.covariance)
    learned = (vectors.T @ trained.generated_covariance(with_noise=True) @ vectors).diagonal()[-LATENT:]
    predicted = values[-LATENT:] / (1 + LATENT_STEP**2 * values[-LATENT:] / (4 * SIGMA**2))
    assert (learned / predicted - 1).abs().max() < 0.05


def test_prior_pairs_shrink_it() -> None:
    """Eq. (F3): regressing x- on the z it started from, which a good energy has moved it away from."""
    trained = taught("persistent", "prior")
    values, vectors = torch.linalg.eigh(trained.covariance)
    learned = (vectors.T @ trained.generated_covariance(with_noise=True) @ vectors).diagonal()[-LATENT:]
    assert (learned < 0.85 * values[-LATENT:]).all()
    assert generator_gap(trained) > 0.005
