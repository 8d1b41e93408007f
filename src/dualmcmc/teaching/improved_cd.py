"""Improved contrastive divergence, Du et al. (2021): what the chain's own dependence on the energy adds.

    x- starts from                                  energy
    an augmented buffer of chains, some from noise  x+ / x-, penalty, KL term with the last step differentiated

The law q of chains' ends depends on h, which contrastive divergence leaves out. What is added descends
KL(q || pi) = -E_q[log pi] - H(q) + constant through q, pi held fixed, so that chains come closer to pi. (In the
gradient of KL(data || pi) - KL(q || pi) that term has the other sign; the released code adds it with this.) Here
x- depends on h by the chain's last step,

    x- = x_{K-1} + s^2/2 grad h(x_{K-1}) + s sqrt(T) eps,

whose grad h is differentiated by h's parameters: -h(x-) with the outer h held fixed makes the step climb better.
The entropy H(q) is, up to a constant, D times the mean log distance of x- from the nearest of other chains' states
(Kozachenko & Leonenko, 1987). In all

    (h(x-) - h(x+) + penalty (h(x+)^2 + h(x-)^2) - kl_weight h_fixed(x-) - entropy_weight log |x- - nearest|) / T,

in means over rows. The released weights are those of the bracket, where a divergence would have D T in place of
entropy_weight. Neighbours are a place's own other slots, so that no process needs another's states; the slot that
the chain came from is left out, as an end lies near its start without saying how wide q is.

Source: yilundu/improved_contrastive_divergence, train.py. There neighbours come from the whole buffer and are
augmented, and the buffer is a reservoir of all past ends, where our slots keep the last.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dualmcmc import spectral
from dualmcmc.errors import InputError
from dualmcmc.langevin import drift, langevin
from dualmcmc.methods import ImprovedCD
from dualmcmc.methods.chain import Chain
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import buffer, from_noise
from dualmcmc.teaching.augment import augmented
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.data_noise import dequantised
from dualmcmc.teaching.losses import Losses, energy_loss
from dualmcmc.trio import Trio

NEAREST_SQUARE = 1e-12
"""Squared distances below count as this: states in a corner of the box may coincide, and log 0 has no gradient."""


class ImprovedCDTeaching(Teaching):
    """The energy alone, from an augmented buffer of chains, with the KL term of their last step.

    Arguments:
        trio: has an energy network.
        settings: the chain, the buffer, the weights.

    Raises:
        InputError: on a forward: the buffer has no second slot for a place, or the chain no step.
    """

    settings: ImprovedCD

    def check(self, places: range, batch: int) -> None:
        """The last step and, for the entropy, neighbours must exist."""
        s = self.settings
        if not s.data_chain.steps:
            raise InputError(
                "setting method.data_chain.steps is 0: improved_cd differentiates the last of 1 or more"
            )
        if s.entropy_weight and buffer.depth(s.buffer, batch) == 1:
            raise InputError(
                f"setting method.buffer is {s.buffer}: the entropy term needs two states for each image of a "
                "batch; enlarge it, or set method.entropy_weight 0"
            )

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        self.check(range(len(x_data)), update.batch or len(x_data))
        frozen = self.begin_update()
        if s.dequantise:
            x_data = dequantised(x_data, noise=noise)
        watch.mark("other")

        visit = from_noise.visit(self.rows, x_data, s.buffer, s.restart, noise=noise, update=update)
        start = self._augmented(visit, noise)
        own = noise.stream("data_chain")
        before = langevin(frozen.h, start, replace(s.data_chain, steps=s.data_chain.steps - 1), noise=own)
        watch.mark("data_chain")
        end = last_step(self.trio, before, s.data_chain, noise=own)
        near = self._neighbours(visit.slots, noise)
        x_model = end.detach()
        buffer.put_back(self.rows["buffer"], visit.slots, x_model)

        energy, seen = energy_loss(self.trio, x_data, x_model, s.energy_penalty)
        # The frozen copy passes gradients to its input only: h_fixed.
        divergence = -s.kl_weight * frozen.h(end).mean()
        if s.entropy_weight:
            divergence = divergence - s.entropy_weight * log_distance(end, near).mean()
        seen = {
            **seen,
            "data_chain_moved": distance(start, x_model),
            "kl_term_h": divergence.detach(),
        }
        return Losses(energy + divergence / self.trio.temperature, seen=seen)

    def _augmented(self, visit: buffer.Visit, noise: Noise) -> Tensor:
        """Where chains start, (B, *): states augmented, new ones as they are."""
        s = self.settings
        if not s.augment:
            return visit.states
        fresh = visit.fresh.reshape(-1, *(1 for _ in visit.states.shape[1:]))
        return torch.where(fresh, visit.states, augmented(visit.states, s.smallest_crop, noise=noise))

    def _neighbours(self, slots: Tensor, noise: Noise) -> Tensor:
        """Distinct states of each place's slots but the one given, (B, n, *); all of them where they are few."""
        states, s = self.rows["buffer"], self.settings
        places, depth = states.shape[:2]
        order = noise.stream("neighbours").uniform_like(torch.empty(places, depth, device=states.device))
        order[torch.arange(places, device=states.device), slots] = -1  # never among the largest
        chosen = order.topk(min(s.neighbours, depth - 1), dim=1).indices
        return states[torch.arange(places, device=states.device)[:, None], chosen]


def last_step(trio: Trio, x: Tensor, chain: Chain, *, noise: Noise) -> Tensor:
    """A transition of the chain on h from x (B, *), with its gradient in the energy's parameters but none in x.

    It is `langevin` by one step, clipped and clamped likewise; a component that is clamped has no gradient.
    """
    leaf = x.detach().requires_grad_()
    with spectral.weights_once(trio.part("energy")):
        (gradient,) = torch.autograd.grad(trio.h(leaf).sum(), leaf, create_graph=True)
    end = x.detach() + drift(gradient, chain)
    if chain.temperature > 0:
        end = end + chain.step * chain.temperature**0.5 * noise.normal_like(x)
    return end.clamp(-1, 1) if chain.clamp else end


def log_distance(x: Tensor, states: Tensor) -> Tensor:
    """log |x - the nearest of its states|: x (B, *), states (B, n, *), n > 0; returns (B,), with gradient in x."""
    flat, others = x.flatten(1), states.flatten(2)
    with torch.no_grad():  # exact distances: the matrix product's cancel where states are close
        far = torch.cdist(flat[:, None], others, compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        nearest = others[torch.arange(len(x), device=x.device), far.argmin(1)]
    return (flat - nearest).square().sum(1).clamp_min(NEAREST_SQUARE).log() / 2
