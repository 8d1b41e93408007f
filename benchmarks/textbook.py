"""Algorithm 1 as most people would write it, to compare ours with: in time, and number for number.

The networks are here as the paper describes them, one operation after the other (a convolution, then a
pooling; a doubling, then a 1x1 convolution; a head that is a convolution as large as its map), trained in
the usual ways: `torch.nn.utils.spectral_norm`, which iterates at every evaluation; parameters that keep
requires_grad during chains; torch's default memory layout; torch.randn; an Adam and a backward per network.
Two things are ours so that numbers can be compared (`agreement.py`): the order of draws, and the function
that chooses GroupNorm's groups.
"""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualmcmc.networks.layers import normalisation
from dualmcmc.settings import Chain, Config

Order = Literal["algorithm1", "released"]


def start_of(size: int) -> int:
    """The side of the smallest map."""
    return 7 if size == 28 else 4


def conv(channels_in: int, channels_out: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the map's size, or halves it exactly."""
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=(kernel - 1) // 2, bias=bias)


class EnergyBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, *, down: bool, stem: bool) -> None:
        super().__init__()
        self.down, self.stem = down, stem
        self.conv1 = conv(channels_in, channels_out, 3)
        self.conv2 = conv(channels_out, channels_out, 3)
        self.skip = conv(channels_in, channels_out, 1) if down else nn.Identity()
        self.pool = nn.AvgPool2d(2) if down else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.stem:
            return self.pool(self.conv2(functional.relu(self.conv1(x)))) + self.skip(self.pool(x))
        main = self.conv2(functional.relu(self.conv1(functional.relu(x))))
        return self.pool(main) + self.pool(self.skip(x))


class GeneratorBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm1 = normalisation("group", channels_in)
        self.conv1 = conv(channels_in, channels_out, 3, bias=True)
        self.norm2 = normalisation("group", channels_out)
        self.conv2 = conv(channels_out, channels_out, 3, bias=True)
        self.skip = conv(channels_in, channels_out, 1, bias=True)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv1(self.up(functional.relu(self.norm1(x))))
        main = self.conv2(functional.relu(self.norm2(main)))
        return main + self.skip(self.up(x))


class GlobalAverage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def residual_networks(size: int, channels: int, latent: int, width_e: int, width_g: int) -> list[nn.Sequential]:
    """Energy and generator of the paper's main tables; beyond 64 pixels further blocks of the full width."""
    start = start_of(size)
    if size < 64:
        widths_e, downs = [channels] + [width_e] * 4, [True, True, False, False]
        widths_g = [width_g] * (int(math.log2(size // start)) + 1)
    else:
        beyond = int(math.log2(size // 64))
        widths_e = [channels] + [width_e // k for k in (16, 8, 4, 2, 1)] + [width_e] * beyond
        widths_g = [width_g] * beyond + [width_g // k for k in (1, 2, 4, 8, 16)]
        downs = [True] * (len(widths_e) - 1)
    blocks = [
        EnergyBlock(c_in, c_out, down=down, stem=i == 0)
        for i, ((c_in, c_out), down) in enumerate(zip(pairwise(widths_e), downs, strict=True))
    ]
    energy = nn.Sequential(*blocks, nn.ReLU(), GlobalAverage(), nn.Linear(width_e, 1, bias=False))
    generator = nn.Sequential(
        nn.Linear(latent, width_g * start * start),
        nn.Unflatten(1, (width_g, start, start)),
        *(GeneratorBlock(*pair) for pair in pairwise(widths_g)),
        normalisation("group", widths_g[-1]),
        nn.ReLU(),
        conv(widths_g[-1], channels, 3, bias=True),
        nn.Tanh(),
    )
    return [energy, generator]


def simple_networks(size: int, channels: int, latent: int, width_e: int, width_g: int) -> list[nn.Sequential]:
    """Energy and generator of Table 6; at sizes other than 32 the widest layers repeat or are missing."""
    start = start_of(size)
    halved = int(math.log2(size // start))
    widths_e = [width_e * min(2**i, 4) for i in range(halved + 1)]
    layers: list[nn.Module] = [conv(channels, width_e, 3), nn.LeakyReLU(0.2)]
    for pair in pairwise(widths_e):
        layers += [conv(*pair, 4, 2), nn.LeakyReLU(0.2)]
    energy = nn.Sequential(*layers, nn.Conv2d(widths_e[-1], 1, start), nn.Flatten(0))

    widths_g = [8 * width_g] + [width_g * min(2 * 2**i, 8) for i in reversed(range(halved))]
    layers = [nn.Unflatten(1, (latent, 1, 1)), nn.ConvTranspose2d(latent, widths_g[0], start, bias=False)]
    layers += [normalisation("group", widths_g[0]), nn.ReLU()]
    for c_in, c_out in pairwise(widths_g):
        layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, bias=False)]
        layers += [normalisation("group", c_out), nn.ReLU()]
    return [energy, nn.Sequential(*layers, nn.ConvTranspose2d(widths_g[-1], channels, 3, 1, 1), nn.Tanh())]


class Inference(nn.Module):
    def __init__(self, size: int, channels: int, latent: int, width: int, *, first_strided: bool) -> None:
        super().__init__()
        start = start_of(size)
        halved = int(math.log2(size // start))
        strides = [2] * halved if first_strided else [1] + [2] * halved
        widths = [channels] + [width * min(2**i, 8) for i in range(len(strides))]
        layers: list[nn.Module] = []
        for pair, stride in zip(pairwise(widths), strides, strict=True):
            layers += [conv(*pair, 4 if stride == 2 else 3, stride), nn.LeakyReLU(0.2)]
        self.trunk = nn.Sequential(*layers)
        self.mean = nn.Conv2d(widths[-1], latent, start)
        self.log_variance = nn.Conv2d(widths[-1], latent, start)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x)
        return self.mean(features).flatten(1), self.log_variance(features).flatten(1)


class Draws(NamedTuple):
    z_prior: Tensor
    x_gen: Tensor
    x_model: Tensor
    z_init: Tensor
    z_post: Tensor


class Textbook:
    """Three networks, three optimisers, and one iteration in either order of updates.

    order: algorithm1 updates energy, generator and inference network from one set of draws; released
    updates the generator, then the inference network, then the energy on images that the new generator
    makes of the same codes, revised by a second data chain.
    """

    def __init__(self, config: Config, order: Order = "algorithm1", device: str = "cpu") -> None:
        self.method, self.order = config.method, order
        n, size, channels = config.networks, config.images.size, config.images.channels
        build = residual_networks if n.family == "residual" else simple_networks
        energy, generator = build(size, channels, n.latent_dim, n.energy_width, n.generator_width)
        strided = n.family == "residual" and size >= 64
        inference = Inference(size, channels, n.latent_dim, n.inference_width, first_strided=strided)
        if n.spectral_norm:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # the old way, on purpose
                for layer in energy.modules():
                    if isinstance(layer, nn.Conv2d | nn.Linear):
                        torch.nn.utils.spectral_norm(layer)
        self.energy, self.generator = energy.to(device), generator.to(device)
        self.inference = inference.to(device)
        self.latent_dim, self.device = n.latent_dim, device
        adams = config.optim.energy, config.optim.generator, config.optim.inference
        self.optimisers = [
            torch.optim.Adam(net.parameters(), lr=a.rate, betas=a.betas, weight_decay=a.weight_decay)
            for net, a in zip(self.networks, adams, strict=True)
        ]

    @property
    def networks(self) -> list[nn.Module]:
        return [self.energy, self.generator, self.inference]

    def h(self, x: Tensor) -> Tensor:
        """Up is likelier: minus the energy."""
        return self.energy(x).flatten()

    def data_chain(self, x: Tensor) -> Tensor:
        chain = self.method.data_chain
        for _ in range(chain.steps):
            x = x.detach().requires_grad_(True)
            gradient = torch.autograd.grad(self.h(x).sum(), x)[0]
            x = x + langevin(gradient, chain)
        return x.detach()

    def latent_chain(self, z: Tensor, x: Tensor) -> Tensor:
        chain = self.method.latent_chain
        for _ in range(chain.steps):
            z = z.detach().requires_grad_(True)
            log_joint = -self.squared_error(x, z) - z.square().sum() / 2
            gradient = torch.autograd.grad(log_joint, z)[0]
            z = z + langevin(gradient, chain)
        return z.detach()

    def squared_error(self, x: Tensor, z: Tensor) -> Tensor:
        return (x - self.generator(z)).square().sum() / (2 * self.method.sigma**2)

    def draw(self, x: Tensor) -> Draws:
        z_prior = torch.randn(len(x), self.latent_dim, device=self.device)
        x_gen = self.generator(z_prior).detach().float()
        x_model = self.data_chain(x_gen)
        mean, log_variance = self.inference(x)
        z_init = (mean + torch.exp(0.5 * log_variance) * torch.randn(mean.shape, device=self.device)).detach()
        return Draws(z_prior, x_gen, x_model, z_init, self.latent_chain(z_init, x))

    def energy_loss(self, x: Tensor, x_model: Tensor) -> Tensor:
        return (self.h(x_model).mean() - self.h(x).mean()) / self.method.data_chain.temperature

    def generator_loss(self, x: Tensor, d: Draws) -> Tensor:
        m = self.method
        data, model = self.squared_error(x, d.z_post), self.squared_error(d.x_model, d.z_prior)
        return (m.generator_data_weight * data + m.generator_model_weight * model) / len(x)

    def inference_loss(self, x: Tensor, d: Draws) -> Tensor:
        m = self.method
        data, model = self.code_loss(x, d.z_post), self.code_loss(d.x_model, d.z_prior)
        return m.inference_data_weight * data + m.inference_model_weight * model

    def code_loss(self, x: Tensor, z: Tensor) -> Tensor:
        mean, log_variance = self.inference(x)
        return ((z - mean) ** 2 / log_variance.exp() + log_variance).sum() / (2 * len(x))

    def update(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad()
        loss.backward()
        self.optimisers[which].step()

    def iteration(self, x: Tensor) -> None:
        draws = self.draw(x)
        if self.order == "algorithm1":
            self.update(0, self.energy_loss(x, draws.x_model))
        self.update(1, self.generator_loss(x, draws))
        self.update(2, self.inference_loss(x, draws))
        if self.order == "released":
            again = self.data_chain(self.generator(draws.z_prior).detach().float())
            self.update(0, self.energy_loss(x, again))


def langevin(gradient: Tensor, chain: Chain) -> Tensor:
    """What one Langevin step adds, Eq. (L1)."""
    noise = torch.randn(gradient.shape, device=gradient.device)
    return chain.step**2 / 2 * gradient + chain.step * math.sqrt(chain.temperature) * noise
