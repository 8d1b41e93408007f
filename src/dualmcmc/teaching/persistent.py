"""IGEBM, Du & Mordatch (2019): chains go on where earlier ones ended, so that they may run for thousands of steps.

    x- starts from                           energy
    a buffer of chains, a share from noise   x+ / x-, penalty on h^2

The released chain clips each component of grad h and clamps states to the box of the images; training images are
dequantised into that box. The released code's buffer is a queue of past ends in 8 bits, dequantised again at each
visit, and its steps add noise before they take the gradient. Our slots hold states as they are, each the end of
one chain, and steps are (L1).

Source: openai/ebm_code_release, train.py, with the flags of its README for CIFAR-10 (`zero_kl` leaves the gradient
through the chain out; `improved_cd` has it).
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import Persistent
from dualmcmc.noise import Noise
from dualmcmc.sampling import revise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import buffer, from_noise
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.data_noise import dequantised
from dualmcmc.teaching.losses import Losses, energy_loss


class PersistentTeaching(Teaching):
    """The energy alone, from a buffer of chains.

    Arguments:
        trio: has an energy network.
        settings: the chain, the buffer, the penalty.
    """

    settings: Persistent

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        if s.dequantise:
            x_data = dequantised(x_data, noise=noise)
        watch.mark("other")

        visit = from_noise.visit(self.rows, x_data, s.buffer, s.restart, noise=noise, update=update)
        x_model = revise(frozen, visit.states, s.data_chain, noise=noise)
        buffer.put_back(self.rows["buffer"], visit.slots, x_model)
        watch.mark("data_chain")

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        return Losses(energy, seen={**seen, "data_chain_moved": distance(visit.states, x_model)})
