"""The three networks, sized by settings: h: image -> scalar, g: latent -> image, x -> (mean, log variance) of z.

`residual.py` has the networks of the paper's main tables, `simple.py` those of its Tables 6 and 9,
`inference.py` the inference network of both. Whoever has other networks builds a `Trio` of their own:
the chains and the teaching need no more than the three shapes above.
"""

from __future__ import annotations

from torch import nn

from dualmcmc import spectral
from dualmcmc.networks.inference import Inference, inference_strides
from dualmcmc.networks.residual import ResidualEnergy, ResidualGenerator
from dualmcmc.networks.simple import SimpleEnergy, SimpleGenerator
from dualmcmc.settings import Images, Networks

__all__ = ["Inference", "ResidualEnergy", "ResidualGenerator", "SimpleEnergy", "SimpleGenerator", "build"]


def build(networks: Networks, images: Images) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Energy, generator and inference network, freshly initialised from torch's global generator.

    Shapes: h takes (B, C, S, S) to (B,); g takes (B, d) to (B, C, S, S) in [-1, 1]; the inference
    network takes (B, C, S, S) to two (B, d).
    """
    size, channels, d = images.size, images.channels, networks.latent_dim
    energy: nn.Module
    generator: nn.Module
    if networks.family == "residual":
        energy = ResidualEnergy(size, channels, networks.energy_width)
        generator = ResidualGenerator(size, channels, d, networks.generator_width, networks.norm)
    else:
        energy = SimpleEnergy(size, channels, networks.energy_width)
        generator = SimpleGenerator(size, channels, d, networks.generator_width, networks.norm)
    strides = inference_strides(size, networks.family)
    inference = Inference(size, channels, d, networks.inference_width, strides)
    if networks.spectral_norm:
        spectral.attach(energy)
    return energy, generator, inference
