"""Divergence triangle (Han et al., 2019): a VAE of the data whose generator also plays against the energy.

    x- is               energy    generator                      inference network
    x^ = g(z), no chain x+ / x^   ELBO of x+, log pi(x^),        ELBO of x+, log q(z given x^)
                                  log q(z given x^)

With Q the data's joint law with q, P the generator's with the prior and Pi the energy's with q, the three networks
seek min max of KL(Q || P) + KL(P || Pi) - KL(Q || Pi). The first is the ELBO; the second asks of the generator
that its images be likely and tell their code, and of the inference network that it read the code; the third turns
the energy against x^. Unlike a chain's end, x^ carries its gradient to the generator: through the energy and the
inference network as they stand. The KL's entropy of p(x given z) is constant, sigma being fixed.

Source: Han et al., CVPR 2019; enijkamp/triangle, train_cifar10.py, where energy, inference network and generator
learn one after the other, here from one set of draws.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import DivergenceTriangle
from dualmcmc.noise import Noise
from dualmcmc.sampling import prior
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.losses import Losses, energy_loss, inference_loss, negative_elbo


class DivergenceTriangleTeaching(Teaching):
    """Three networks, no chain.

    Arguments:
        trio: has all three networks.
        settings: the temperature that weighs energy against ELBO, sigma, the weights.
    """

    settings: DivergenceTriangle

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]; the ELBO's loss stands under `generator`."""
        s, trio = self.settings, self.trio
        frozen = self.begin_update()

        # Dream, with the generator's gradient
        z_prior = prior(frozen, len(x_data), noise=noise)
        x_gen = trio.g(z_prior)
        if s.start == "draw":
            x_gen = x_gen + trio.sigma * noise.stream("generator").normal_like(x_gen)
        watch.mark("other")

        energy, seen = energy_loss(trio, x_data, x_gen.detach(), s.energy_penalty)
        elbo, _ = negative_elbo(trio, x_data, kl_weight=s.kl_weight, noise=noise)
        told = frozen.log_pi(x_gen) + s.dream_weight * frozen.log_q(x_gen, z_prior)
        read = s.dream_weight * inference_loss(trio, x_gen.detach(), z_prior)
        return Losses(energy, elbo - told.mean(), read, seen=seen)
