"""JEM, Grathwohl et al. (2020): a classifier is an energy-based model, its log-sum-exp of logits being h.

    x- starts from                           energy
    a buffer of chains, a share from noise   x+ / x-, and the cross entropy of x+'s labels

Logits f(x) in R^K are a joint density exp(f(x)[y]) up to one constant, so h(x) = log sum_y exp f(x)[y] and
log p(y given x) = f(x)[y] - h(x), a softmax. The loss is, per image,

    class_weight * (h(x+) - f(x+)[y]) + h(x-) - h(x+)  [+ penalty * (h(x+)^2 + h(x-)^2)].

As in the source, the gap of h is not divided by T, as it is for the other methods: classifier and density share
their logits, so their weights are relative. The chain's noise, though, is smaller than such a density's own
(T < 1), and log pi = h / T is what the chain follows, there as here. Source: wgrathwohl/JEM, train_wrn_ebm.py.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from dualmcmc import densities, spectral
from dualmcmc.errors import InputError
from dualmcmc.methods import JEM
from dualmcmc.noise import Noise
from dualmcmc.sampling import revise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import buffer, from_noise
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.data_noise import noised
from dualmcmc.teaching.losses import Losses, gauges


class JEMTeaching(Teaching):
    """A classifier as an energy, from a buffer of chains.

    Arguments:
        trio: its energy network gives logits (B, K).
        settings: the chain, the buffer, the weights.

    Raises:
        InputError: on a forward: the images have no labels, or one class only.
    """

    settings: JEM

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]; `update.labels` are its classes, int64 (B,)."""
        s = self.settings
        if update.labels is None:
            raise InputError(
                "method jem needs labels, and the data have none: choose another method or other data"
            )
        frozen = self.begin_update()
        x_data = noised(x_data, s.data_noise, noise=noise)
        watch.mark("other")

        visit = from_noise.visit(self.rows, x_data, s.buffer, s.restart, noise=noise, update=update)
        x_model = revise(frozen, visit.states, s.data_chain, noise=noise)
        buffer.put_back(self.rows["buffer"], visit.slots, x_model)
        watch.mark("data_chain")

        energy, seen = self._joint_loss(x_data, update.labels, x_model)
        return Losses(energy, seen={**seen, "data_chain_moved": distance(visit.states, x_model)})

    def _joint_loss(self, x_data: Tensor, labels: Tensor, x_model: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The module's formula, and its parts without gradient."""
        s, energy = self.settings, self.trio.part("energy")
        with spectral.weights_once(energy):
            logits = densities.at_least_float32(energy(x_data))
            h_model = self.trio.h(x_model)
        if logits.ndim != 2:
            raise InputError("method jem needs two classes or more: choose another method or other data")
        h_data = logits.logsumexp(1)
        cross_entropy, gap = functional.cross_entropy(logits, labels), h_data.mean() - h_model.mean()
        loss = s.class_weight * cross_entropy - gap
        if s.energy_penalty:
            loss = loss + s.energy_penalty * (h_data.square().mean() + h_model.square().mean())
        with torch.no_grad():
            accuracy = (logits.argmax(1) == labels).float().mean()
        told = {"cross_entropy": cross_entropy.detach(), "accuracy": accuracy}
        return loss, {**gauges(h_data, h_model, x_model), **told}
