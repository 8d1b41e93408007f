"""VAEBM, Xiao et al. (2021): a VAE first, then an energy that corrects it, by chains in the VAE's noise.

    updates       x- starts from                  energy    generator   inference
    the first     –                               –         ELBO        ELBO
    all others    g(z) + sigma eps, z and eps     x+ / x-   –           –
                  moved by the chain

The model is pi(x) ∝ p_VAE(x) exp(h(x) / T): `Trio.log_pi` is the correction alone. The VAE being fixed, the
likelihood's gradient for h is that of any energy, Eq. (E1), with x- drawn from pi by the chain on (N1). T turns h,
which spectral norm keeps gentle, into nats; the released code has T = 1, a penalty on spectral norms and NVAE,
whose deviations of pixels are learned and small. Ours is the preset's VAE with one sigma for all pixels. Source:
NVlabs/VAEBM, train_VAEBM.py.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc import noise_space
from dualmcmc.methods import VAEBM
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, energy_loss, negative_elbo


class VAEBMTeaching(Teaching):
    """The VAE alone for `vae_steps` updates, then the energy alone.

    Arguments:
        trio: has all three networks.
        settings: the chain, and how long the VAE learns.
    """

    settings: VAEBM

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        if update.step < s.vae_steps:
            elbo, _ = negative_elbo(self.trio, x_data, kl_weight=s.kl_weight, noise=noise)
            return Losses(generator=elbo)
        frozen = self.begin_update()
        watch.mark("other")

        shape = tuple(x_data.shape)
        start = noise_space.start(frozen, shape, noise=noise)
        end = noise_space.move(frozen, start, shape, s.noise_chain, noise=noise.stream("data_chain"))
        x_gen, x_model = (noise_space.shown(frozen, w, shape, s.pixels) for w in (start, end))
        watch.mark("data_chain")

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        return Losses(energy, seen={**seen, "data_chain_moved": distance(x_gen, x_model)})
