"""Without an energy: the ELBO is a bound, ABP goes on where it was, the MMD is unbiased, RAE draws of its codes.

Linear-Gaussian data of test_linear_gaussian.py: D = 8, d = 2, sigma = 0.4, covariance W W' + sigma^2 I exactly,
W's columns 3.5 and 3.1 long; and noisier ones, sigma = 1, with variances 6 and 3 of D = 5.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from linear import LinearInference, linear_trio, posterior
from tiny import assert_same, checkpoint, log, timeless, train
from torch import Tensor, distributions, nn

from dualmcmc import InputError, Model, densities, presets
from dualmcmc.extras import CodeDensity
from dualmcmc.methods import ABP, RAE, VAE, WAE, Chain, ShortRunABP
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import prior
from dualmcmc.teaching import Losses, Teaching, Update, generator_loss, teaching
from dualmcmc.teaching.losses import negative_elbo
from dualmcmc.teaching.mmd import SCALES, kernel, squared_mmd
from dualmcmc.teaching.rae import squared_weights
from dualmcmc.trio import Trio

D, LATENT, SIGMA = 8, 2, 0.4
VARIANCES = torch.tensor([3.5**2, 3.1**2] + [0.0] * (D - LATENT), dtype=torch.float64) + SIGMA**2
NOISY = torch.tensor([6.0, 3.0, 1.0, 1.0, 1.0], dtype=torch.float64)
DETERMINISTIC: dict[str, Any] = {"wae": WAE(), "rae": RAE()}
METHODS: dict[str, Any] = {"abp": ABP(), "short_run_abp": ShortRunABP(), "vae": VAE(), **DETERMINISTIC}
WITH_Q = ("vae", "wae", "rae")


def directions(dim: int = D) -> Tensor:
    """The data's principal directions, (D, D), the widest first."""
    source = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(dim, dim, generator=source).double())[0]


def rows(n: int, variances: Tensor = VARIANCES) -> Tensor:
    """n rows whose mean and covariance are exactly the data's, float64 (n, D)."""
    dim = len(variances)
    x = torch.randn(n, dim, generator=torch.Generator().manual_seed(1)).double()
    x = x - x.mean(0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / n)).T
    return (white * variances.sqrt()) @ directions(dim).T + torch.linspace(-1, 1, dim).double()


def no_energy(*, inference: bool, seed: int = 1, dim: int = D, sigma: float = SIGMA) -> Trio:
    """A linear generator, and a linear inference network if wanted."""
    trio = linear_trio(dim, LATENT, sigma=sigma, seed=seed)
    trio.energy = None
    if not inference:
        trio.inference = None
    return trio


def marginal(trio: Trio) -> distributions.MultivariateNormal:
    """p(x) of a linear generator, N(b, W W' + sigma^2 I)."""
    w, b = trio.generator.weight.detach(), trio.generator.bias.detach()
    return distributions.MultivariateNormal(b, w @ w.T + trio.sigma**2 * torch.eye(len(b), dtype=w.dtype))


class SigmaPoints(Noise):
    """+-sqrt(d) e_i in turn: 2 d points with mean 0 and covariance I, so quadratics average exactly."""

    def normal_like(self, x: Tensor) -> Tensor:
        d = x.shape[1]
        points = d**0.5 * torch.cat([torch.eye(d), -torch.eye(d)]).to(x.dtype)
        return points.repeat(len(x) // (2 * d), 1)


def expected_elbo(trio: Trio, x: Tensor) -> float:
    """Mean ELBO of rows x, its expectation over z ~ q exact for a linear generator."""
    repeated = x.repeat_interleave(2 * trio.latent_dim, dim=0)
    with torch.no_grad():
        return -negative_elbo(trio, repeated, kl_weight=1.0, noise=SigmaPoints(0))[0].item()


# -- the ELBO --------------------------------------------------------------------------------------


def test_the_divergence_from_the_prior_is_torchs() -> None:
    """Eq. (D3)."""
    mean, log_variance = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    q = distributions.Normal(mean, (log_variance / 2).exp())
    theirs = distributions.kl_divergence(q, distributions.Normal(torch.zeros(()).double(), 1.0)).sum(1)
    assert torch.allclose(densities.kl_to_standard_normal(mean, log_variance), theirs, rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_elbo_lies_the_divergence_from_the_posterior_below_the_likelihood(seed: int) -> None:
    """For any q; so it is at most log p(x), and equal where q is the posterior."""
    trio = no_energy(inference=True, seed=seed).double()
    with torch.no_grad():
        trio.inference.log_variance.copy_(torch.tensor([0.3, -1.2]))
    x = rows(20)
    mean, log_variance = trio.q(x)
    truth, precision = posterior(trio.generator, SIGMA, x)
    q = distributions.MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    divergence = distributions.kl_divergence(
        q, distributions.MultivariateNormal(truth, precision_matrix=precision)
    )
    assert (divergence > 0).all()
    bound = marginal(trio).log_prob(x).mean() - divergence.mean()
    assert expected_elbo(trio, x) == pytest.approx(bound.item(), abs=1e-9)


def optimal_vae() -> Trio:
    """Tipping & Bishop's maximum likelihood, with loadings along the axes of q, and q the posterior."""
    trio = no_energy(inference=True).double()
    w = directions()[:, :LATENT] * (VARIANCES[:LATENT] - SIGMA**2).sqrt()
    centre = torch.linspace(-1, 1, D).double()
    precision = torch.eye(LATENT).double() + w.T @ w / SIGMA**2
    back = torch.linalg.inv(precision) @ w.T / SIGMA**2
    assert isinstance(trio.inference, LinearInference)
    with torch.no_grad():
        trio.generator.weight.copy_(w)
        trio.generator.bias.copy_(centre)
        trio.inference.mean.weight.copy_(back)
        trio.inference.mean.bias.copy_(-back @ centre)
        trio.inference.log_variance.copy_(-precision.diagonal().log())
    return trio


def test_the_vaes_best_elbo_is_the_likelihood_of_probabilistic_pca() -> None:
    """And its gradient vanishes there, for generator and inference network both."""
    trio, x = optimal_vae(), rows(200)
    likelihood = distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0)).log_prob(x).mean()
    assert expected_elbo(trio, x) == pytest.approx(likelihood.item(), abs=1e-6)
    repeated = x.repeat_interleave(2 * LATENT, dim=0)
    negative_elbo(trio, repeated, kl_weight=1.0, noise=SigmaPoints(0))[0].backward()
    assert all(p.grad is not None and p.grad.abs().max() < 1e-9 for p in trio.parameters())


def teach(module: Teaching, x: Tensor, updates: int, batch: int, rate: float = 1e-2) -> None:
    """Adam with a rate that falls to 0; batches by epoch, as the trainer draws them."""
    optimiser = torch.optim.Adam(module.trio.parameters(), lr=rate, betas=(0.0, 0.9), fused=True)
    source, order = torch.Generator().manual_seed(2), torch.empty(0, dtype=torch.int64)
    for t in range(updates):
        optimiser.param_groups[0]["lr"] = rate * (1 - t / updates)
        order = torch.randperm(len(x), generator=source) if len(order) < batch else order
        images, order = order[:batch], order[batch:]
        update = Update(step=t, batch=batch, total=len(x), images=images)
        module(x[images], BatchNoise(3, range(batch), path=("train", t)), None, update).total().backward()
        optimiser.step()
        optimiser.zero_grad()
        module.settle(lambda rows: rows)


def test_a_vae_learns_probabilistic_pca() -> None:
    """Its ELBO ends below the best one (no ELBO is above), by less than 0.005 nats per dimension (0.0006 here)."""
    x, trio = rows(2000), no_energy(inference=True)
    teach(teaching(trio, VAE(sigma=SIGMA)), x.float(), updates=1000, batch=128)
    best = distributions.MultivariateNormal(x.mean(0), torch.cov(x.T, correction=0)).log_prob(x).mean().item()
    gap = best - expected_elbo(trio.double(), x)
    assert 0 < gap < 0.005 * D


# -- alternating back-propagation ------------------------------------------------------------------


def largest_angle(trio: Trio) -> float:
    """Between the generator's range and the data's two widest directions, in degrees."""
    own = torch.linalg.qr(trio.generator.weight.detach().double())[0]
    cosines = torch.linalg.svdvals(own.T @ directions(len(own))[:, :LATENT])
    return math.degrees(math.acos(min(1.0, cosines.min().item())))


@pytest.mark.parametrize("settings", [ABP, ShortRunABP])
def test_the_generator_recovers_the_principal_subspace(settings: Any) -> None:
    trio = no_energy(inference=False)
    module = teaching(trio, settings(sigma=SIGMA, latent_chain=Chain(steps=10, step=0.1)))
    teach(module, rows(512).float(), updates=400, batch=128)
    assert largest_angle(trio) < 1


@pytest.mark.parametrize(("settings", "steps", "updates"), [(ABP, 2, 400), (ShortRunABP, 12, 300)])
def test_loadings_are_as_long_as_the_chains_step_makes_them(settings: Any, steps: int, updates: int) -> None:
    """(B1): w^2 is 0.67 and 0.76 of PCA's in the two directions. Two steps a visit are enough for ABP, whose chain
    goes on; a short run must relax. Runs of other seeds scatter by 1.5 %."""
    step, trio = 0.5, no_energy(inference=False, dim=5, sigma=1.0)
    module = teaching(trio, settings(sigma=1.0, latent_chain=Chain(steps=steps, step=step)))
    teach(module, rows(1024, NOISY).float(), updates, batch=256, rate=3e-2)
    predicted = NOISY[:LATENT] / (1 + step**2 * NOISY[:LATENT] / 4) - 1
    squares = torch.linalg.svdvals(trio.generator.weight.detach().double()).square()
    assert ((squares / predicted - 1).abs() < 0.08).all()
    assert (predicted < 0.77 * (NOISY[:LATENT] - 1)).all()


def test_a_short_run_that_does_not_relax_loses_the_narrower_direction() -> None:
    """Near w = 0 a refit after K steps from the prior multiplies w by v (1 - a^K) / E[z^2], with sigma = 1 and
    a = 1 - s^2 / 2: for s = 0.5, K = 2 that is 1.37 where v = 6, and 0.68 where v = 3."""
    step, trio = 0.5, no_energy(inference=False, dim=5, sigma=1.0)
    a, settled = 1 - step**2 / 2, 1 / (1 - step**2 / 4)
    growth = NOISY[:LATENT] * (1 - a**2) / (a**4 + (1 - a**4) * settled)
    assert growth[0] > 1 > growth[1]
    module = teaching(trio, ShortRunABP(sigma=1.0, latent_chain=Chain(steps=2, step=step)))
    teach(module, rows(1024, NOISY).float(), updates=300, batch=256, rate=3e-2)
    lengths = torch.linalg.svdvals(trio.generator.weight.detach().double())
    assert lengths[0] > 1
    assert lengths[1] < 0.1


def visit(module: Teaching, x: Tensor, images: list[int], step: int, places: range | None = None) -> Losses:
    """One update of these images, of 12, at these places of the batch."""
    update = Update(step=step, batch=4, total=12, images=torch.tensor(images))
    noise = BatchNoise(7, places or range(len(images)), path=("train", step))
    return module(x[images], noise, None, update)


def identity(x: Tensor) -> Tensor:
    return x


def test_a_code_goes_on_from_the_images_last_visit_and_starts_at_the_prior() -> None:
    """With a chain of 0 steps the code stays; with some, it moves from there, whatever its place in the batch."""
    trio, x = no_energy(inference=False), rows(12).float()
    still = teaching(trio, ABP(sigma=SIGMA, latent_chain=Chain(steps=0, step=1.0)))
    visit(still, x, [4, 0, 9, 2], 0)
    assert not still.tables["visited"].any()  # not before the update is made
    still.settle(identity)
    first = still.tables["codes"].clone()
    noise = BatchNoise(7, range(4), path=("train", 0)).stream("latent_start")
    assert torch.equal(first[[4, 0, 9, 2]], prior(trio, 4, noise=noise))
    assert still.tables["visited"].nonzero().flatten().tolist() == [0, 2, 4, 9]
    assert not first[[1, 3, 5, 6, 7, 8, 10, 11]].any()

    visit(still, x, [9, 4, 7, 1], 1)
    still.settle(identity)
    assert torch.equal(still.tables["codes"][[4, 0, 9, 2]], first[[4, 0, 9, 2]])

    moving = teaching(trio, ABP(sigma=SIGMA, latent_chain=Chain(steps=1, step=0.1, temperature=0.0)))
    moving.remember(still.memory(identity), range(4), 4)
    seen = visit(moving, x, [2, 9, 1, 4], 2).seen
    moving.settle(identity)
    start = first[[2, 9, 1, 4]].requires_grad_()
    start.data[2] = still.tables["codes"][1]
    (gradient,) = torch.autograd.grad(trio.log_joint(x[[2, 9, 1, 4]], start).sum(), start)
    ends = moving.tables["codes"][[2, 9, 1, 4]]
    assert torch.allclose(ends, start + 0.1**2 / 2 * gradient, atol=1e-5)
    assert torch.allclose(seen["latent_chain_moved"], (ends - start).square().mean().sqrt())


def together(modules: list[Teaching]) -> None:
    """`settle` of several processes at once, each a thread, with a gather that waits for all."""
    barrier, given = threading.Barrier(len(modules)), [torch.empty(0)] * len(modules)

    def gather_of(rank: int) -> Callable[[Tensor], Tensor]:
        def gather(own: Tensor) -> Tensor:
            given[rank] = own
            barrier.wait(10)
            everything = torch.cat(given)
            barrier.wait(10)
            return everything

        return gather

    threads = [threading.Thread(target=m.settle, args=(gather_of(rank),)) for rank, m in enumerate(modules)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_processes_hold_the_table_of_one() -> None:
    """Images change sides between visits; matrix products of other shapes round by 1e-7 a step."""
    x, settings = rows(12).float(), ABP(sigma=SIGMA, latent_chain=Chain(steps=5, step=0.1))
    one, *two = (teaching(no_energy(inference=False), settings) for _ in range(3))
    for step, images in enumerate([[0, 1, 2, 3], [4, 2, 1, 0], [3, 4, 5, 0]]):
        visit(one, x, images, step)
        one.settle(identity)
        for module, half in zip(two, (slice(0, 2), slice(2, 4)), strict=True):
            visit(module, x, images[half], step, range(4)[half])
        together(two)
        for name, table in one.tables.items():
            assert torch.equal(two[0].tables[name], two[1].tables[name])
            assert torch.allclose(two[0].tables[name].float(), table.float(), atol=1e-5)
    assert one.tables["visited"].tolist() == [True] * 6 + [False] * 6


# -- Wasserstein autoencoder -----------------------------------------------------------------------


def draws(n: int, seed: int, shift: float = 0.0, d: int = 3) -> Tensor:
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z[:, 0] += shift
    return z


def mmd_of_gaussians(shift: float, d: int = 3) -> float:
    """Between N(0, I) and N(m, I), |m| = shift: C / (C + r) is the integral over t of C exp(-t (C + r)), and
    E exp(-t |x - y|^2) = (1 + 4 t)^(-d/2) exp(-t |m|^2 / (1 + 4 t)) where x - y is N(m, 2 I)."""
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000  # exp(-C t), uniform
    total = 0.0
    for scale in SCALES:
        t = -u.log() / (2 * d * scale)
        near, far = ((1 + 4 * t) ** (-d / 2) * (-t * m**2 / (1 + 4 * t)).exp() for m in (0.0, shift))
        total += 2 * (near - far).mean().item()
    return total


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.0])
def test_the_mmd_is_unbiased(shift: float) -> None:
    """Mean of 400 repeats on 10 and 12 rows: 0 on one distribution, the integral's value on shifted Gaussians."""
    values = torch.stack([squared_mmd(draws(10, 2 * i), draws(12, 2 * i + 1, shift)) for i in range(400)])
    truth, error = mmd_of_gaussians(shift), values.std().item() / 20
    assert abs(values.mean().item() - truth) < 5 * error
    assert truth > 10 * error if shift else truth == 0
    assert values.min() < 0 or shift == 2  # no distance: a U-statistic


def test_the_mmd_is_its_sums() -> None:
    """(W1) written out, and symmetric."""
    x, y = draws(4, 0), draws(5, 1, 1.0)

    def k(a: Tensor, b: Tensor) -> float:
        distance = (a - b).square().sum().item()
        return sum(6 * s / (6 * s + distance) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    within = sum(k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j) / 12
    within += sum(k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j) / 20
    between = sum(k(a, b) for a in x for b in y) / 20
    assert squared_mmd(x, y).item() == pytest.approx(within - 2 * between, rel=1e-10)
    assert squared_mmd(y, x).item() == pytest.approx(squared_mmd(x, y).item(), rel=1e-10)
    assert torch.allclose(kernel(x, x).diagonal(), torch.full((4,), float(len(SCALES))).double())


def test_the_mmds_gradient_draws_codes_to_the_prior() -> None:
    """Codes moved away along m: the gradient's sum along m is the derivative of the integral, on average."""
    slopes = []
    for i in range(400):
        codes = draws(12, 2 * i + 1, 1.0).requires_grad_()
        (gradient,) = torch.autograd.grad(squared_mmd(codes, draws(10, 2 * i)), codes)
        slopes.append(gradient[:, 0].sum())
    truth = (mmd_of_gaussians(1.001) - mmd_of_gaussians(0.999)) / 0.002
    error = torch.stack(slopes).std().item() / 20
    assert abs(torch.stack(slopes).mean().item() - truth) < 5 * error
    assert truth > 10 * error


def test_one_code_is_no_sample() -> None:
    with pytest.raises(InputError, match="larger batch"):
        squared_mmd(draws(1, 0), draws(1, 1))


# -- deterministic autoencoders --------------------------------------------------------------------


def images_and_networks() -> tuple[Tensor, Trio]:
    """Colour images (6, 3, 4, 4) in [-1, 1], and linear networks between them and codes of 3 numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Unflatten(1, (3, 4, 4)))

        class Encoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.mean, self.log_variance = nn.Linear(48, 3), nn.Linear(48, 3)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                return self.mean(x.flatten(1)), self.log_variance(x.flatten(1))

        trio = Trio(None, decoder, Encoder(), latent_dim=3, sigma=0.2, temperature=1.0)
        return (torch.rand(6, 3, 4, 4, dtype=torch.float64) * 2 - 1, trio.double())


@pytest.mark.parametrize("method", DETERMINISTIC)
def test_the_loss_is_the_released_codes_in_nats(method: str) -> None:
    """(W2), (R1): 2 D / sigma^2 times (mean squared error in [0, 1] + weighted terms), plus a constant."""
    x, trio = images_and_networks()
    settings = WAE(sigma=0.2) if method == "wae" else RAE(sigma=0.2)
    loss = teaching(trio, settings)(x, BatchNoise(0, range(6))).generator
    codes = trio.q(x)[0]
    released = ((x + 1) / 2 - (trio.g(codes) + 1) / 2).square().mean()
    if method == "wae":
        released = released + 0.03 * squared_mmd(codes, prior(trio, 6, noise=BatchNoise(0, range(6))))
    else:
        weight = trio.generator[0].weight
        released = released + 1e-3 * codes.square().mean() + 1e-6 * weight.square().sum()
        assert torch.equal(squared_weights(trio.generator), weight.square().sum())
    expected = 2 * 48 / 0.2**2 * released + 48 / 2 * math.log(2 * math.pi * 0.2**2)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_the_fitted_density_has_the_codes_moments() -> None:
    """Within its jitter of 1e-6 and float32; draws are its affine map of N(0, I)'s."""
    codes = draws(50, 0, 2.0, d=4).float() @ torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    density = CodeDensity(4)
    eps = draws(7, 1, d=4).float()
    assert torch.equal(density(eps), eps)  # unfitted
    density.fit(codes)
    covariance = torch.cov(codes.T)
    assert torch.allclose(density.mean, codes.mean(0), atol=1e-6)
    assert torch.allclose(density.scale @ density.scale.T, covariance, atol=3e-6 * covariance.max().item())
    assert torch.equal(density.scale, density.scale.tril())
    assert torch.allclose(density(eps), density.mean + eps @ density.scale.T)
    density.fit(codes[:2])  # fewer than dimensions: still a density
    assert density.scale.isfinite().all()


# -- all of them -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_losses_reach_the_methods_networks_only(method: str) -> None:
    """Those of deterministic autoencoders leave the variances out; nothing reaches the frozen copies."""
    trio = linear_trio(D, LATENT, sigma=SIGMA)  # with an energy, which must stay untouched
    module = teaching(trio, METHODS[method])
    losses = module(rows(16).float(), BatchNoise(0, range(16)))
    assert set(losses.named()) == {"generator"}
    losses.total().backward()
    reached = {name for name, p in trio.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    expected = {"generator.weight", "generator.bias"}
    if method in WITH_Q:
        expected |= {"inference.mean.weight", "inference.mean.bias"}
    if method == "vae":
        expected |= {"inference.log_variance"}
    assert reached == expected


def test_a_taught_code_carries_no_gradient() -> None:
    """ABP's gradient is that of (G1) on the pair (x+, z+) alone."""
    trio, x = no_energy(inference=False), rows(12)[:4].float()
    module = teaching(trio, ABP(sigma=SIGMA))
    module(x, BatchNoise(0, range(4))).total().backward()
    module.settle(identity)
    ours = [p.grad.clone() for p in trio.generator.parameters()]
    trio.zero_grad()
    generator_loss(trio, x, module.tables["codes"]).backward()
    assert all(torch.equal(p.grad, grad) for p, grad in zip(trio.generator.parameters(), ours, strict=True))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """32 of the digits, some of which are held out: batches of 16 see most of them every second update."""
    from dualmcmc import data

    images = data.load("digits", presets.PRESETS["digits"].images, split="train").tensor(range(32))
    path = tmp_path_factory.mktemp("few") / "few.npy"
    np.save(path, ((images[:, 0] + 1) * 127.5).round().to(torch.uint8).numpy())
    return str(path)


@pytest.mark.parametrize("method", METHODS)
def test_training_resumes_bit_for_bit_and_its_model_draws_and_reconstructs(
    method: str, few: str, tmp_path: Path
) -> None:
    changes = {"data": few, "run.steps": 6, "run.checkpoint_every": 0}
    trainer = train(tmp_path / "whole", {**changes, "run.evaluate_every": 6}, method)
    train(tmp_path / "parts", {**changes, "run.steps": 3}, method)
    train(tmp_path / "parts", changes, method, resume=True)
    ours, theirs = checkpoint(tmp_path / "parts", 6), checkpoint(tmp_path / "whole", 6)
    assert_same(ours, theirs)
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))
    assert ("memory/tables.codes" in ours) == (method == "abp")
    images = trainer.sets.train
    x = images.tensor(range(len(images)))
    if method == "abp":
        codes, visited = (ours[f"memory/tables.{name}"] for name in ("codes", "visited"))
        assert codes.shape == (len(x), 4)
        assert torch.equal(codes.any(1), visited)
        assert 16 < visited.sum() < 6 * 16  # some came again

    model = Model.from_pretrained(tmp_path / "whole")
    z = model.prior(5, seed=2)
    assert torch.allclose(model.sample(5, seed=2), model.decode(z), atol=1e-5)
    if method == "rae":
        codes, density = model.infer(x, steps=0), model.trio.extra
        assert isinstance(density, CodeDensity)
        eps = Noise(2, range(5)).stream("prior").normal_like(z)
        whitened = torch.linalg.solve_triangular(density.scale, (z - codes.mean(0)).T, upper=False).T
        assert torch.allclose(whitened, eps, atol=1e-3)
        assert torch.allclose(density.scale @ density.scale.T, torch.cov(codes.T), rtol=1e-3, atol=1e-6)
    else:
        assert torch.equal(z, Noise(2, range(5)).stream("prior").normal_like(z))

    start = model.infer(x, steps=0, seed=3)
    if method in WITH_Q:
        assert torch.allclose(start, model.trio.q(x)[0], atol=1e-6)
    else:  # noise-initialised: draws of the prior, by key
        keyed = Noise(3, range(len(x))).stream("latent_start").stream("prior").normal_like(start)
        assert torch.equal(start, keyed)
        with pytest.raises(InputError, match="no inference network"):
            model.infer(x, start="mean")
    again = model.reconstruct(x, seed=3)
    assert torch.allclose(again, model.decode(model.infer(x, seed=3)), atol=1e-6)
    assert not torch.equal(again, model.decode(start))
