"""The three densities are those of the paper: checked where they are Gaussian and known."""

from __future__ import annotations

import torch
from linear import assert_moments, linear_trio, posterior, settled_covariance
from torch import distributions

from dualmcmc import densities
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import explain, generate, prior
from dualmcmc.settings import Chain


def test_the_latent_chain_settles_at_the_posterior() -> None:
    """Mean of p(z given x), and (L2)'s covariance for its precision, off-diagonal entries included."""
    trio = linear_trio(6, 3, sigma=0.7, seed=1).double()
    x = torch.tensor([[0.3, -1.0, 0.8, 0.1, 1.2, -0.4]], dtype=torch.float64)
    mean, precision = posterior(trio.generator, 0.7, x)  # type: ignore[arg-type]
    values = torch.linalg.eigvalsh(precision)
    step, n = float((1.6 / values.max()).sqrt()), 20_000
    steps = int(12 / (step**2 * values.min().item())) + 1
    drawn = explain(
        trio, x.expand(n, 6), Chain(steps=steps, step=step), noise=BatchNoise(0, range(n)), start="prior"
    )
    assert_moments(drawn.z_post, mean[0], settled_covariance(precision, step))


def test_log_joint_has_the_closed_forms_score_and_hessian() -> None:
    """Its score in z vanishes at the posterior's mean; minus its Hessian is the posterior's precision."""
    trio = linear_trio(6, 3, sigma=0.5, seed=2).double()
    x = torch.randn(1, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, precision = posterior(trio.generator, 0.5, x)  # type: ignore[arg-type]

    def f(z: torch.Tensor) -> torch.Tensor:
        return trio.log_joint(x, z[None])[0]

    z = torch.tensor([0.4, -0.2, 1.0], dtype=torch.float64)
    (score,) = torch.autograd.grad(f(z.requires_grad_()), z)
    assert torch.allclose(score, -precision @ (z.detach() - mean[0]), rtol=1e-10, atol=1e-10)
    assert torch.allclose(torch.autograd.functional.hessian(f, z), -precision, rtol=1e-10, atol=1e-10)


def test_log_joint_integrates_to_the_marginal_likelihood() -> None:
    """log p(x) = log p(x, z) - log p(z given x) at any z: the normalising constants are all there."""
    trio = linear_trio(4, 2, sigma=0.6, seed=3).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    z = torch.randn(5, 2, dtype=torch.float64)
    mean, precision = posterior(trio.generator, 0.6, x)  # type: ignore[arg-type]
    w, b = trio.generator.weight, trio.generator.bias
    marginal = distributions.MultivariateNormal(b, w @ w.T + 0.36 * torch.eye(4, dtype=torch.float64))
    conditional = distributions.MultivariateNormal(mean, precision_matrix=precision)
    ours = trio.log_joint(x, z) - conditional.log_prob(z)
    assert torch.allclose(ours, marginal.log_prob(x), rtol=1e-9)


def test_densities_are_those_of_torch_distributions() -> None:
    x, mean = torch.randn(2, 3, 2, 4, 4, dtype=torch.float64)
    normal = distributions.Normal(mean, 0.3)
    assert torch.allclose(densities.normal(x, mean, 0.3), normal.log_prob(x).flatten(1).sum(1))
    z, mu, log_variance = torch.randn(3, 5, 7, dtype=torch.float64)
    diagonal = distributions.Normal(mu, (log_variance / 2).exp())
    assert torch.allclose(densities.diagonal_normal(z, mu, log_variance), diagonal.log_prob(z).sum(1))
    standard = distributions.Normal(torch.zeros_like(z), 1.0)
    assert torch.allclose(densities.standard_normal(z), standard.log_prob(z).sum(1))


def test_the_data_chain_starts_at_the_mean_or_at_a_draw_of_p_x_given_z() -> None:
    """Eq. 20's start has the generator's marginal covariance W W' + sigma^2 I; the mean start lacks sigma^2 I."""
    trio, n = linear_trio(4, 2, sigma=0.5, seed=4).double(), 40_000
    noise = BatchNoise(0, range(n))
    z = prior(trio, n, noise=noise)
    w, b = trio.generator.weight.detach(), trio.generator.bias.detach()
    drawn = generate(trio, z.double(), "draw", noise=noise)
    assert_moments(drawn, b, w @ w.T + 0.25 * torch.eye(4))
    assert torch.equal(generate(trio, z.double(), "mean", noise=noise), z.double() @ w.T + b)


def test_log_pi_is_h_over_t_and_half_precision_networks_give_float32() -> None:
    trio = linear_trio(4, 2, sigma=0.5)
    trio.temperature = 1e-3
    x = torch.randn(3, 4)
    assert torch.equal(trio.log_pi(x), trio.h(x) / 1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [trio.h(x), trio.g(torch.randn(3, 2)), *trio.q(x), trio.log_joint(x, torch.randn(3, 2))]
    assert all(out.dtype == torch.float32 for out in outputs)


def test_a_collapsed_or_burst_variance_is_held() -> None:
    trio = linear_trio(3, 2, sigma=0.5)
    with torch.no_grad():
        trio.inference.log_variance.copy_(torch.tensor([-1e4, 1e4]))
    _, log_variance = trio.q(torch.randn(2, 3))
    assert torch.allclose(log_variance[0], torch.tensor(densities.LOG_VARIANCE_RANGE), atol=1e-3)
    loss = -trio.log_q(torch.randn(2, 3), torch.randn(2, 2)).sum()
    assert loss.isfinite()
    loss.backward()
    collapsed, burst = trio.inference.log_variance.grad
    assert collapsed < 0 < burst  # descent widens the one and narrows the other: both can come back


def test_draws_of_q_have_its_moments() -> None:
    n = 40_000
    mean = torch.tensor([0.5, -1.0], dtype=torch.float64).expand(n, 2)
    log_variance = torch.tensor([0.0, -2.0], dtype=torch.float64).expand(n, 2)
    z = densities.draw_diagonal_normal(mean, log_variance, noise=Noise(0))
    assert_moments(z, mean[0], torch.diag(log_variance[0].exp()))
