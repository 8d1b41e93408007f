"""Wasserstein autoencoder, Tolstikhin et al. (2018), with the MMD: codes together follow the prior.

    z = mu(x+), no draw      generator and inference: squared error + weight * MMD^2(codes, prior draws)

The MMD (W1) compares a batch of codes with as many draws of p(z); single codes are free. With several processes
each compares its own part of the batch: their mean is unbiased as well, if noisier. Codes are deterministic: the
inference network's variances learn and mean nothing.

The weight stands beside the mean squared error of pixels in [0, 1], as in ParthaEth/Regularized_autoencoders-RAE-,
models/wae_mmd. Ours are D numbers in [-1, 1]:

    2 D / sigma^2 (MSE + weight MMD^2) = -log p(x given z) + weight 2 D / sigma^2 MMD^2 + constant             (W2)

since MSE = |x - g(z)|^2 / (4 D). So sigma scales the loss to nats and moves no optimum.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc import densities
from dualmcmc.errors import InputError
from dualmcmc.methods import WAE
from dualmcmc.noise import Noise
from dualmcmc.sampling import prior
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.losses import Losses
from dualmcmc.teaching.mmd import squared_mmd


class WAETeaching(Teaching):
    """Generator and inference network from reconstruction and the codes' distance to the prior.

    Arguments:
        trio: has a generator and an inference network.
        settings: sigma, the MMD's weight.
    """

    settings: WAE

    def check(self, places: range, batch: int) -> None:
        """The MMD compares pairs of codes."""
        if len(places) < 2:
            raise InputError("method wae needs two images or more on each process: enlarge optim.batch_size")

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        trio = self.trio
        codes, _ = trio.q(x_data)
        mmd = squared_mmd(codes, prior(trio, len(codes), noise=noise))
        likelihood = densities.normal(x_data, trio.g(codes), trio.sigma).mean()
        nats = 2 * x_data[0].numel() / trio.sigma**2
        return Losses(generator=self.settings.mmd_weight * nats * mmd - likelihood, seen={"mmd": mmd.detach()})
