"""What the networks share: how sizes halve, which normalisation, how weights start, a pooled convolution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["group", "batch"]


def halvings(size: int) -> tuple[int, int]:
    """(start, k) with size = start * 2^k: a generator starts at start x start and doubles k times.

    4x4 for powers of two (8 pixels double once), 7x7 for 28 pixels, where nothing is padded.
    """
    start = 7 if size == 28 else 4
    return start, (size // start).bit_length() - 1


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """GroupNorm, which couples no images (about 16 channels a group, at most 32 groups), or BatchNorm."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(1, min(32, channels // 16))
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def use_channels_last(net: nn.Module) -> None:
    """Lays kernels out for 3x3 and strided convolutions, which run faster so on CPUs and GPUs; in place."""
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def drawn(net: nn.Module) -> Iterable[nn.Module]:
    """The modules whose weights are to be drawn: none on the meta device, where there is nothing to fill.

    A normal draw there would import torch's compiler, seconds in every command that loads a model.
    """
    return () if any(p.is_meta for p in net.parameters()) else net.modules()


def squeezed(out: Tensor) -> Tensor:
    """An energy head's output: (B, 1) becomes (B,), logits (B, K) stay."""
    return out.squeeze(1) if out.shape[1] == 1 else out


class PooledConv2d(nn.Module):
    """A bias-free 3x3 convolution (padding 1) followed by 2x2 average pooling, as one strided convolution.

    Averaging four shifted 3x3 kernels gives a 4x4 kernel of stride 2: the same function for 16 instead of
    36 multiplications per output and channel pair. The parameter is the 3x3 kernel.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 3, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C', S/2, S/2), S even."""
        padded = functional.pad(self.weight, (1, 1, 1, 1))
        rows = padded[:, :, :-1] + padded[:, :, 1:]
        kernel = (rows[..., :-1] + rows[..., 1:]) / 4
        if x.is_contiguous(memory_format=torch.channels_last):
            kernel = kernel.contiguous(memory_format=torch.channels_last)
        return functional.conv2d(x, kernel, stride=2, padding=1)


class FullConv2d(nn.Conv2d):
    """A convolution whose kernel is as large as its map, computed as the matrix product that it is."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, K, K) to (B, C')."""
        return functional.linear(x.flatten(1), self.weight.flatten(1), self.bias)


class FullConvTranspose2d(nn.ConvTranspose2d):
    """A bias-free transposed convolution of a 1x1 map, computed as the matrix product that it is."""

    def forward(self, z: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, d) to (B, C', K, K)."""
        return functional.linear(z, self.weight.flatten(1).T).view(len(z), *self.weight.shape[1:])
