"""Recovery likelihood's conditional chains, VAEBM's noise space: laws in closed form, gradients, who learns when.

With h = -T_t x^2 / (2 V_t), the density of level t being N(0, V_t), a transition of the chain on (Y2) in y is
linear,

    y' = (1 - b^2 lambda / 2) y + b^2 / (2 sigma^2) x~ + b eps,    lambda = 1 / sigma^2 + 1 / (a^2 V_t),

so that all of a chain's moments follow from it (`_after`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from linear import QuadraticEnergy, assert_moments, linear_trio
from tiny import assert_same, checkpoint, log, timeless, train
from torch import Tensor, nn

from dualmcmc import Model, levels, methods, noise_space
from dualmcmc.drawing import draw
from dualmcmc.langevin import Trace
from dualmcmc.methods import VAEBM, Chain, RecoveryLikelihood
from dualmcmc.methods.diffusion import Level, noise_levels
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import generate, prior
from dualmcmc.teaching import Teaching, Update, teaching
from dualmcmc.teaching.recovery_likelihood import RecoveryLikelihoodTeaching, draw_levels
from dualmcmc.trio import Trio

DATA = 0.2
"""The data's variance."""


class LevelledQuadratic(nn.Module):
    """h(x, t) = -k_t |x|^2 / 2 with a learned k_t for each level."""

    def __init__(self, curvatures: Sequence[float]) -> None:
        super().__init__()
        self.curvature = nn.Parameter(torch.tensor(curvatures))

    def forward(self, x: Tensor, level: Tensor | int = 0) -> Tensor:
        return -self.curvature[level] * x.square().flatten(1).sum(1) / 2


def _variances(table: Sequence[Level]) -> list[float]:
    """V_t of data N(0, DATA)."""
    return [one.signal**2 * DATA + one.noise**2 for one in table]


def _exact(table: Sequence[Level]) -> Trio:
    """The energies under which exp(h / T_t) is the density of level t."""
    curvatures = [one.temperature / v for one, v in zip(table, _variances(table), strict=True)]
    return Trio(LevelledQuadratic(curvatures), latent_dim=1, sigma=1.0, temperature=table[0].temperature)


def _relaxing(count: int) -> list[Level]:
    """The levels with steps b^2 = 0.1 / lambda, at which 100 transitions forget all but 0.95^100 = 0.6 %."""
    table = noise_levels(count, 1.0, 1.0)
    return [
        replace(one, step=(0.1 / _lambda(one, v)) ** 0.5) for one, v in zip(table, _variances(table), strict=True)
    ]


def _lambda(one: Level, variance: float) -> float:
    return one.precision + 1 / (one.scale**2 * variance)


def _after(one: Level, variance: float, steps: int) -> tuple[float, float]:
    """(m, v) of y after that many transitions from y = x~: y given x~ has mean m x~ and variance v."""
    rate = _lambda(one, variance)
    a = 1 - one.step**2 * rate / 2
    fixed = one.precision / rate
    return fixed + (1 - fixed) * a**steps, one.step**2 * (1 - a ** (2 * steps)) / (1 - a * a)


def _rows(t: int, n: int = 64) -> Tensor:
    return torch.full((n,), t)


# -- noise levels ----------------------------------------------------------------------------------


def test_noise_levels_are_the_released_ones() -> None:
    """T6: levels after 1, 101, ..., 501 and all of DDPM's 1,000 variances; b^2 = 2e-4 (S_t / S_0) sigma^2."""
    table = noise_levels(6, 2e-4**0.5)
    kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    signals = kept[[0, 100, 200, 300, 400, 500, 999]].sqrt()
    noises = (1 - signals**2).sqrt()
    a = signals[1:] / signals[:-1]
    for t, one in enumerate(table):
        assert math.isclose(one.signal, signals[t], rel_tol=1e-9)
        assert math.isclose(one.noise, noises[t], rel_tol=1e-9)
        assert math.isclose(one.next_signal, a[t], rel_tol=1e-9)
        assert math.isclose(one.next_noise**2, 1 - a[t] ** 2, rel_tol=1e-9)
        assert math.isclose(one.step**2, 2e-4 * noises[t] / noises[0] * (1 - a[t] ** 2), rel_tol=1e-9)
        assert math.isclose(one.temperature, one.step**2)
        assert math.isclose(one.weight, table[0].next_noise / one.next_noise)
    assert [one.informed for one in table] == [True] * 5 + [False]
    assert (table[-1].scale, table[-1].precision) == (1.0, 0.0)
    assert methods.temperature(RecoveryLikelihood()) == table[0].temperature
    assert methods.temperature(RecoveryLikelihood(temperature=0.3)) == 0.3


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_every_number_of_levels_goes_from_images_to_noise(count: int) -> None:
    table = noise_levels(count, 0.01)
    assert len(table) == count
    assert math.isclose(table[0].noise, 0.01)
    assert all(later.noise > earlier.noise for earlier, later in pairwise(table))
    left = table[-1].signal * table[-1].next_signal
    assert left < 0.0065
    for one in table:
        assert math.isclose(one.signal**2 + one.noise**2, 1)
        assert math.isclose(one.next_signal**2 + one.next_noise**2, 1)


def test_diffused_pairs_have_the_stated_moments() -> None:
    """Both Gaussian, with means A_t x, a A_t x, variances S_t^2, a^2 S_t^2 + sigma^2 and covariance a S_t^2."""
    table, n, x = noise_levels(3, 0.01), 20_000, torch.tensor([0.7])
    for t, one in enumerate(table):
        pair = levels.diffuse(table, x.expand(n, 1), _rows(t, n), noise=BatchNoise(t, range(n)))
        a, s = one.next_signal, one.noise
        mean = torch.tensor([one.signal * 0.7, a * one.signal * 0.7])
        covariance = torch.tensor([[s**2, a * s**2], [a * s**2, a**2 * s**2 + one.next_noise**2]])
        assert_moments(torch.cat(pair, 1), mean, covariance)


def test_levels_are_drawn_uniformly() -> None:
    n, count = 30_000, 6
    drawn = draw_levels(torch.empty(n, 1), count, noise=BatchNoise(0, range(n)))
    shares = drawn.bincount(minlength=count) / n
    assert len(shares) == count
    assert (shares - 1 / count).abs().max() < 5 * (1 / count / n) ** 0.5


# -- the conditional -------------------------------------------------------------------------------


def test_the_conditional_is_the_gaussian_of_bayes_rule() -> None:
    """p(y | x~) ∝ p(y) N(x~; y, sigma^2): the score vanishes at its mean, minus its slope is lambda; at the last
    level it is the marginal."""
    table = noise_levels(4, 0.01)
    trio = _exact(table).double()
    for t, (one, variance) in enumerate(zip(table, _variances(table), strict=True)):
        noisier = torch.randn(5, 3, dtype=torch.float64)
        mean = one.precision / _lambda(one, variance) * noisier
        y = mean.clone().requires_grad_()
        value = levels.log_conditional(trio, table, noisier, _rows(t, 5))(y / one.scale)
        (score,) = torch.autograd.grad(value.sum(), y, create_graph=True)
        assert score.abs().max() < 1e-6 * _lambda(one, variance)  # curvatures are float32's
        (slope,) = torch.autograd.grad(score.sum(), y)
        assert torch.allclose(-slope, torch.full_like(slope, _lambda(one, variance)), rtol=1e-6)


def test_the_conditional_tends_to_its_gaussian_as_the_noise_goes_to_0() -> None:
    """Of a fixed density of curvature 1/V it is N(x~ (1 - r), sigma^2 (1 - r)), r = sigma^2 / (sigma^2 + a^2 V),
    but for the chain's own bias, (L2)'s 1 / (1 - 0.1 / 4), and what it has not forgotten, 0.95^100."""
    variance, n, x0 = 0.5, 128, 1.5
    for sigma in (0.5, 0.1, 0.01):
        a = math.sqrt(1 - sigma**2)
        r = sigma**2 / (sigma**2 + a**2 * variance)
        rate = 1 / (sigma**2 * (1 - r))
        one = Level(
            signal=1.0,
            noise=0.0,
            next_signal=a,
            next_noise=sigma,
            step=(0.1 / rate) ** 0.5,
            temperature=1.0,
            weight=1.0,
        )
        assert math.isclose(rate, _lambda(one, variance))
        trio = Trio(LevelledQuadratic([1 / variance]), latent_dim=1, sigma=1.0, temperature=1.0)
        noisier = torch.full((n, 1000), x0)
        start = levels.start([one], noisier, _rows(0, n))
        assert torch.allclose(a * start, noisier)
        chain = Chain(steps=100, step=1.0)
        y = a * levels.recover(trio, [one], start, noisier, _rows(0, n), chain, noise=BatchNoise(0, range(n)))
        left = 0.95**100
        expected = sigma**2 * (1 - r) / (1 - 0.1 / 4) * (1 - left**2)
        mean = x0 * (1 - r + r * left)
        count = y.numel()
        assert abs(y.mean() - mean) < 5 * (expected / count) ** 0.5 + 1e-6
        assert abs(y.var() / expected - 1) < 5 * (2 / count) ** 0.5
        # So at small noise it is N(x~, sigma^2) but for r and the step's bias.
        assert abs(y.mean() / x0 - 1) < r + 5 * (expected / count) ** 0.5 / x0 + 1e-6
        assert abs(y.var() / sigma**2 - 1) < r + 0.03 + 5 * (2 / count) ** 0.5


def test_energies_at_their_optimum_have_no_gradient() -> None:
    """d loss / d k_t is w_t (mean x+^2 - mean x-^2) / (2 T_0) over a level's share of the batch, 0 where x- has
    the data's second moment. The chain's own, V' = (m^2 (a^2 V + sigma^2) + v) / a^2, is V but for the step's bias
    (L2), 1/39 of the conditional's variance, and 0.95^100. Components of x+ and x- are Gaussian, correlated within
    pairs: the difference of squares has at most the variance 4 V^2 + 4 V'^2."""
    table = _relaxing(3)
    settings = RecoveryLikelihood(levels=3, level_steps=100, temperature=1.0)
    trio = _exact(table)
    module = RecoveryLikelihoodTeaching(trio, settings)
    module.levels = table
    n, width = 192, 1000
    x = DATA**0.5 * Noise(1).normal_like(torch.empty(n, width))
    noise = BatchNoise(5, range(n))
    module(x, noise).total().backward()
    counts = draw_levels(x, 3, noise=noise).bincount(minlength=3)
    for t, (one, v) in enumerate(zip(table, _variances(table), strict=True)):
        noisier = one.next_signal**2 * v + one.next_noise**2
        m, spread = _after(one, v, 100)
        reached = (m**2 * noisier + spread) / one.scale**2
        assert abs(reached / v - 1) < 1 / 39 + 2 * 0.95**100
        factor = one.weight * counts[t] / n * width / 2
        gradient = trio.energy.curvature.grad[t]
        error = 5 * (4 * (v**2 + reached**2) / (counts[t] * width)) ** 0.5
        assert abs(gradient / factor - (v - reached)) < error
        assert error < 0.1 * v  # a curvature twice too large would show: x- would lose more than that


# -- drawing through the levels --------------------------------------------------------------------


def _descend(table: Sequence[Level], n: int, width: int, level_steps: int, chain: Chain) -> list[Tensor]:
    noise = BatchNoise(3, range(n))
    x = noise.stream("start").normal_like(torch.empty(n, width))
    return [*levels.descend(_exact(table), table, x, level_steps, chain, noise=noise)]


@pytest.mark.parametrize("test_noise", [1.0, 0.9])
def test_exact_energies_at_all_levels_reproduce_the_datas_variance(test_noise: float) -> None:
    """From N(0, I), level by level: variances follow from `_after`, and end at the data's, with noise of deviation
    0.01, but for the steps' bias; a factor on the noise narrows the conditionals by its square."""
    table, steps = _relaxing(4), 100
    chain = Chain(steps=4 * steps, step=1.0, temperature=test_noise**2)
    states = _descend(table, 64, 1000, steps, chain)
    variance = 1.0
    for k, t in enumerate((3, 2, 1, 0), start=1):
        m, spread = _after(table[t], _variances(table)[t], steps)
        variance = (m**2 * variance + test_noise**2 * spread) / table[t].scale ** 2
        x = states[k * steps]
        assert abs(x.var() / variance - 1) < 5 * (2 / x.numel()) ** 0.5
    if test_noise == 1:
        assert abs(variance / (DATA + 0.01**2) - 1) < 0.05


def test_a_shorter_draw_is_the_beginning_of_a_longer_one_and_the_longest_stays_at_level_0() -> None:
    table, steps = _relaxing(3), 4
    states = _descend(table, 6, 5, steps, Chain(steps=20, step=1.0))
    assert len(states) == 21
    for k in (0, 1, 4, 5, 11, 12, 13):
        assert torch.equal(_descend(table, 6, 5, steps, Chain(steps=k, step=1.0))[-1], states[k])
    # After the last level's own steps: its conditional given the x_1 that it started from.
    noise = BatchNoise(3, range(6)).stream()
    noise.draws = 12
    again = levels.recover(
        _exact(table), table, states[12], states[8], _rows(0, 6), Chain(steps=8, step=1.0), noise=noise
    )
    assert torch.allclose(again, states[20], rtol=1e-5, atol=1e-6)


def test_draws_do_not_depend_on_their_batch_and_traces_hold_images_and_h() -> None:
    """Both methods: rows by key alone; a trace changes nothing, and holds h (of level 0) and its gradient."""
    vaebm = linear_trio(5, 2, sigma=0.4)
    recovery = RecoveryLikelihood(levels=3, level_steps=2)
    cases = [
        (vaebm, VAEBM(test_chain=Chain(steps=6, step=0.3))),
        (_exact(methods.levels(recovery)), recovery),
    ]
    for trio, settings in cases:
        chain = methods.test_chain(settings)
        whole = draw(trio, settings, (7, 5), chain, noise=Noise(3, range(7)))
        part = draw(trio, settings, (2, 5), chain, noise=Noise(3, [4, 1]))
        assert torch.allclose(whole[[4, 1]], part, atol=1e-6)
        trace = Trace(at=range(7))
        assert torch.equal(draw(trio, settings, (7, 5), chain, noise=Noise(3, range(7)), trace=trace), whole)
        assert torch.equal(trace.states[6], whole)
        assert len(trace.log_density) == 7
        assert len(trace.gradient_norm) == 6
        for k, x in trace.states.items():
            assert torch.equal(trace.log_density[k], trio.h(x))
            shorter = draw(trio, settings, (7, 5), replace(chain, steps=k), noise=Noise(3, range(7)))
            assert torch.equal(shorter, x)
        x = trace.states[2].requires_grad_()
        (gradient,) = torch.autograd.grad(trio.h(x).sum(), x)
        assert torch.allclose(trace.gradient_norm[2], gradient.norm(dim=1))


# -- noise space -----------------------------------------------------------------------------------


def test_without_an_energy_the_noise_space_keeps_its_law_and_images_the_vaes() -> None:
    """h = 0: w stays N(0, v I) with v -> 1 / (1 - s^2 / 4), Eq. (L2), so that x = W z + b + sigma eps has the law
    N(b, v (W W' + sigma^2 I)), and its mean over eps N(b, v W W')."""
    n, s, steps = 20_000, 0.5, 40
    trio = linear_trio(3, 2, sigma=0.4)
    trio.energy = QuadraticEnergy(torch.zeros(3, 3), torch.zeros(3))
    noise, chain, shape = BatchNoise(0, range(n)), Chain(steps=steps, step=s), (n, 3)
    start = noise_space.start(trio, shape, noise=noise)
    end = noise_space.move(trio, start, shape, chain, noise=noise.stream("data_chain"))
    settled, left = 1 / (1 - s**2 / 4), (1 - s**2 / 2) ** (2 * steps)
    v = settled + left * (1 - settled)
    assert_moments(start, torch.zeros(5), torch.eye(5))
    assert_moments(end, torch.zeros(5), v * torch.eye(5))
    w, b = trio.generator.weight.detach(), trio.generator.bias.detach()
    images = noise_space.shown(trio, end, shape, "draw")
    assert_moments(images, b, v * (w @ w.T + 0.4**2 * torch.eye(3)))
    assert_moments(
        noise_space.shown(trio, end, shape, "mean") + 1e-3 * start[:, :3], b, v * w @ w.T + 1e-6 * torch.eye(3)
    )


def test_the_chain_in_noise_space_has_the_corrected_vaes_law() -> None:
    """p_VAE = N(b, C) corrected by a Gaussian exp(h / T) of precision P is the Gaussian of precision C^-1 + P. In
    noise space it has the precision Lambda = I + A' P A with A = (W, sigma I), and the chain settles at (L2) in
    each of Lambda's eigendirections: Lambda^-1 (I - s^2 Lambda / 4)^-1."""
    n, s, temperature = 20_000, 0.25, 0.05
    trio = linear_trio(3, 2, sigma=0.4)
    precision = torch.diag(torch.tensor([0.5, 2.0, 4.0]))
    trio.energy, trio.temperature = QuadraticEnergy(temperature * precision, torch.zeros(3)), temperature
    trio.generator.bias.data.zero_()
    a = torch.cat([trio.generator.weight.detach(), 0.4 * torch.eye(3)], 1)
    exact = torch.eye(5) + a.T @ precision @ a
    corrected = torch.linalg.inv(torch.linalg.inv(a @ a.T) + precision)
    assert torch.allclose(a @ torch.linalg.inv(exact) @ a.T, corrected, atol=1e-5)
    noise, shape = BatchNoise(1, range(n)), (n, 3)
    start = noise_space.start(trio, shape, noise=noise)
    end = noise_space.move(trio, start, shape, Chain(steps=150, step=s), noise=noise.stream("data_chain"))
    biased = torch.linalg.inv(exact - s**2 / 4 * exact @ exact)
    assert_moments(end, torch.zeros(5), biased)  # (1 - s^2 / 2)^300 = 7e-5 of the start is left
    assert_moments(noise_space.shown(trio, end, shape, "draw"), torch.zeros(3), a @ biased @ a.T)


def test_the_noise_space_gradient_is_the_chain_rules() -> None:
    """J_g(z)' grad h / T - z, and sigma grad h / T - eps, at a generator that bends."""
    trio = linear_trio(6, 2, sigma=0.4).double()
    trio.generator, trio.temperature = nn.Sequential(trio.generator, nn.Tanh()), 0.01
    shape = (4, 1, 2, 3)
    trio.generator.append(nn.Unflatten(1, shape[1:]))
    trio.energy = nn.Sequential(nn.Flatten(), trio.energy)
    w = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(noise_space.log_density(trio, w, shape).sum(), w)
    z, eps = w.detach().split([2, 6], 1)
    x = (trio.g(z) + 0.4 * eps.reshape(shape)).requires_grad_()
    (by_image,) = torch.autograd.grad(trio.energy(x).sum(), x)
    for i in range(4):
        jacobian = torch.autograd.functional.jacobian(lambda one: trio.g(one[None]).flatten(), z[i])
        expected = torch.cat([jacobian.T @ by_image[i].flatten(), 0.4 * by_image[i].flatten()]) / 0.01 - w[i]
        assert torch.allclose(gradient[i], expected, rtol=1e-9)


def test_vaebm_starts_at_the_vaes_draws() -> None:
    """0 steps give `generate`'s draws of p(x given z), or its means, for the codes of `prior`."""
    trio, noise = linear_trio(5, 2, sigma=0.4), Noise(3)
    codes = prior(trio, 6, noise=noise)
    none = Chain(steps=0, step=1.0)
    assert torch.allclose(
        draw(trio, VAEBM(), (6, 5), none, noise=noise), generate(trio, codes, "draw", noise=noise)
    )
    means = draw(trio, VAEBM(pixels="mean"), (6, 5), none, noise=noise)
    assert torch.allclose(means, trio.g(codes))


# -- who learns, when ------------------------------------------------------------------------------


def _reached(trio: Trio) -> set[str]:
    return {
        name.split(".")[0] for name, p in trio.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    }


def test_vaebm_teaches_the_vae_first_and_then_the_energy_alone() -> None:
    """Before `vae_steps` the loss is the ELBO's and the energy has no gradient; afterwards it is the gap of h, in
    nats, between data and the chain's ends, and the VAE has none."""
    settings = VAEBM(vae_steps=3, noise_chain=Chain(steps=2, step=0.2), temperature=0.1)
    trio = linear_trio(5, 2, sigma=0.4)
    trio.temperature = settings.temperature
    module, x = teaching(trio, settings), torch.randn(6, 5)
    for step in range(5):
        noise = BatchNoise(0, range(6), path=(step,))
        module.zero_grad()
        losses = module(x, noise, update=Update(step=step))
        losses.total().backward()
        if step < 3:
            assert losses.named().keys() == {"generator"}
            assert _reached(trio) == {"generator", "inference"}
            continue
        assert losses.named().keys() == {"energy"}
        assert _reached(trio) == {"energy"}
        start = noise_space.start(trio, (6, 5), noise=noise)
        end = noise_space.move(trio, start, (6, 5), settings.noise_chain, noise=noise.stream("data_chain"))
        x_model = noise_space.shown(trio, end, (6, 5), "draw")
        assert torch.allclose(losses.energy, (trio.h(x_model).mean() - trio.h(x).mean()) / 0.1, rtol=1e-5)


def test_recovery_likelihood_teaches_the_energy_alone() -> None:
    settings = RecoveryLikelihood(levels=3, level_steps=2)
    trio = linear_trio(5, 2, sigma=0.4)
    trio.energy = LevelledQuadratic([0.1, 0.1, 0.1])
    losses = teaching(trio, settings)(torch.randn(12, 5), BatchNoise(0, range(12)))
    assert losses.named().keys() == {"energy"}
    losses.total().backward()
    assert _reached(trio) == {"energy"}


@pytest.mark.parametrize("cut", [11, 32])
@pytest.mark.parametrize("settings", [RecoveryLikelihood(levels=3, level_steps=2), VAEBM(vae_steps=1)])
def test_two_processes_lose_what_one_loses(settings: Any, cut: int) -> None:
    """The mean over 40 places is that of both shares: levels, noise and chains belong to places."""
    x = torch.randn(40, 5, dtype=torch.float64)
    trio = linear_trio(5, 2, sigma=0.4)
    if isinstance(settings, RecoveryLikelihood):
        trio.energy = LevelledQuadratic([0.1, 0.2, 0.3])
    whole: Teaching = teaching(trio.double(), settings)
    for step in (0, 1):
        found = []
        for rows in (range(40), range(cut), range(cut, 40)):
            module, update = copy.deepcopy(whole), Update(step=step, batch=40)
            losses = module(x[rows.start : rows.stop], BatchNoise(3, rows, path=(step,)), update=update)
            found.append(losses.total() * len(rows))
        assert torch.allclose(found[0], found[1] + found[2], rtol=1e-9)


# -- whole runs ------------------------------------------------------------------------------------

RUNS: dict[str, dict[str, Any]] = {
    "recovery_likelihood": {"method.levels": 3, "method.level_steps": 2},
    "vaebm": {"method.vae_steps": 2, "method.noise_chain.steps": 2},
}


@pytest.mark.parametrize("method", RUNS)
def test_a_tiny_run_resumes_bit_for_bit_and_draws(method: str, tmp_path: Path) -> None:
    """6 updates equal 3, save, load, 3; and 2k steps of a model's chain pass through what k give."""
    changes = {**RUNS[method], "run.checkpoint_every": 1, "run.keep": 10}
    train(tmp_path / "whole", changes, method)
    train(tmp_path / "parts", {**changes, "run.steps": 3}, method)
    train(tmp_path / "parts", changes, method, resume=True)
    assert_same(checkpoint(tmp_path / "parts", 6), checkpoint(tmp_path / "whole", 6))
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))
    model = Model.from_pretrained(tmp_path / "whole")
    passed = model.data_trajectory(4, {0, 2, 5, 9}, seed=1)
    for k, state in passed.states.items():
        assert torch.equal(state.clamp(-1, 1), model.sample(4, seed=1, steps=k))
    assert passed.log_density.shape == (4, 10)
    last = model.log_density(model.sample(4, seed=1, steps=9))
    assert last.isfinite().all()
    if method == "vaebm":
        first, second, third = (checkpoint(tmp_path / "whole", step) for step in (1, 2, 3))
        for name in first:
            if name.startswith("weights/energy"):
                assert torch.equal(first[name], second[name]), name  # its estimates of singular values included
            elif name.startswith("weights/"):
                assert torch.equal(second[name], third[name]), name
        moved = [n for n in first if n.startswith("weights/") and not torch.equal(first[n], third[n])]
        assert {name.split(".")[0] for name in moved} == {f"weights/{part}" for part in VAEBM.PARTS}
