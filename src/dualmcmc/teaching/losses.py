"""The three losses. Each takes draws that carry no gradient, so each reaches one network, without switches.

    (E1)  energy     mean log pi(x-) - mean log pi(x+)                     minus Eq. 17
    (G1)  generator  -mean log p(x, z) over pairs (x, z)                   minus one term of Eq. 18
    (I1)  inference  -mean log q(z given x) over pairs (x, z)              minus one term of Eq. 19

Source: Cui & Han (2023), Appendix B.3. All return scalars to minimise, in nats per image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc import spectral
from dualmcmc.trio import Trio


class Losses(NamedTuple):
    """One iteration's losses (scalars with gradient) and what is worth logging (scalars without)."""

    energy: Tensor
    generator: Tensor
    inference: Tensor
    seen: dict[str, Tensor]

    def total(self) -> Tensor:
        """Their sum: one backward serves all three, since each reaches its own network only."""
        return self.energy + self.generator + self.inference


def energy_loss(trio: Trio, x_data: Tensor, x_model: Tensor, penalty: float = 0.0) -> tuple[Tensor, Tensor]:
    """Eq. (E1): if x_model follows pi, its gradient is minus that of the mean log-likelihood.

    Arguments:
        trio: only its energy network gets a gradient.
        x_data: x+, (B, *).
        x_model: x-, (B, *).
        penalty: weight of mean h(x+)^2 + mean h(x-)^2 beside the gap of h; both are divided by T.

    Returns:
        The loss, and the gap mean h(x+) - mean h(x-), detached: two scalars.
    """
    with spectral.weights_once(trio.energy):
        h_data, h_model = trio.h(torch.cat([x_data, x_model])).chunk(2)
    gap = h_data.mean() - h_model.mean()
    loss = -gap
    if penalty:
        loss = loss + penalty * (h_data.square().mean() + h_model.square().mean())
    return loss / trio.temperature, gap.detach()


def generator_loss(trio: Trio, x: Tensor, z: Tensor) -> Tensor:
    """Eq. (G1): x (B, *), z (B, d). Only the generator gets a gradient."""
    return -trio.log_joint(x, z).mean()


def inference_loss(trio: Trio, x: Tensor, z: Tensor) -> Tensor:
    """Eq. (I1): x (B, *), z (B, d). Only the inference network gets a gradient."""
    return -trio.log_q(x, z).mean()
