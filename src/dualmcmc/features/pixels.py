"""The image itself as its features: no weights, always at hand, and blind to all but colour and coarse shape.

Each channel is averaged over equal blocks down to at most 16x16 pixels. A distance in these features is printed
as `fd_pixels`; it compares models on the same data, and nothing else.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

SIDE = 16


class Pixels(nn.Module):
    """768 features: the pixels of a 16x16 colour picture, or fewer and then zeros, so that the number is known."""

    num_features = 3 * SIDE * SIDE
    num_classes: int | None = None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Images (B, 1 or 3, S, S) to (B, 768): the averages by channel, row and column, then zeros."""
        side = x.shape[-1]
        kept = max(n for n in range(1, min(SIDE, side) + 1) if side % n == 0)
        features = functional.avg_pool2d(x, side // kept).flatten(1)
        return functional.pad(features, (0, self.num_features - features.shape[1])), None
