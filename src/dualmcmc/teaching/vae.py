"""Variational autoencoder, Kingma & Welling (2014): generator and inference network climb a bound of log p(x).

    z from                            generator and inference
    q(z given x+), reparametrised     ELBO, Eq. (V1)

No chain and no energy. Unlike elsewhere, the draw carries a gradient: through it the generator's likelihood
teaches the inference network. The bound lies KL(q(z given x) || p(z given x)) below log p(x).
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import VAE
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.losses import Losses, negative_elbo


class VAETeaching(Teaching):
    """Generator and inference network from the ELBO.

    Arguments:
        trio: has a generator and an inference network.
        settings: sigma, the divergence's weight.
    """

    settings: VAE

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        loss, _ = negative_elbo(self.trio, x_data, kl_weight=self.settings.kl_weight, noise=noise)
        return Losses(generator=loss)
