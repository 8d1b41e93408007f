"""Dual-MCMC teaching, Algorithm 1 of Cui & Han (2023): one iteration as one forward.

    x- starts from   z+ starts from     energy    generator           inference
    x^ = g(z)        q(z given x+)      x+ / x-   (x+, z+), (x-, z)   (x+, z+), (x-, z)

All three networks learn from one set of draws with the parameters frozen at their current values, as the
paper prints it (`reuse`). Every loss takes draws that carry no gradient, so updating one network after the other
from the same draws would change nothing. The released code differs (`redraw`): the generator and the inference network
learn first, then x- is drawn anew, by a second chain from the updated generator's image of the same z. The first
release had no second chain (`redraw_unrevised`). Both need two phases. Ours are `persistent` and `mixed`: all or
every second of the energy's x- come from a buffer of chains, which makes the energy a density where
generator-started short chains alone do not (docs/maths.md).

The printed algorithm passes the un-revised z^ to the generator's and inference updates; Eqs. 18 and 19
and the released code use the revised z+, and so do we. `pair` says which z is taught with x-: the one that x-
started from, or one that the latent chain infers from x-.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.methods import DualMCMC
from dualmcmc.noise import Noise
from dualmcmc.sampling import Synthesis, explain, generate, prior, reinfer, revise, synthesise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching import buffer
from dualmcmc.teaching.base import Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss, inference_loss
from dualmcmc.trio import Trio


class DualMCMCTeaching(Teaching):
    """Algorithm 1, with the energy's x- drawn in one of five ways.

    Arguments:
        trio: the networks that learn, on their device.
        settings: both chains, sigma, the weights.
    """

    settings: DualMCMC
    REDRAWING: ClassVar[tuple[str, ...]] = ("redraw", "redraw_unrevised")

    @property
    def phases(self) -> int:
        """Two where the energy learns from the updated generator."""
        return 2 if self.settings.negatives in self.REDRAWING else 1

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One iteration of Algorithm 1, or a phase of it: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        if update.phase == 1:
            return self._energy_of_updated_generator(x_data, noise, watch)
        s, trio = self.settings, self.trio
        frozen = self.begin_update()
        watch.mark("other")

        # Synthesise: z ~ p(z), x^ = g(z); K_x steps on h take x^ to x- (Eq. 20)
        drawn = synthesise(frozen, len(x_data), s.data_chain, s.start, noise=noise)
        z_prior, x_gen, x_model = drawn
        watch.mark("data_chain")

        # Explain: z0 ~ q(z | x+); K_z steps on log p(x+, z) take z0 to z+ (Eq. 21)
        z_init, z_post = explain(frozen, x_data, s.latent_chain, noise=noise, start=s.latent_start)
        z_model = z_prior
        if s.pair == "reinferred":
            z_model = reinfer(frozen, x_model, z_prior, s.latent_chain, noise=noise)
        watch.mark("latent_chain")

        # Teach: each chain teaches the network that started it (Eqs. 17 to 19)
        seen = {"data_chain_moved": distance(x_gen, x_model), "latent_chain_moved": distance(z_init, z_post)}
        energy = None
        if self.phases == 1:
            negatives = self._negatives(frozen, drawn, noise, update)
            watch.mark("data_chain")
            energy, seen["energy_gap_h"] = energy_loss(trio, x_data, negatives, s.energy_penalty)
        generator = s.generator_data_weight * generator_loss(trio, x_data, z_post)
        generator = generator + s.generator_model_weight * generator_loss(trio, x_model, z_model)
        inference = s.inference_data_weight * inference_loss(trio, x_data, z_post)
        inference = inference + s.inference_model_weight * inference_loss(trio, x_model, z_model)
        return Losses(energy, generator, inference, seen)

    def _energy_of_updated_generator(self, x_data: Tensor, noise: Noise, watch: Stopwatch) -> Losses:
        """The energy's own phase: x- from the same z and the same noise, the generator having moved on."""
        s, frozen = self.settings, self.frozen()
        x = generate(frozen, prior(frozen, len(x_data), noise=noise), s.start, noise=noise)
        if s.negatives == "redraw":
            x = revise(frozen, x, s.data_chain, noise=noise)
        watch.mark("data_chain")
        energy, gap = energy_loss(self.trio, x_data, x, s.energy_penalty)
        return Losses(energy, seen={"energy_gap_h": gap})

    def _negatives(self, frozen: Trio, drawn: Synthesis, noise: Noise, update: Update) -> Tensor:
        """The energy's x- (B, *), by the settings' mode."""
        s = self.settings
        if s.negatives == "reuse":
            return drawn.x_model
        # Every second place has a buffer in `mixed`; places are numbered over all processes.
        places = noise.keys if isinstance(noise.keys, range) else range(len(drawn.x_model))
        chosen = slice(None)
        batch = update.batch or len(drawn.x_model)
        if s.negatives == "mixed":
            if places.start % 2 or len(places) % 2:
                raise InputError("negatives `mixed` needs an even number of images on each process: change the batch")
            noise, chosen, batch = type(noise)(noise.seed, _halved(places), path=noise.path), slice(1, None, 2), batch // 2
        x_gen = drawn.x_gen[chosen]
        if "buffer" not in self.rows:
            self.rows["buffer"] = self._filled(frozen, len(x_gen), buffer.depth(s.buffer, batch), noise)
        visit = buffer.visit(self.rows["buffer"], noise, restart=s.restart, fresh=lambda _: x_gen)
        ends = revise(frozen, visit.states, s.data_chain, noise=noise.stream("buffer"))
        buffer.put_back(self.rows["buffer"], visit.slots, ends)
        return ends if s.negatives == "persistent" else torch.cat([drawn.x_model[::2], ends])

    def _filled(self, frozen: Trio, places: int, depth: int, noise: Noise) -> Tensor:
        """A buffer (places, depth, *) of the generator's images."""
        slots = []
        for slot in range(depth):
            own = noise.stream("buffer", slot)
            slots.append(generate(frozen, prior(frozen, places, noise=own), self.settings.start, noise=own))
        return torch.stack(slots, 1)


def _halved(places: range) -> range:
    return range(places.start // 2, places.stop // 2)
