"""What every feature network looks like from outside: images in [-1, 1] to features and class probabilities."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dualmcmc.errors import InputError
from dualmcmc.features.inception import InceptionFront
from dualmcmc.features.pixels import Pixels
from dualmcmc.features.resnet20 import ResNet20

Trunk = InceptionFront | ResNet20 | Pixels

_PART = {InceptionFront: 16, ResNet20: 64}
"""Images at a time on a CPU: what was fastest on one thread, and 0.3 GB at most."""
_PART_ELSEWHERE = 256


class Features(NamedTuple):
    """Of B images: features (B, F) and, from a network that classifies, probabilities (B, K)."""

    features: Tensor
    probabilities: Tensor | None


class FeatureNetwork(nn.Module):
    """A network to measure images with, frozen, in float32 whatever the caller's autocast; made by `load`.

    Attributes:
        label: how a distance in its features is printed: fid, fid768, fd_resnet20, fd_pixels, fd_<file>.
        num_features: F.
        num_classes: K, None if it does not classify.
        protocol: network, weights, input and resize rule; equal protocols mean equal features.
    """

    def __init__(self, trunk: Trunk, label: str, protocol: dict[str, Any]) -> None:
        super().__init__()
        self.trunk = trunk.eval().requires_grad_(False)
        self.label, self.protocol = label, protocol
        self.num_features, self.num_classes = trunk.num_features, trunk.num_classes

    @torch.no_grad()
    def forward(self, x: Tensor) -> Features:
        """Features of images; row i depends on image i alone.

        Arguments:
            x: (B, 1 or 3, S, S) float32, clamped to [-1, 1] and not rounded to 8 bits; grey is repeated to RGB
                for networks of colour.

        Returns:
            The features, on the images' device.

        Raises:
            InputError: another type or shape.
        """
        if x.dtype != torch.float32 or x.ndim != 4 or x.shape[1] not in (1, 3) or x.shape[2] != x.shape[3]:
            raise InputError(
                f"images are {x.dtype} of shape {tuple(x.shape)}: float32 (B, 1 or 3, S, S) in [-1, 1] is expected"
            )
        home = next((weight.device for weight in self.parameters()), x.device)
        size = _PART.get(type(self.trunk), _PART_ELSEWHERE) if home.type == "cpu" else _PART_ELSEWHERE
        with (
            torch.autocast(home.type, enabled=False),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            parts = [self._part(part.to(home)) for part in x.split(size)]
        features = torch.cat([part.features for part in parts]).to(x.device)
        if self.num_classes is None:
            return Features(features, None)
        probabilities = torch.cat([part.probabilities for part in parts if part.probabilities is not None])
        return Features(features, probabilities.to(x.device))

    def _part(self, x: Tensor) -> Features:
        features, logits = self.trunk(x.clamp(-1, 1))
        return Features(features, None if logits is None else logits.softmax(1))
