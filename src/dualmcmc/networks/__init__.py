"""The three networks, sized by settings: h: image -> scalar, g: latent -> image, x -> (mean, log variance) of z.

`residual.py` has the networks of the paper's main tables, `simple.py` those of its Tables 6 and 9,
`inference.py` the inference network of both. Whoever has other networks builds a `Trio` of their own:
the chains and the teaching need no more than the three shapes above.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import nn

from dualmcmc import spectral
from dualmcmc.networks.inference import Inference, inference_strides
from dualmcmc.networks.levels import Levelled
from dualmcmc.networks.residual import ResidualEnergy, ResidualGenerator
from dualmcmc.networks.simple import SimpleEnergy, SimpleGenerator
from dualmcmc.settings import Images, Networks

__all__ = [
    "PARTS",
    "Built",
    "Inference",
    "Levelled",
    "ResidualEnergy",
    "ResidualGenerator",
    "SimpleEnergy",
    "SimpleGenerator",
    "build",
]

PARTS = ("energy", "generator", "inference")
"""The networks there are, in the order in which they are drawn."""


class Built(NamedTuple):
    """What `build` makes; a method without a part leaves it out."""

    energy: nn.Module | None
    generator: nn.Module | None
    inference: nn.Module | None


def build(
    networks: Networks, images: Images, parts: Collection[str] = PARTS, *, outputs: int = 1, levels: int = 0
) -> Built:
    """Energy, generator and inference network, freshly initialised from torch's global generator.

    Shapes: h takes (B, C, S, S) to (B,), or to (B, K) with `outputs` K; g takes (B, d) to (B, C, S, S) in [-1, 1];
    the inference network takes (B, C, S, S) to two (B, d).

    Arguments:
        networks: family and widths.
        images: size and channels.
        parts: those wanted; all are drawn, so that a network starts alike whatever stands beside it.
        outputs: of the energy network.
        levels: noise levels that the energy network is told (`levels.py`); 0: none.
    """
    size, channels, d = images.size, images.channels, networks.latent_dim
    energy: nn.Module
    generator: nn.Module
    if networks.family == "residual":
        energy = ResidualEnergy(size, channels + levels, networks.energy_width, outputs)
        generator = ResidualGenerator(size, channels, d, networks.generator_width, networks.norm)
    else:
        energy = SimpleEnergy(size, channels + levels, networks.energy_width, outputs)
        generator = SimpleGenerator(size, channels, d, networks.generator_width, networks.norm)
    strides = inference_strides(size, networks.family)
    inference = Inference(size, channels, d, networks.inference_width, strides)
    if networks.spectral_norm:
        spectral.attach(energy)
    if levels:
        energy = Levelled(energy, levels)
    made = Built(energy, generator, inference)
    return Built(*(network if name in parts else None for name, network in zip(PARTS, made, strict=True)))
