r"""No-MCMC training, VERA (Grathwohl et al., 2021), without labels: a generator with entropy replaces the chain.

    x- is                        energy                   generator, sigma            deviations of z
    x = g(z) + sigma eps         x+ / x-, |grad h(x+)|^2  log pi(x-) and its entropy  ELBO of x-

The generator minimises KL(p || pi) = E_p[log p(x) - log pi(x)], p being its marginal. With x a function of z and
eps, the entropy's gradient is that of -s(x) x with the score s held fixed, and the score is a posterior mean,

    s(x) = grad log p(x) = -E[x - g(z')] / sigma^2,    z' ~ p(z' given x).

Here z, which made x, is known, and N(z, diag exp(2 log_deviations)) lies around it: z' are K draws of that,
weighted by p(x, z') over its density, the weights adding up to one. Its deviations maximise their own ELBO.

Source: Grathwohl et al., ICLR 2021; wgrathwohl/VERA, train.py and models/generator.py, where energy and generator
learn one after the other, here from one set of draws. Its published CIFAR-10 run adds a classifier; this has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from dualmcmc import densities, spectral
from dualmcmc.extras import Sampler
from dualmcmc.methods import NoMCMC
from dualmcmc.noise import Noise
from dualmcmc.sampling import prior
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Gather, Teaching, Update
from dualmcmc.teaching.losses import Losses, energy_loss
from dualmcmc.trio import Trio


class NoMCMCTeaching(Teaching):
    """An energy, and a generator that samples from it.

    Arguments:
        trio: has an energy network, a generator, and a `Sampler`.
        settings: the temperature, the penalties, the draws of the posterior.
    """

    settings: NoMCMC

    @property
    def sampler(self) -> Sampler:
        """The learned deviations."""
        assert isinstance(self.trio.extra, Sampler)
        return self.trio.extra

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]; the deviations' loss stands under `inference`.

        The generator's is an estimate of KL(p || pi), up to pi's constant.
        """
        s, trio, sampler = self.settings, self.trio, self.sampler
        frozen = self.begin_update()
        # In evaluation mode BatchNorm would be another function than the one that makes x.
        frozen.part("generator").train(trio.part("generator").training)
        z = prior(frozen, len(x_data), noise=noise)
        x = trio.g(z)
        x = x + sampler.sigma * noise.stream("generator").normal_like(x)
        x_model, sigma = x.detach(), sampler.sigma.detach()
        watch.mark("other")

        energy, seen = energy_loss(trio, x_data, x_model, s.energy_penalty)
        if s.gradient_penalty:
            energy = energy + s.gradient_penalty * gradient_penalty(trio, x_data) / trio.temperature

        deviations = sampler.log_deviations.detach().exp()
        score, log_p = posterior_score(
            frozen.g, x_model, z, sigma, deviations, s.posterior_draws, noise=noise.stream("posterior")
        )
        score_x = (score * (x - x_model)).flatten(1).sum(1)  # 0, with the gradient of s(x) x
        generator = (log_p + score_x - frozen.log_pi(x)).mean()

        # ELBO of x-, to which the deviations alone are taught
        z_post = z + sampler.log_deviations.exp() * noise.stream("deviations").normal_like(z)
        joint = log_likelihood(x_model, frozen.g(z_post), sigma) + densities.standard_normal(z_post)
        entropy = sampler.log_deviations.sum() + z.shape[1] * math.log(2 * math.pi * math.e) / 2
        return Losses(
            energy,
            generator,
            -(joint.mean() + entropy),
            seen={**seen, "entropy": -log_p.mean(), "sigma": sigma},
        )

    def settle(self, gather: Gather) -> None:
        """Holds sigma in its range, as the released code does after every update."""
        self.sampler.hold()


def gradient_penalty(trio: Trio, x: Tensor) -> Tensor:
    """Mean over images x (B, *) of |grad h(x)|^2 / 2: a scalar, with a gradient of second order to the energy."""
    x = x.detach().requires_grad_()
    with spectral.weights_once(trio.part("energy")):
        h = trio.h(x)
    (gradient,) = torch.autograd.grad(h.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def log_likelihood(x: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """log N(x; mean, sigma^2 I), Eq. (D1), of a sigma that is a tensor: x, mean (B, *); returns (B,)."""
    squares = densities.at_least_float32(x - mean).square().flatten(1)
    return -squares.sum(1) / (2 * sigma**2) - squares.shape[1] * (sigma.log() + math.log(2 * math.pi) / 2)


@torch.no_grad()
def posterior_score(
    g: Callable[[Tensor], Tensor],
    x: Tensor,
    z: Tensor,
    sigma: Tensor,
    deviations: Tensor,
    draws: int,
    *,
    noise: Noise,
) -> tuple[Tensor, Tensor]:
    """The score of p at x, and log p(x), by weighted draws around the codes that made x.

    Arguments:
        g: means of p(x given z), (B, d) to (B, *).
        x: draws of p, (B, *).
        z: their codes, (B, d).
        sigma: of p(x given z), a scalar.
        deviations: of the draws z' around z, (d,).
        draws: K; one after another, so that no more than B images are in the making; all K B are kept.
        noise: of the draws.

    Returns:
        s(x) (B, *), biased by O(1/K), and log of the mean weight (B,), whose mean over the draws' noise is at most
        log p(x). Both without gradient.
    """
    means, log_weights = [], []
    for _ in range(draws):
        eps = noise.normal_like(z)
        drawn = z + deviations * eps
        means.append(g(drawn))
        log_q = densities.standard_normal(eps) - deviations.log().sum()
        log_weights.append(log_likelihood(x, means[-1], sigma) + densities.standard_normal(drawn) - log_q)
    log_weight = torch.stack(log_weights)
    weights = log_weight.softmax(0).reshape(draws, len(x), *(1 for _ in x.shape[1:]))
    # No matrix product, which autocast would round: the difference to x is divided by sigma^2.
    mean = torch.stack([weight * each for weight, each in zip(weights, means, strict=True)]).sum(0)
    return (mean - x) / sigma**2, log_weight.logsumexp(0) - math.log(draws)
