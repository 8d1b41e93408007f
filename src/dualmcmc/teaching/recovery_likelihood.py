"""Diffusion recovery likelihood, Gao et al. (2021): at each noise level, undo one step of noise.

    x- starts from                    energy
    the same image one level noisier  x+ / x- at the image's own level

Each image of the batch gets a level t of its own, uniformly, and noise: x+ = x_t and x_{t+1}, Eq. (Y1). The chain
on the conditional (Y2) takes x_{t+1} to x-, and the loss is that of all levels' conditional likelihoods, each with
the released weight w_t,

    mean over images of w_t (h(x-, t) - h(x+, t)) / T_0                                       (Y3)

whose Gaussian term has no weights to learn. As in the released code gaps of h are not divided by their own level's
temperature but all by one number, here level 0's, so that its share is in nats. Source:
ruiqigao/recovery_likelihood, model.py and config.py, with 6 levels. Ours: the preset's networks, told the level by
one-hot channels (`networks/levels.py`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dualmcmc import densities, levels, methods, spectral
from dualmcmc.methods import Chain, RecoveryLikelihood
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, gauges
from dualmcmc.trio import Trio


class RecoveryLikelihoodTeaching(Teaching):
    """The energy alone, at all noise levels at once.

    Arguments:
        trio: its energy network is told the level.
        settings: levels and chains.
    """

    settings: RecoveryLikelihood

    def __init__(self, trio: Trio, settings: Any) -> None:
        super().__init__(trio, settings)
        self.levels = methods.levels(self.settings)

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        level = draw_levels(x_data, s.levels, noise=noise)
        x, noisier = levels.diffuse(self.levels, x_data, level, noise=noise)
        watch.mark("other")

        start = levels.start(self.levels, noisier, level)
        chain = Chain(steps=s.level_steps, step=1.0)
        x_model = levels.recover(
            frozen, self.levels, start, noisier, level, chain, noise=noise.stream("data_chain")
        )
        watch.mark("data_chain")

        with spectral.weights_once(self.trio.part("energy")):
            h = densities.at_least_float32(self.trio.part("energy")(torch.cat([x, x_model]), level.repeat(2)))
        h_data, h_model = h.chunk(2)
        loss = (levels.at(self.levels, level, "weight", h_data) * (h_model - h_data)).mean()
        if s.energy_penalty:
            loss = loss + s.energy_penalty * (h_data.square().mean() + h_model.square().mean())
        seen = {**gauges(h_data, h_model, x_model), "data_chain_moved": distance(start, x_model)}
        return Losses(loss / self.trio.temperature, seen=seen)


def draw_levels(x: Tensor, count: int, *, noise: Noise) -> Tensor:
    """A level of 0 to count - 1 for each row of x (B, *), uniformly: int64 (B,)."""
    u = noise.stream("level").uniform_like(x.new_empty(len(x), 1))[:, 0]
    return (u * count).long().clamp_(max=count - 1)
