"""Dual-MCMC teaching, Algorithm 1 of Cui & Han (2023): one iteration as one forward.

    x- starts from   z+ starts from     energy    generator           inference
    x^ = g(z)        q(z given x+)      x+ / x-   (x+, z+), (x-, z)   (x+, z+), (x-, z)

All three networks learn from one set of draws with the parameters frozen at their current values, as the
paper prints it; the released code instead redraws x- from the updated generator before the energy's step.
The printed algorithm passes the un-revised z^ to the generator's and inference updates; Eqs. 18 and 19
and the released code use the revised z+, and so do we.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dualmcmc import spectral
from dualmcmc.noise import Noise
from dualmcmc.sampling import explain, synthesise
from dualmcmc.settings import DualMCMC
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss, inference_loss
from dualmcmc.trio import Trio


class DualMCMCTeaching(nn.Module):
    """The module that accelerate wraps: its forward runs the chains and returns the losses.

    Arguments:
        trio: the networks that learn, on their device.
        settings: both chains, sigma, the weights.
    """

    def __init__(self, trio: Trio, settings: DualMCMC) -> None:
        super().__init__()
        self.trio, self.settings = trio, settings
        # A tuple hides the copies from `parameters()`, `state_dict()` and DistributedDataParallel.
        self._copies: tuple[Trio, ...] = ()

    def frozen(self) -> Trio:
        """alpha_t, theta_t, phi_t: the trio's current parameters, for the chains."""
        if not self._copies:
            self._copies = (self.trio.frozen(),)
        self.trio.refresh(self._copies[0])
        return self._copies[0]

    def forward(self, x_data: Tensor, noise: Noise, watch: Stopwatch | None = None) -> Losses:
        """One iteration of Algorithm 1: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        watch = watch or Stopwatch(enabled=False)
        s, trio = self.settings, self.trio
        spectral.power_iteration(trio.energy)
        frozen = self.frozen()
        watch.mark("other")

        # Synthesise: z ~ p(z), x^ = g(z); K_x steps on h take x^ to x- (Eq. 20)
        z_prior, x_gen, x_model = synthesise(frozen, len(x_data), s.data_chain, s.start, noise=noise)
        watch.mark("data_chain")

        # Explain: z0 ~ q(z | x+); K_z steps on log p(x+, z) take z0 to z+ (Eq. 21)
        z_init, z_post = explain(frozen, x_data, s.latent_chain, noise=noise, start=s.latent_start)
        watch.mark("latent_chain")

        # Teach: each chain teaches the network that started it (Eqs. 17 to 19)
        energy, gap = energy_loss(trio, x_data, x_model, s.energy_penalty)
        generator = s.generator_data_weight * generator_loss(trio, x_data, z_post)
        generator = generator + s.generator_model_weight * generator_loss(trio, x_model, z_prior)
        inference = s.inference_data_weight * inference_loss(trio, x_data, z_post)
        inference = inference + s.inference_model_weight * inference_loss(trio, x_model, z_prior)
        seen = {
            "energy_gap_h": gap,
            "data_chain_moved": _distance(x_gen, x_model),
            "latent_chain_moved": _distance(z_init, z_post),
        }
        return Losses(energy, generator, inference, seen)


@torch.no_grad()
def _distance(start: Tensor, end: Tensor) -> Tensor:
    """Root mean square, over batch and components, of how far chains moved: a scalar."""
    return (end - start).square().mean().sqrt()
