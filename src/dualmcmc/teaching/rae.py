"""Regularised autoencoder, Ghosh et al. (2020), RAE-L2: small codes and a smooth decoder instead of a prior.

    z = mu(x+), no draw      generator and inference: squared error + code_weight * codes + decoder_decay * weights

A Gaussian with the training codes' mean and covariance, fitted afterwards (`extras.CodeDensity`), is what a
trained model draws z from. Codes are deterministic: the inference network's variances learn and mean nothing.

Weights are the released code's, beside the mean squared error of pixels in [0, 1]. Ours are D numbers in [-1, 1]:

    2 D / sigma^2 (MSE + code_weight |z|^2 / d + decoder_decay |w|^2)                                          (R1)

has -log p(x given z) as its first term, but for a constant, since MSE = |x - g(z)|^2 / (4 D). So sigma scales the
loss to nats and moves no optimum. w are all weight matrices and kernels of the generator (released: all but the
first layer's). Source: ParthaEth/Regularized_autoencoders-RAE-, models/rae.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualmcmc import densities
from dualmcmc.methods import RAE
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.losses import Losses


class RAETeaching(Teaching):
    """Generator and inference network from reconstruction, small codes and small weights.

    Arguments:
        trio: has a generator and an inference network.
        settings: sigma, both weights.
    """

    settings: RAE

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update, Eq. (R1): x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s, trio = self.settings, self.trio
        codes, _ = trio.q(x_data)
        likelihood = densities.normal(x_data, trio.g(codes), trio.sigma).mean()
        smoothness = s.code_weight * codes.square().mean() + s.decoder_decay * squared_weights(
            trio.part("generator")
        )
        nats = 2 * x_data[0].numel() / trio.sigma**2
        return Losses(generator=nats * smoothness - likelihood, seen={"code_size": codes.detach().square().mean()})


def squared_weights(network: nn.Module) -> Tensor:
    """Sum of squares of a network's weight matrices and kernels, without biases and normalisations: a scalar."""
    return torch.stack([p.square().sum() for p in network.parameters() if p.ndim > 1]).sum()
