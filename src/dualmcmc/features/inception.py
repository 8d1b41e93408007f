"""FID's Inception-v3, of 2015-12-05, whole or up to Mixed_6e.

The network is that of Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision", as the
TensorFlow graph that FID (Heusel et al., 2017) and the Inception Score (Salimans et al., 2016) were defined on
computes it. Where that graph differs from the paper and from other copies of the network:

    average pools of blocks A, C and Mixed_7b leave the padding out of the mean;
    Mixed_7c pools by maximum where the paper averages;
    there are 1,008 outputs, and the score takes the softmax of W f without the bias.

Every layer is a convolution with a bias and a ReLU: batch norm is folded in (`folding.py`). Names are those of the
public ports, so that their arrays fit. No resize but one: bilinear to 299x299 as pytorch-fid does it (half-pixel
centres, no antialiasing); TensorFlow 1, and torch-fidelity after it, place the pixels otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 299
EPSILON = 1e-3
"""Added to the variance by the batch norm of this network."""


class Layer(nn.Conv2d):
    """A convolution with a bias, then a ReLU; padded, it keeps the map's size (at stride 1)."""

    def __init__(
        self, inward: int, outward: int, side: int | tuple[int, int], stride: int = 1, *, padded: bool = True
    ) -> None:
        kernel = (side, side) if isinstance(side, int) else side
        padding = (kernel[0] // 2, kernel[1] // 2) if padded else (0, 0)
        super().__init__(inward, outward, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        return functional.relu(super().forward(x), inplace=True)


def average(x: Tensor) -> Tensor:
    """3x3 means at every pixel, of those pixels that lie inside the map."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35 maps: 1x1, 5x5, two 3x3, pool; to 224 channels and those of the pool."""

    def __init__(self, inward: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Layer(inward, 64, 1)
        self.branch5x5_1 = Layer(inward, 48, 1)
        self.branch5x5_2 = Layer(48, 64, 5)
        self.branch3x3dbl_1 = Layer(inward, 64, 1)
        self.branch3x3dbl_2 = Layer(64, 96, 3)
        self.branch3x3dbl_3 = Layer(96, 96, 3)
        self.branch_pool = Layer(inward, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, 224 + pooled, S, S)."""
        fives = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), fives, threes, self.branch_pool(average(x))], 1)


class BlockB(nn.Module):
    """35x35 to 17x17 maps: 3x3 and two 3x3 of stride 2, and a max pool."""

    def __init__(self, inward: int) -> None:
        super().__init__()
        self.branch3x3 = Layer(inward, 384, 3, stride=2, padded=False)
        self.branch3x3dbl_1 = Layer(inward, 64, 1)
        self.branch3x3dbl_2 = Layer(64, 96, 3)
        self.branch3x3dbl_3 = Layer(96, 96, 3, stride=2, padded=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C + 480, (S - 1) / 2, (S - 1) / 2)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, stride=2)], 1)


class BlockC(nn.Module):
    """17x17 maps: 1x1, 7x7 as 1x7 and 7x1, twice that, pool; to 768 channels."""

    def __init__(self, inward: int, narrow: int) -> None:
        super().__init__()
        self.branch1x1 = Layer(inward, 192, 1)
        self.branch7x7_1 = Layer(inward, narrow, 1)
        self.branch7x7_2 = Layer(narrow, narrow, (1, 7))
        self.branch7x7_3 = Layer(narrow, 192, (7, 1))
        self.branch7x7dbl_1 = Layer(inward, narrow, 1)
        self.branch7x7dbl_2 = Layer(narrow, narrow, (7, 1))
        self.branch7x7dbl_3 = Layer(narrow, narrow, (1, 7))
        self.branch7x7dbl_4 = Layer(narrow, narrow, (7, 1))
        self.branch7x7dbl_5 = Layer(narrow, 192, (1, 7))
        self.branch_pool = Layer(inward, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, 768, S, S)."""
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(average(x))], 1)


class BlockD(nn.Module):
    """17x17 to 8x8 maps: 3x3 and 7x7 then 3x3, of stride 2, and a max pool."""

    def __init__(self, inward: int) -> None:
        super().__init__()
        self.branch3x3_1 = Layer(inward, 192, 1)
        self.branch3x3_2 = Layer(192, 320, 3, stride=2, padded=False)
        self.branch7x7x3_1 = Layer(inward, 192, 1)
        self.branch7x7x3_2 = Layer(192, 192, (1, 7))
        self.branch7x7x3_3 = Layer(192, 192, (7, 1))
        self.branch7x7x3_4 = Layer(192, 192, 3, stride=2, padded=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, C + 512, (S - 1) / 2, (S - 1) / 2)."""
        threes = self.branch3x3_2(self.branch3x3_1(x))
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([threes, sevens, functional.max_pool2d(x, 3, stride=2)], 1)


class BlockE(nn.Module):
    """8x8 maps: 1x1, 3x3 forked into 1x3 and 3x1, two 3x3 forked likewise, pool; to 2048 channels."""

    def __init__(self, inward: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = Layer(inward, 320, 1)
        self.branch3x3_1 = Layer(inward, 384, 1)
        self.branch3x3_2a = Layer(384, 384, (1, 3))
        self.branch3x3_2b = Layer(384, 384, (3, 1))
        self.branch3x3dbl_1 = Layer(inward, 448, 1)
        self.branch3x3dbl_2 = Layer(448, 384, 3)
        self.branch3x3dbl_3a = Layer(384, 384, (1, 3))
        self.branch3x3dbl_3b = Layer(384, 384, (3, 1))
        self.branch_pool = Layer(inward, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to (B, 2048, S, S)."""
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pooled),
            ],
            1,
        )


class InceptionFront(nn.Module):
    """From the image to Mixed_6e: 768 features, the means of its 17x17 maps; it does not classify."""

    num_features = 768
    num_classes: int | None = None
    optional = r"AuxLogits\..*|Mixed_7.*|fc\..*"
    """Names of arrays that may come with the weights and are not used."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Layer(3, 32, 3, stride=2, padded=False)
        self.Conv2d_2a_3x3 = Layer(32, 32, 3, padded=False)
        self.Conv2d_2b_3x3 = Layer(32, 64, 3)
        self.Conv2d_3b_1x1 = Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = Layer(80, 192, 3, padded=False)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, 128)
        self.Mixed_6c = BlockC(768, 160)
        self.Mixed_6d = BlockC(768, 160)
        self.Mixed_6e = BlockC(768, 192)

    def maps(self, x: Tensor) -> Tensor:
        """Images (B, 1 or 3, S, S) in [-1, 1] to Mixed_6e (B, 768, 17, 17)."""
        # The published order is (x + 1) / 2, resize, 2 x - 1. The outer two cancel: a resize is a weighted mean.
        x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, stride=2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        return self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (B, 1 or 3, S, S) in [-1, 1] to features (B, 768)."""
        return self.maps(x).mean((2, 3)), None


class Inception(InceptionFront):
    """The whole network: 2048 features, the means of Mixed_7c's 8x8 maps, and 1,008 classes."""

    num_features = 2048
    num_classes = 1008
    optional = r"AuxLogits\..*|fc\.bias"

    def __init__(self) -> None:
        super().__init__()
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, maximum=False)
        self.Mixed_7c = BlockE(2048, maximum=True)
        self.fc = nn.Linear(2048, 1008, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (B, 1 or 3, S, S) in [-1, 1] to features (B, 2048) and logits without bias (B, 1008)."""
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(self.maps(x)))).mean((2, 3))
        return features, self.fc(features)
