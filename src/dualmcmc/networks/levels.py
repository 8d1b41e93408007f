"""An energy network that is told a noise level: one constant channel per level beside the image (one-hot).

Through the first convolution that is a learned bias per level and channel, the smallest change that makes a
preset's network conditional; Gao et al. (2021) add a learned embedding of the level in each of their blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Levelled(nn.Module):
    """h(x, level): (B, C, S, S) to (B,); without a level that of level 0, the least noise.

    Arguments:
        net: takes (B, C + levels, S, S).
        levels: how many there are.
    """

    def __init__(self, net: nn.Module, levels: int) -> None:
        super().__init__()
        self.net, self.levels = net, levels

    def forward(self, x: Tensor, level: Tensor | int = 0) -> Tensor:
        """h of images x (B, C, S, S) at their levels, int64 (B,) or one for all; returns (B,)."""
        chosen = torch.zeros(len(x), self.levels, device=x.device, dtype=x.dtype)
        if isinstance(level, int):
            chosen[:, level] = 1
        else:
            chosen.scatter_(1, level[:, None], 1)
        maps = chosen[:, :, None, None].expand(-1, -1, *x.shape[2:])
        out: Tensor = self.net(torch.cat([x, maps], 1))
        return out
