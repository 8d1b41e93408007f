"""The residual networks of the paper's main tables: Hat-EBM's energy without biases, SNGAN's generator.

Up to 32 pixels ("CIFAR-10 pattern"): two blocks that halve the image, two that do not, all of one width;
the generator doubles from 4x4 (28 pixels: 7x7). From 64 pixels ("CelebA-64 pattern"): every block halves
and doubles the width, from width/16 to width, until 2x2 is left; the generator mirrors it. No source
states networks for 128 and 256 pixels (CelebA-HQ, LSUN): ours extend the CelebA-64 pattern by further
blocks of the full width at the small end, so that the costly large maps keep width/16 channels.

Source: released code of Cui & Han (2023), nets.py; Miyato et al. (2018) for the generator. Convolutions
start from Xavier normal weights, as there; BatchNorm scales start around 1, not around 0 as there (half
the channels would start with a negative gain). Two rewritings keep every function and parameter: a 1x1
convolution commutes with pooling and with bilinear interpolation (whose weights sum to 1), so it runs at
the smaller size; and a pooled 3x3 convolution is one 4x4 convolution of stride 2 (`PooledConv2d`). What
works in place (`relu_`, `add_`) overwrites outputs of convolutions and norms, which no backward pass reads.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualmcmc.densities import at_least_float32
from dualmcmc.networks.layers import (
    Norm,
    PooledConv2d,
    drawn,
    halvings,
    normalisation,
    squeezed,
    use_channels_last,
)
from dualmcmc.precision import without_autocast


def _widths(size: int, width: int) -> list[int]:
    """Output channels of the blocks that halve an image of 64 pixels or more, largest map first."""
    pattern = [max(1, width >> shift) for shift in (4, 3, 2, 1, 0)]
    return pattern + [width] * (size.bit_length() - 1 - 6)


def _xavier(net: nn.Module) -> None:
    for module in drawn(net):
        if isinstance(module, nn.Conv2d | PooledConv2d):
            nn.init.xavier_normal_(module.weight)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)


def _conv(channels_in: int, channels_out: int, kernel: int, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias)


class EnergyBlock(nn.Module):
    """Two 3x3 convolutions beside a skip; `down` halves the image; the stem has no ReLU before its first."""

    def __init__(self, channels_in: int, channels_out: int, *, down: bool, stem: bool = False) -> None:
        super().__init__()
        self.down, self.stem = down, stem
        self.first = _conv(channels_in, channels_out, 3, bias=False)
        self.second: nn.Module
        if down:
            self.second = PooledConv2d(channels_out, channels_out)
            self.skip: nn.Module = _conv(channels_in, channels_out, 1, bias=False)
        else:
            self.second = _conv(channels_out, channels_out, 3, bias=False)
            self.skip = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C', S/2, S/2) with `down`, else (B, C', S, S)."""
        main = x if self.stem else functional.relu(x)
        main = self.second(functional.relu_(self.first(main)))
        return main.add_(self.skip(functional.avg_pool2d(x, 2) if self.down else x))


class ResidualEnergy(nn.Module):
    """h(x), up is likelier: blocks, ReLU, mean over the map, bias-free linear. (B, C, S, S) to (B,) or (B, K)."""

    def __init__(self, size: int, channels: int, width: int, outputs: int = 1) -> None:
        super().__init__()
        if size >= 64:
            widths = _widths(size, width)
            downs = [True] * len(widths)
        else:
            widths, downs = [width] * 4, [True, True, False, False]
        self.blocks = nn.Sequential(
            *(
                EnergyBlock(c_in, c_out, down=down, stem=i == 0)
                for i, ((c_in, c_out), down) in enumerate(zip(pairwise([channels, *widths]), downs, strict=True))
            )
        )
        self.head = nn.Linear(width, outputs, bias=False)
        _xavier(self)
        use_channels_last(self)

    def forward(self, x: Tensor) -> Tensor:
        """h of each image: x (B, C, S, S); returns (B,) or (B, K) float32."""
        features = functional.relu_(self.blocks(x.contiguous(memory_format=torch.channels_last)))
        with without_autocast(x):
            return squeezed(self.head(at_least_float32(features).mean((2, 3))))


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class GeneratorBlock(nn.Module):
    """Norm, ReLU, double, conv, norm, ReLU, conv; skip: a 1x1 convolution, doubled."""

    def __init__(self, channels_in: int, channels_out: int, norm: Norm) -> None:
        super().__init__()
        self.norm_first = normalisation(norm, channels_in)
        self.first = _conv(channels_in, channels_out, 3, bias=True)
        self.norm_second = normalisation(norm, channels_out)
        self.second = _conv(channels_out, channels_out, 3, bias=True)
        self.skip = _conv(channels_in, channels_out, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C', 2S, 2S)."""
        main = self.first(_double(functional.relu_(self.norm_first(x))))
        main = self.second(functional.relu_(self.norm_second(main)))
        return main.add_(_double(self.skip(x)))


class ResidualGenerator(nn.Module):
    """g(z): linear to a small map, doubling blocks, norm, ReLU, conv, tanh. (B, d) to (B, C, S, S) in [-1, 1]."""

    def __init__(self, size: int, channels: int, latent_dim: int, width: int, norm: Norm) -> None:
        super().__init__()
        self.start, doublings = halvings(size)
        widths = _widths(size, width)[::-1] if size >= 64 else [width] * (doublings + 1)
        self.project = nn.Linear(latent_dim, width * self.start**2)
        self.blocks = nn.Sequential(*(GeneratorBlock(*pair, norm) for pair in pairwise(widths)))
        self.norm = normalisation(norm, widths[-1])
        self.to_image = _conv(widths[-1], channels, 3, bias=True)
        _xavier(self)
        use_channels_last(self)

    def forward(self, z: Tensor) -> Tensor:
        """Images of codes z (B, d); returns (B, C, S, S) in [-1, 1]."""
        x = self.project(z).view(len(z), -1, self.start, self.start)
        x = self.blocks(x.contiguous(memory_format=torch.channels_last))
        return torch.tanh(self.to_image(functional.relu_(self.norm(x))))
