"""Whether ours and the textbook's Algorithm 1 are the same function: networks, chains, losses, gradients.

Both get the same weights, the same spectral vectors, held still, and the same noise (torch's global
generator, equally seeded: both draw z, the data chain's noise, q's, the latent chain's, in this order).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from textbook import Draws, Textbook
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dualmcmc import spectral
from dualmcmc.networks.layers import PooledConv2d
from dualmcmc.noise import Noise
from dualmcmc.sampling import Explanation, Synthesis, explain, synthesise
from dualmcmc.settings import Config
from dualmcmc.storage import pretrained
from dualmcmc.teaching import DualMCMCTeaching
from dualmcmc.trio import Trio

TOLERANCE = 1e-3
"""Of values: float32 rounds to 6e-8, forty evaluations of a network enlarge that."""
KINK_TOLERANCE = 2e-2
"""Of gradients and chains: where rounding carries a ReLU over its kink, a whole term comes or goes."""
LATENT_STEP = 0.128
"""Of the latent chains that `check` compares, at most, over the image's side: 0.002 for 64 pixels."""


class GlobalNoise(Noise):
    """Draws from torch's global generator, whatever the stream."""

    def stream(self, *name: int | str) -> Noise:
        return self

    def normal_like(self, x: Tensor) -> Tensor:
        return torch.randn(x.shape, device=x.device)


def layers(net: nn.Module) -> list[nn.Module]:
    """The layers that have weights; both libraries list them in the same order."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.GroupNorm | PooledConv2d
    return [module for module in net.modules() if isinstance(module, kinds)]


def learned(layer: nn.Module) -> list[Tensor]:
    """Weight before spectral norm, and bias if there is one."""
    if parametrize.is_parametrized(layer, "weight"):
        weight: Any = layer.parametrizations.weight.original  # type: ignore[union-attr]
    else:
        weight = getattr(layer, "weight_orig", layer.weight)
    bias = getattr(layer, "bias", None)
    return [weight] if bias is None else [weight, bias]


@torch.no_grad()
def copy_weights(trio: Trio, book: Textbook) -> None:
    """Makes the textbook's networks the functions that the trio's are."""
    for (_, ours), theirs in zip(trio.named_children(), book.networks, strict=True):
        for layer, other in zip(layers(ours), layers(theirs), strict=True):
            for source, target in zip(learned(layer), learned(other), strict=True):
                if source.shape != target.shape:
                    raise ValueError(f"{layer} has shape {source.shape}, the textbook's {target.shape}")
                target.copy_(source)
            if parametrize.is_parametrized(layer, "weight"):
                norm = layer.parametrizations.weight[0]  # type: ignore[union-attr, index]
                other.weight_u.copy_(norm._u)  # type: ignore[operator, union-attr]
                other.weight_v.copy_(norm._v)  # type: ignore[operator, union-attr]


def images(config: Config, seed: int = 0, device: str = "cpu") -> Tensor:
    """Stand-ins for a batch of data: smooth random images in [-1, 1], shape (B, C, S, S)."""
    generator = torch.Generator().manual_seed(seed)
    size = config.images.size
    coarse = torch.randn(config.optim.batch_size, config.images.channels, 4, 4, generator=generator)
    return nn.functional.interpolate(coarse, size=(size, size), mode="bicubic").tanh().to(device)


def gradient(parameter: Tensor) -> Tensor:
    """Its gradient; ValueError: no loss reached it."""
    if parameter.grad is None:
        raise ValueError("a parameter that no loss reaches")
    return parameter.grad


def deviation(ours: Tensor, theirs: Tensor, scale: Tensor | None = None) -> float:
    """Largest difference, as a share of the largest value (of `scale`, if given)."""
    largest = (theirs if scale is None else scale).abs().max()
    return float((ours - theirs).abs().max() / largest)


def check(config: Config, seed: int = 0) -> dict[str, float]:
    """Largest relative deviation of each thing that ours and the textbook's iteration compute, on the CPU.

    Chain ends are compared by their displacements, which are far smaller than the states; the gap of
    energies as a share of the energies; losses without the Gaussian's constants, which textbooks drop.
    The latent chain's step is at most `LATENT_STEP` over the side: with an untrained generator of 64 pixels
    the presets' step moves codes by ten prior deviations and enlarges any rounding a thousandfold.
    The textbook's losses get our draws, so that they are compared on equal images and codes.
    """
    torch.manual_seed(seed)
    gentle = replace(
        config.method.latent_chain, step=min(config.method.latent_chain.step, LATENT_STEP / config.images.size)
    )
    config = replace(config, method=replace(config.method, latent_chain=gentle))
    method, x = config.method, images(config)
    trio, book = pretrained.build_trio(config), Textbook(config)
    spectral.power_iteration(trio.energy, 10)
    teaching = DualMCMCTeaching(trio, method)

    torch.manual_seed(seed)
    losses = teaching(x, GlobalNoise(0))
    losses.total().backward()
    torch.manual_seed(seed)
    synthesis = synthesise(teaching.frozen(), len(x), method.data_chain, method.start, noise=GlobalNoise(0))
    explanation = explain(teaching.frozen(), x, method.latent_chain, noise=GlobalNoise(0))

    copy_weights(trio, book)
    book.energy.eval()  # holds u and v still
    torch.manual_seed(seed)
    d = book.draw(x)
    same = Draws(*synthesis, *explanation)
    their_losses = (
        book.energy_loss(x, same.x_model),
        book.generator_loss(x, same),
        book.inference_loss(x, same),
    )
    torch.stack(their_losses).sum().backward()

    with torch.no_grad():
        h, (mean, log_variance), their_q = trio.h(x), trio.q(x), book.inference(x)
        deviations = {
            "h(x)": deviation(h, book.h(x)),
            "g(z)": deviation(trio.g(d.z_prior), book.generator(d.z_prior)),
            "q(z|x)": max(deviation(mean, their_q[0]), deviation(log_variance, their_q[1])),
            "data chain": deviation(synthesis.x_model - synthesis.x_gen, d.x_model - d.x_gen),
            "latent chain": deviation(explanation.z_post - explanation.z_init, d.z_post - d.z_init),
        }
        generator, inference = _without_constants(config, synthesis, explanation)
        deviations["energy loss"] = deviation(losses.energy, their_losses[0], h / trio.temperature)
        deviations["generator loss"] = deviation(losses.generator - generator, their_losses[1])
        deviations["inference loss"] = deviation(losses.inference - inference, their_losses[2])
    for (name, ours), theirs in zip(trio.named_children(), book.networks, strict=True):
        pairs = [
            (gradient(own), gradient(other))
            for layer, twin in zip(layers(ours), layers(theirs), strict=True)
            for own, other in zip(learned(layer), learned(twin), strict=True)
        ]
        largest = max(other.abs().max() for _, other in pairs)
        # A bias before a GroupNorm of one channel a group has none but rounding: hence the floor.
        scales = [torch.maximum(other.abs().max(), largest / 1000) for _, other in pairs]
        deviations[f"{name} gradient"] = max(map(deviation, *zip(*pairs, strict=True), scales))
    return deviations


def beyond_tolerance(deviations: dict[str, float]) -> list[str]:
    """What of `check`'s findings is not within its tolerance (what is not finite, too)."""
    kinked = ("gradient", "chain")
    limits = {name: KINK_TOLERANCE if name.endswith(kinked) else TOLERANCE for name in deviations}
    return [name for name, found in deviations.items() if not found < limits[name]]


def _without_constants(config: Config, s: Synthesis, e: Explanation) -> tuple[float, float]:
    """What log p(x, z) and log q(z given x) hold beside squares and variances, weighted as in the losses."""
    m, d = config.method, config.networks.latent_dim
    pixels = config.images.channels * config.images.size**2
    of_x, of_z = pixels * math.log(m.sigma * math.sqrt(2 * math.pi)), d * math.log(2 * math.pi) / 2
    generator = (m.generator_data_weight + m.generator_model_weight) * (of_x + of_z)
    generator += m.generator_data_weight * float(e.z_post.square().sum(1).mean() / 2)
    generator += m.generator_model_weight * float(s.z_prior.square().sum(1).mean() / 2)
    return generator, (m.inference_data_weight + m.inference_model_weight) * of_z
