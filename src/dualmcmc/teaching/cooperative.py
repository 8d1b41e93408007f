"""Cooperative learning, CoopNets (Xie et al., 2018): the energy revises the generator's images, and so teaches it.

    x- starts from   energy    generator
    x^ = g(z)        x+ / x-   (x-, z)

This is dual-MCMC teaching without data in the generator's loss, and without an inference network: the generator
sees images only as far as the energy's chain carries them to it. The released code tilts a Gaussian by its energy
(`reference`; the chain's drift then has its pull -T x / r^2 on h), and runs no latent chain on x- by default.
Source: Xie et al., PAMI 2018; zilongzheng/CoopNets, main.py.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import Cooperative
from dualmcmc.noise import Noise
from dualmcmc.sampling import synthesise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss


class CooperativeTeaching(Teaching):
    """Energy and generator, each from the other.

    Arguments:
        trio: has an energy network and a generator; its `reference` is the settings'.
        settings: the chain, sigma, the penalty.
    """

    settings: Cooperative

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        watch.mark("other")

        z_prior, x_gen, x_model = synthesise(frozen, len(x_data), s.data_chain, s.start, noise=noise)
        watch.mark("data_chain")

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        generator = generator_loss(self.trio, x_model, z_prior)
        return Losses(energy, generator, seen={**seen, "data_chain_moved": distance(x_gen, x_model)})
