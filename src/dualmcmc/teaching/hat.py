"""Hat-EBM (Hill et al., 2022): a generator's image plus a residual; the generator learns from a bank of old pairs.

    x- starts from              energy    generator
    g(z) + y, y = 0, z fixed    x+ / x-   (x-, z) of earlier updates

The chain moves the residual y on h(g(z) + y) with z fixed, whose gradient in y is that in x: it is the data chain
from g(z). The generator does not learn from this update's pairs (z, x-), as in cooperative learning, but from old
ones: each place of the batch draws one from its slots of a bank, and leaves its new pair there. The lag keeps
energy and generator from chasing each other. Training images carry faint noise.

The released generator ends in 2 tanh and its BatchNorm never leaves its initial statistics; ours is the preset's.
The released chain (50 steps, s = 5, T = 1e-8, `longest_drift` 2.5) can be set; ours, too, is the preset's.
Source: Hill et al., NeurIPS 2022; point0bar1/hat-ebm, train_hat_ebm_synth.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualmcmc.methods import Hat
from dualmcmc.noise import Noise
from dualmcmc.sampling import generate, prior, synthesise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import buffer
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.data_noise import noised
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss
from dualmcmc.trio import Trio


class HatTeaching(Teaching):
    """Energy and generator, with a bank of pairs in `rows`: codes (B, m, d), and images (B, m, *).

    Arguments:
        trio: has an energy network and a generator.
        settings: the chain, the bank, the data's noise.
    """

    settings: Hat

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        if "images" not in self.rows:
            self._fill(frozen, len(x_data), buffer.depth(s.bank, update.batch or len(x_data)), noise)
        x_data = noised(x_data, s.data_noise, noise=noise)
        watch.mark("other")

        z_prior, x_gen, x_model = synthesise(frozen, len(x_data), s.data_chain, "mean", noise=noise)
        watch.mark("data_chain")

        # The same noise draws the same slots of both.
        codes = buffer.visit(self.rows["codes"], noise, restart=0.0, fresh=lambda _: z_prior)
        images = buffer.visit(self.rows["images"], noise, restart=0.0, fresh=lambda _: x_model)
        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        generator = generator_loss(self.trio, images.states, codes.states)
        buffer.put_back(self.rows["codes"], codes.slots, z_prior)
        buffer.put_back(self.rows["images"], images.slots, x_model)
        return Losses(energy, generator, seen={**seen, "data_chain_moved": distance(x_gen, x_model)})

    def _fill(self, frozen: Trio, places: int, depth: int, noise: Noise) -> None:
        """A new bank: prior draws and their images, from which the generator learns nothing yet."""
        codes, images = [], []
        for slot in range(depth):
            own = noise.stream("buffer", slot)
            codes.append(prior(frozen, places, noise=own))
            images.append(generate(frozen, codes[-1], "mean", noise=own))
        self.rows["codes"], self.rows["images"] = torch.stack(codes, 1), torch.stack(images, 1)
