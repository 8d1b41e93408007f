"""Short-run EBM, Nijkamp et al. (2019): a chain of fixed length from noise is the sampler, converged or not.

    x- starts from            energy
    uniform noise in [-1, 1]  x+ / x-

Training images carry Gaussian noise (released: 0.03). Since every chain is K steps from the same start, the energy
is taught that this sampler's moments are the data's, not that exp(h / T) is a density (docs/maths.md).
Source: enijkamp/short_run, train_cifar10_minimal.py.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.methods import ShortRun
from dualmcmc.noise import Noise
from dualmcmc.sampling import revise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.data_noise import noised
from dualmcmc.teaching.from_noise import uniform_as
from dualmcmc.teaching.losses import Losses, energy_loss


class ShortRunTeaching(Teaching):
    """The energy alone, from chains that start at noise.

    Arguments:
        trio: has an energy network.
        settings: the chain, the data's noise.
    """

    settings: ShortRun

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        x_data = noised(x_data, s.data_noise, noise=noise)
        watch.mark("other")

        start = uniform_as(x_data, noise=noise)
        x_model = revise(frozen, start, s.data_chain, noise=noise)
        watch.mark("data_chain")

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        return Losses(energy, seen={**seen, "data_chain_moved": distance(start, x_model)})
