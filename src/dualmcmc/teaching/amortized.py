"""A VAE as the energy's amortized sampler (Xie et al., 2021): chains start from its images, it learns their ends.

    x- starts from   energy    generator and inference network
    x^ = g(z)        x+ / x-   ELBO of x-

The VAE never sees training images, so its inference network explains revised images; each update moves the pair
towards what the chain made of its own draws (MCMC teaching). The ELBO's draw of z is reparametrised: its loss
reaches both networks. Source: Xie, Zheng & Li, AAAI 2021; jianwen-xie/CoopVAEBM, model.py.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import Amortized
from dualmcmc.noise import Noise
from dualmcmc.sampling import synthesise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, energy_loss, negative_elbo


class AmortizedTeaching(Teaching):
    """An energy, and a VAE of its samples.

    Arguments:
        trio: has all three networks.
        settings: the chain, sigma, the weights.
    """

    settings: Amortized

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]; the VAE's loss stands under `generator`."""
        s = self.settings
        frozen = self.begin_update()
        watch.mark("other")

        _, x_gen, x_model = synthesise(frozen, len(x_data), s.data_chain, s.start, noise=noise)
        watch.mark("data_chain")

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        vae, _ = negative_elbo(self.trio, x_model, kl_weight=s.kl_weight, noise=noise)
        return Losses(energy, vae, seen={**seen, "data_chain_moved": distance(x_gen, x_model)})
