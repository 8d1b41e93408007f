"""The losses. Each takes draws that carry no gradient, so each reaches one network, without switches.

    (E1)  energy     mean log pi(x-) - mean log pi(x+)                     minus Eq. 17
    (G1)  generator  -mean log p(x, z) over pairs (x, z)                   minus one term of Eq. 18
    (I1)  inference  -mean log q(z given x) over pairs (x, z)              minus one term of Eq. 19
    (V1)  ELBO       mean KL(q(z given x) || p(z)) - log p(x given z)      of generator and inference network

Source: Cui & Han (2023), Appendix B.3; (V1): autoencoders'. All return scalars to minimise, in nats per image.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc import densities, spectral
from dualmcmc.noise import Noise
from dualmcmc.pieces import taught
from dualmcmc.trio import Trio


class Losses(NamedTuple):
    """An update's losses (scalars with gradient) and what is worth logging (scalars without).

    A loss that teaches two networks at once (an ELBO) stands under the first of them; what a phase or a method
    does not teach is None.
    """

    energy: Tensor | None = None
    generator: Tensor | None = None
    inference: Tensor | None = None
    seen: Mapping[str, Tensor] = MappingProxyType({})

    def named(self) -> dict[str, Tensor]:
        """Those there are, by network."""
        losses = {"energy": self.energy, "generator": self.generator, "inference": self.inference}
        return {name: loss for name, loss in losses.items() if loss is not None}

    def total(self) -> Tensor:
        """Their sum: one backward serves all, since each reaches its own network only."""
        return torch.stack([*self.named().values()]).sum()


FAR = 2.0
"""A pixel beyond [-FAR, FAR] is far outside the box of images."""


@torch.no_grad()
def gauges(h_data: Tensor, h_model: Tensor, x_model: Tensor) -> dict[str, Tensor]:
    """What the guard watches of an energy: h of x+ and x-, each (B,), and x- (B, *); scalars.

    Returns:
        energy_gap_h: mean h(x+) - mean h(x-); energy_size_h: mean |h| of both; saturation: the share of x-'s
        components beyond `FAR`.
    """
    return {
        "energy_gap_h": h_data.mean() - h_model.mean(),
        "energy_size_h": (h_data.abs().mean() + h_model.abs().mean()) / 2,
        "saturation": (x_model.abs() > FAR).float().mean(),
    }


def energy_loss(
    trio: Trio, x_data: Tensor, x_model: Tensor, penalty: float = 0.0
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. (E1): if x_model follows pi, its gradient is minus that of the mean log-likelihood.

    Arguments:
        trio: only its energy network gets a gradient.
        x_data: x+, (B, *).
        x_model: x-, (B, *).
        penalty: weight of mean h(x+)^2 + mean h(x-)^2 beside the gap of h; both are divided by T.

    Returns:
        The loss, a scalar, and `gauges`.

    Raises:
        ValueError: there are not as many x+ as x-.
    """
    if len(x_data) != len(x_model):
        raise ValueError(
            f"{len(x_data)} images of data for {len(x_model)} samples: the energy learns from as many"
        )

    def loss(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        with spectral.weights_once(trio.part("energy")):
            h_data, h_model = trio.h(torch.cat([x_data[rows], x_model[rows]])).chunk(2)
        gap = h_model.mean() - h_data.mean()
        if penalty:
            gap = gap + penalty * (h_data.square().mean() + h_model.square().mean())
        return gap / trio.temperature, h_data, h_model

    found, h_data, h_model = taught(len(x_data), trio.at_once, [trio.part("energy")], loss)
    return found, gauges(h_data, h_model, x_model)


def generator_loss(trio: Trio, x: Tensor, z: Tensor) -> Tensor:
    """Eq. (G1): x (B, *), z (B, d). Only the generator gets a gradient."""
    loss = lambda rows: (-trio.log_joint(x[rows], z[rows]).mean(),)  # noqa: E731
    return taught(len(x), trio.at_once, [trio.part("generator")], loss)[0]


def inference_loss(trio: Trio, x: Tensor, z: Tensor) -> Tensor:
    """Eq. (I1): x (B, *), z (B, d). Only the inference network gets a gradient."""
    loss = lambda rows: (-trio.log_q(x[rows], z[rows]).mean(),)  # noqa: E731
    return taught(len(x), trio.at_once, [trio.part("inference")], loss)[0]


def negative_elbo(
    trio: Trio, x: Tensor, *, kl_weight: float, noise: Noise, decoder: Trio | None = None
) -> tuple[Tensor, Tensor]:
    """Eq. (V1): mean over images of KL(q(z given x) || p(z)) times its weight, minus log p(x given z), z ~ q.

    The draw is reparametrised, so generator and inference network both get a gradient; with weight 1 it is minus a
    lower bound of log p(x) in nats (Kingma & Welling, 2014).

    Arguments:
        trio: generator and inference network.
        x: images (B, *).
        kl_weight: of the divergence.
        noise: of the draw of z.
        decoder: whose generator is used, if another's (a frozen one gets no gradient).

    Returns:
        The loss, and the codes z (B, d), detached.
    """
    decoder, own = decoder or trio, noise.stream("q")

    def loss(rows: slice) -> tuple[Tensor, Tensor]:
        mean, log_variance = trio.q(x[rows])
        z = densities.draw_diagonal_normal(mean, log_variance, noise=own.part(rows, len(x)))
        likelihood = densities.normal(x[rows], decoder.g(z), decoder.sigma)
        return (kl_weight * densities.kl_to_standard_normal(mean, log_variance) - likelihood).mean(), z

    found, z = taught(len(x), trio.at_once, [trio.part("inference"), decoder.part("generator")], loss)
    return found, z
