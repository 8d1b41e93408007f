"""ResNet-20 for CIFAR-10 (He et al., 2016, "Deep Residual Learning", section 4.2): 64 features and 10 classes.

Three stages of three basic blocks with 16, 32 and 64 channels. Shortcuts have no parameters (option A): where a
stage halves the map they take every second pixel and add channels of zeros on both sides. Batch norm is folded
into the convolutions (`folding.py`). A distance in these features is no FID: it is printed as `fd_resnet20`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 32
EPSILON = 1e-5
"""Added to the variance by the batch norm of this network."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    """relu(shortcut(x) + conv(relu(conv(x))))."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.grown = (outward - inward) // 2
        self.conv1 = nn.Conv2d(inward, outward, 3, stride=2 if self.grown else 1, padding=1)
        self.conv2 = nn.Conv2d(outward, outward, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, S, S) to itself, or to (B, 2C, S/2, S/2)."""
        out = self.conv2(functional.relu(self.conv1(x), inplace=True))
        if not self.grown:
            return functional.relu(out.add_(x), inplace=True)
        # The channels of zeros that the shortcut would add are those that the sum leaves alone.
        out[:, self.grown : -self.grown].add_(x[:, :, ::2, ::2])
        return functional.relu(out, inplace=True)


class ResNet20(nn.Module):
    """From the image to 64 features, the means of the last 8x8 maps, and 10 logits."""

    num_features = 64
    num_classes: int | None = 10
    optional = r"(?!)"
    """Names of arrays that may come with the weights and are not used: none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1)
        self.layer1 = nn.Sequential(Block(16, 16), Block(16, 16), Block(16, 16))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (B, 1 or 3, S, S) in [-1, 1] to features (B, 64) and logits (B, 10)."""
        if x.shape[-2:] != (SIDE, SIDE):
            x = functional.interpolate(x, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        # ((x + 1) / 2 - mean) / deviation; not folded into the first kernel, whose padding is zero after this
        scale = x.new_tensor([0.5 / d for d in DEVIATION]).view(3, 1, 1)
        shift = x.new_tensor([(0.5 - m) / d for m, d in zip(MEAN, DEVIATION, strict=True)]).view(3, 1, 1)
        x = torch.addcmul(shift, x, scale).contiguous(memory_format=torch.channels_last)
        x = functional.relu(self.conv1(x), inplace=True)
        features = self.layer3(self.layer2(self.layer1(x))).mean((2, 3))
        return features, self.linear(features)
