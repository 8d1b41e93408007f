"""The losses have the gradients of Eqs. 17 to 19, each for its own network."""

from __future__ import annotations

import pytest
import torch
from linear import QuadraticEnergy, linear_trio
from torch import Tensor, distributions

from dualmcmc.noise import BatchNoise
from dualmcmc.settings import Chain, DualMCMC
from dualmcmc.teaching import energy_loss, generator_loss, inference_loss, teaching
from dualmcmc.trio import Trio


def _with_moments(n: int, mean: Tensor, covariance: Tensor) -> Tensor:
    """n rows whose sample mean and (biased) covariance are exactly these."""
    x = torch.randn(n, len(mean), dtype=mean.dtype, generator=torch.Generator().manual_seed(0))
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / n)).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def test_the_energy_loss_has_the_maximum_likelihood_gradient() -> None:
    """In a Gaussian's natural parameters A m and A, with samples of exactly the model's moments: first and
    second moments of the data minus the model's (the latter times -1/2)."""
    precision = torch.tensor([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 3.0]], dtype=torch.float64)
    mean = torch.tensor([0.5, -1.0, 0.2], dtype=torch.float64)
    trio = linear_trio(3, 2, sigma=0.5).double()
    trio.energy = QuadraticEnergy(precision, mean)
    x = torch.randn(50, 3, dtype=torch.float64)
    covariance = torch.linalg.inv(precision)
    loss, _ = energy_loss(trio, x, _with_moments(50, mean, covariance))
    loss.backward()
    by_linear = x.mean(0) - mean
    by_precision = (covariance + mean[:, None] * mean - x.T @ x / len(x)) / 2
    assert torch.allclose(trio.energy.linear.grad, -by_linear, atol=1e-12)
    assert torch.allclose(trio.energy.matrix.grad, -by_precision, atol=1e-12)


def test_the_energy_loss_is_in_nats_of_the_training_temperature() -> None:
    trio = linear_trio(3, 2, sigma=0.5)
    x, y = torch.randn(2, 6, 3)
    at_one, seen = energy_loss(trio, x, y)
    trio.temperature = 1e-2
    colder, _ = energy_loss(trio, x, y)
    assert torch.allclose(colder, 100 * at_one)
    assert torch.allclose(seen["energy_gap_h"], trio.h(x).mean() - trio.h(y).mean())
    penalised, _ = energy_loss(trio, x, y, penalty=0.5)
    squares = trio.h(x).square().mean() + trio.h(y).square().mean()
    assert torch.allclose(penalised, colder + 50 * squares)


def _independent_losses(trio: Trio, x: Tensor, z: Tensor, y: Tensor, prior: Tensor, s: DualMCMC) -> list[Tensor]:
    """Eqs. 18 and 19 as torch.distributions gives them."""

    def log_p(x: Tensor, z: Tensor) -> Tensor:
        likelihood = distributions.Normal(trio.generator(z), s.sigma).log_prob(x).sum(1)
        return likelihood + distributions.Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(1)

    def log_q(x: Tensor, z: Tensor) -> Tensor:
        mean, log_variance = trio.inference(x)
        return distributions.Normal(mean, (log_variance / 2).exp()).log_prob(z).sum(1)

    generator = s.generator_data_weight * log_p(x, z).mean() + s.generator_model_weight * log_p(y, prior).mean()
    inference = s.inference_data_weight * log_q(x, z).mean() + s.inference_model_weight * log_q(y, prior).mean()
    return [-generator, -inference]


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (1.0, 50.0, 1.0, 0.1)], ids=["paper", "released"])
def test_one_iteration_has_the_gradients_of_equations_18_and_19(weights: tuple[float, ...]) -> None:
    """The draws are repeated from the same noise, the objectives rebuilt from torch.distributions."""
    from dualmcmc.sampling import explain, synthesise

    settings = DualMCMC(
        data_chain=Chain(steps=3, step=0.2),
        latent_chain=Chain(steps=4, step=0.1),
        sigma=0.4,
        start="draw",
        generator_data_weight=weights[0],
        generator_model_weight=weights[1],
        inference_data_weight=weights[2],
        inference_model_weight=weights[3],
    )
    trio = linear_trio(5, 2, sigma=0.4, seed=5).double()
    x, noise = torch.randn(8, 5, dtype=torch.float64), BatchNoise(0, range(8))
    losses = teaching(trio, settings)(x, noise)
    losses.total().backward()
    ours = {name: p.grad.clone() for name, p in trio.named_parameters()}

    trio.zero_grad()
    drawn = synthesise(trio, 8, settings.data_chain, "draw", noise=noise)
    z_post = explain(trio, x, settings.latent_chain, noise=noise).z_post
    generator, inference = _independent_losses(trio, x, z_post, drawn.x_model, drawn.z_prior, settings)
    energy = trio.energy(drawn.x_model).mean() - trio.energy(x).mean()
    (generator + inference + energy).backward()
    for name, parameter in trio.named_parameters():
        assert torch.allclose(ours[name], parameter.grad, rtol=1e-6, atol=1e-7), name
    assert torch.allclose(losses.generator, generator, rtol=1e-6)
    assert torch.allclose(losses.inference, inference, rtol=1e-6)


@pytest.mark.parametrize("which", ["energy", "generator", "inference"])
def test_each_loss_reaches_its_own_network_only(which: str) -> None:
    trio = linear_trio(5, 2, sigma=0.4)
    x, y, z = torch.randn(4, 5), torch.randn(4, 5), torch.randn(4, 2)
    loss = {
        "energy": lambda: energy_loss(trio, x, y)[0],
        "generator": lambda: generator_loss(trio, x, z),
        "inference": lambda: inference_loss(trio, x, z),
    }[which]()
    loss.backward()
    for name, parameter in trio.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert reached == name.startswith(which), name


def test_with_both_chains_at_zero_steps_the_draws_are_the_networks_own() -> None:
    """Wake-sleep with noise-free dreams: x- = g(z), z+ a draw of q; nothing is revised."""
    settings = DualMCMC(data_chain=Chain(steps=0, step=1.0), latent_chain=Chain(steps=0, step=1.0))
    losses = teaching(linear_trio(5, 2, sigma=0.3), settings)(torch.randn(6, 5), BatchNoise(0, range(6)))
    assert losses.seen["data_chain_moved"] == 0
    assert losses.seen["latent_chain_moved"] == 0
