"""The "simple network" of Tables 6 and 9: Divergence Triangle's CIFAR-10 energy and generator.

Five convolutions each at 32 pixels, LeakyReLU 0.2 and no normalisation in the energy, transposed
convolutions with norm and ReLU in the generator; no biases but in the last layers. Other sizes halve
(double) more or less often: the widest layers repeat, the last map is 4x4 (28 pixels: 7x7).

Source: enijkamp/triangle, train_cifar10.py (Han et al., CVPR 2019), weights from N(0, 0.02^2). Spectral
norm is not part of it; the settings can add it, and at a low temperature it is what keeps h gentle.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from dualmcmc.densities import at_least_float32
from dualmcmc.networks.layers import (
    FullConv2d,
    FullConvTranspose2d,
    Norm,
    drawn,
    halvings,
    normalisation,
    squeezed,
    use_channels_last,
)
from dualmcmc.precision import without_autocast


def _small_normal(net: nn.Module) -> None:
    for module in drawn(net):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


class SimpleEnergy(nn.Module):
    """h(x), up is likelier. (B, C, S, S) to (B,), or to (B, K) logits with `outputs` K."""

    def __init__(self, size: int, channels: int, width: int, outputs: int = 1) -> None:
        super().__init__()
        start, count = halvings(size)
        widths = [min(width * 2**i, 4 * width) for i in range(count + 1)]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for c_in, c_out in pairwise(widths):
            layers += [nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=False), nn.LeakyReLU(0.2, inplace=True)]
        self.trunk = nn.Sequential(*layers)
        self.head = FullConv2d(widths[-1], outputs, start)
        _small_normal(self)
        use_channels_last(self.trunk)

    def forward(self, x: Tensor) -> Tensor:
        """h of each image: x (B, C, S, S); returns (B,) or (B, K) float32."""
        features = self.trunk(x.contiguous(memory_format=torch.channels_last))
        with without_autocast(x):
            return squeezed(self.head(at_least_float32(features)))


class SimpleGenerator(nn.Module):
    """g(z): (B, d) to (B, C, S, S) in [-1, 1]; `width` is an eighth of the first maps' channels."""

    def __init__(self, size: int, channels: int, latent_dim: int, width: int, norm: Norm) -> None:
        super().__init__()
        start, count = halvings(size)
        widths = [8 * width, *(min(8 * width, 2 * width * 2 ** (count - i)) for i in range(1, count + 1))]
        self.project = FullConvTranspose2d(latent_dim, widths[0], start, bias=False)
        layers: list[nn.Module] = [normalisation(norm, widths[0]), nn.ReLU(inplace=True)]
        for c_in, c_out in pairwise(widths):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, stride=2, padding=1, bias=False)]
            layers += [normalisation(norm, c_out), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(widths[-1], channels, 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _small_normal(self)
        use_channels_last(self.layers)

    def forward(self, z: Tensor) -> Tensor:
        """Images of codes z (B, d); returns (B, C, S, S) in [-1, 1]."""
        images: Tensor = self.layers(self.project(z).contiguous(memory_format=torch.channels_last))
        return images
