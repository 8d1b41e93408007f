"""Dual-MCMC teaching, Algorithm 1 of Cui & Han (2023): one iteration as one forward.

    x- starts from   z+ starts from     energy    generator           inference
    x^ = g(z)        q(z given x+)      x+ / x-   (x+, z+), (x-, z)   (x+, z+), (x-, z)

All three networks learn from one set of draws with the parameters frozen at their current values, as the
paper prints it (`reuse`). Every loss takes draws that carry no gradient, so updating one network after the other
from the same draws would change nothing. The released code differs (`redraw`): generator and inference network
learn first, then x- is drawn anew, by a second chain from the updated generator's image of the same z. The first
release had no second chain (`redraw_unrevised`). Both need two phases. Ours are `persistent` and `mixed`: all of
the energy's x-, or those of every second place of the batch, come from a buffer of chains, which makes the
energy a density where generator-started short chains alone do not (docs/maths.md).

`pair` says which code is taught with x-. The `prior` draw that the generator-started x- came from is the paper's;
the further a good energy moves x- from g(z), the more it shrinks the generator's loadings, Eq. (F3). A code that
the latent chain has `reinferred` from x- does not, Eq. (F4), and serves a buffer's x- as well: these are then what
the generator is taught, and `persistent` needs no generator-started chain.

The printed algorithm passes the un-revised z^ to the generator's and inference updates; Eqs. 18 and 19
and the released code use the revised z+, and so do we.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.methods import DualMCMC
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.sampling import Synthesis, explain, generate, prior, revise, synthesise
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

    def check(self, places: range, batch: int) -> None:
        """`mixed` halves the places."""
        if self.settings.negatives == "mixed":
            _halved(BatchNoise(0, places), len(places))

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One iteration of Algorithm 1, or a phase of it: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        if update.phase == 1:
            return self._energy_of_updated_generator(x_data, noise, watch)
        s, trio = self.settings, self.trio
        frozen = self.begin_update()
        watch.mark("other")

        # Synthesise: z ~ p(z), x^ = g(z); K_x steps on h take x^ (or a state of the buffer) to x- (Eq. 20)
        synthesis, negatives, moved = self._synthesise(frozen, x_data, noise, update)
        watch.mark("data_chain")

        # Explain: z0 ~ q(z | x+); K_z steps on log p(x+, z) take z0 to z+ (Eq. 21)
        z_init, z_post = explain(frozen, x_data, s.latent_chain, noise=noise, start=s.latent_start)
        if s.pair == "prior":
            assert synthesis is not None
            z_model, x_model = synthesis.z_prior, synthesis.x_model
        else:
            x_model = negatives
            z_model = explain(frozen, x_model, s.latent_chain, noise=noise.stream("reinfer")).z_post
        watch.mark("latent_chain")

        # Teach: each chain teaches the network that started it (Eqs. 17 to 19)
        seen = {"data_chain_moved": moved, "latent_chain_moved": distance(z_init, z_post)}
        energy = None
        if self.phases == 1:
            energy, gauged = energy_loss(trio, x_data, negatives, s.energy_penalty)
            seen |= gauged
        generator = s.generator_data_weight * generator_loss(trio, x_data, z_post)
        generator = generator + s.generator_model_weight * generator_loss(trio, x_model, z_model)
        inference = s.inference_data_weight * inference_loss(trio, x_data, z_post)
        inference = inference + s.inference_model_weight * inference_loss(trio, x_model, z_model)
        return Losses(energy, generator, inference, seen)

    def _energy_of_updated_generator(self, x_data: Tensor, noise: Noise, watch: Stopwatch) -> Losses:
        """The energy's own phase: x- from the same z and the same noise, the generator having moved on."""
        s, frozen = self.settings, self.frozen()
        x = self._images(frozen, len(x_data), noise)
        if s.negatives == "redraw":
            x = revise(frozen, x, s.data_chain, noise=noise)
        watch.mark("data_chain")
        energy, seen = energy_loss(self.trio, x_data, x, s.energy_penalty)
        return Losses(energy, seen=seen)

    def _synthesise(
        self, frozen: Trio, x_data: Tensor, noise: Noise, update: Update
    ) -> tuple[Synthesis | None, Tensor, Tensor]:
        """The generator-started draws, the energy's x- (B, *), and how far chains moved; by the settings' mode."""
        s, places = self.settings, len(x_data)
        if s.negatives not in ("persistent", "mixed"):
            drawn = synthesise(frozen, places, s.data_chain, s.start, noise=noise)
            return drawn, drawn.x_model, distance(drawn.x_gen, drawn.x_model)
        batch = update.batch or places
        if s.negatives == "mixed":
            noise, places, batch = _halved(noise, places), places // 2, batch // 2
        synthesis = None
        if s.negatives == "mixed" or s.pair == "prior":
            synthesis = synthesise(frozen, places, s.data_chain, s.start, noise=noise)
        start, end = self._advance(frozen, places, noise, batch)
        if s.negatives == "persistent":
            return synthesis, end, distance(start, end)
        assert synthesis is not None
        return synthesis, torch.cat([synthesis.x_model, end]), distance(synthesis.x_gen, synthesis.x_model)

    def _advance(self, frozen: Trio, places: int, noise: Noise, batch: int) -> tuple[Tensor, Tensor]:
        """A state of the buffer for each place, and where K_x steps take it, each (places, *)."""
        s = self.settings
        if "buffer" not in self.rows:
            self.rows["buffer"] = self._filled(frozen, places, buffer.depth(s.buffer, batch), noise)
        visit = buffer.visit(
            self.rows["buffer"], noise, restart=s.restart, fresh=lambda anew: self._images(frozen, places, anew)
        )
        end = revise(frozen, visit.states, s.data_chain, noise=noise.stream("buffer"))
        buffer.put_back(self.rows["buffer"], visit.slots, end)
        return visit.states, end

    def _images(self, frozen: Trio, n: int, noise: Noise) -> Tensor:
        """The generator's images, where chains start: (n, *)."""
        return generate(frozen, prior(frozen, n, noise=noise), self.settings.start, noise=noise)

    def _filled(self, frozen: Trio, places: int, depth: int, noise: Noise) -> Tensor:
        """A buffer (places, depth, *) of the generator's images."""
        own = (noise.stream("buffer", slot) for slot in range(depth))
        return torch.stack([self._images(frozen, places, each) for each in own], 1)


def _halved(noise: Noise, places: int) -> Noise:
    """The noise of every second place: half of the batch's x- are the generator's, half the buffer's.

    Raises:
        InputError: the number of places, or that before them, is odd.
    """
    keys = noise.keys if isinstance(noise.keys, range) else range(places)
    if keys.start % 2 or len(keys) % 2:
        raise InputError("negatives `mixed` needs an even number of images on each process: change the batch")
    return type(noise)(noise.seed, range(keys.start // 2, keys.stop // 2), path=noise.path)
