"""The inference network of both families: strided convolutions, then two heads for q(z given x).

LeakyReLU 0.2, no normalisation, biases in the heads only. Residual family at width 128 and simple family
at width 64 are the released networks of the paper and of the Divergence Triangle at 32 pixels; from 64
pixels the residual family's first convolution is strided too (released CelebA-64 network), and further
strided convolutions of the full width follow at 128 and 256.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dualmcmc.densities import at_least_float32
from dualmcmc.networks.layers import FullConv2d, drawn, halvings, use_channels_last
from dualmcmc.precision import without_autocast


def inference_strides(size: int, family: str) -> list[int]:
    """Strides of the trunk's convolutions: 3x3 where 1, 4x4 where 2."""
    count = halvings(size)[1]
    if family == "residual" and size >= 64:
        return [2] * count
    return [1] + [2] * count


class Inference(nn.Module):
    """x (B, C, S, S) to mean and log variance of q(z given x), each (B, d)."""

    def __init__(self, size: int, channels: int, latent_dim: int, width: int, strides: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        c_in = channels
        for i, stride in enumerate(strides):
            c_out = min(width * 2**i, 8 * width)
            layers += [nn.Conv2d(c_in, c_out, 2 + stride, stride=stride, padding=1, bias=False)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            c_in = c_out
        self.trunk = nn.Sequential(*layers)
        start = halvings(size)[0]
        self.mean = FullConv2d(c_in, latent_dim, start)
        self.log_variance = FullConv2d(c_in, latent_dim, start)
        self.num_features = c_in
        for module in drawn(self):
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
        use_channels_last(self.trunk)

    def features(self, x: Tensor) -> Tensor:
        """The trunk's last map averaged over its pixels: (B, num_features)."""
        return at_least_float32(self._map(x)).mean((2, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each (B, d)."""
        features = self._map(x)
        with without_autocast(x):
            features = at_least_float32(features)
            return self.mean(features), self.log_variance(features)

    def _map(self, x: Tensor) -> Tensor:
        images: Tensor = self.trunk(x.contiguous(memory_format=torch.channels_last))
        return images
