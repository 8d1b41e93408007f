"""Alternating back-propagation: the generator alone, its codes explained by the latent chain.

    method          z+ starts from                                generator
    abp             x+'s code of its last visit, at first p(z)    (x+, z+)
    short_run_abp   the prior at each visit                       (x+, z+)

Both learn from (G1). Going on from visit to visit, ABP's chain grows as long as training is, so that it samples
the posterior even where a few steps would not reach it; the short-run chain is a sampler of its own, of K steps,
that the generator adapts to. For a linear generator ABP settles at probabilistic PCA's subspace, with loadings as
long as the chain's finite step makes them, Eq. (B1) of docs/maths.md; a short run does where it relaxes, and
otherwise loses directions.

A code belongs to a training image, not to the picture of it: where images are mirrored at random, an image and its
mirror image share one. Sources: Han et al., AAAI 2017; Nijkamp et al., ECCV 2020 (enijkamp/short_run_inf).
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualmcmc.methods import ABP, ShortRunABP
from dualmcmc.noise import Noise
from dualmcmc.sampling import explain, prior, reinfer
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.base import Gather, Teaching, Update, distance
from dualmcmc.teaching.losses import Losses, generator_loss
from dualmcmc.trio import Trio


class ABPTeaching(Teaching):
    """The generator from codes that are kept, one per training image.

    Arguments:
        trio: has a generator.
        settings: the latent chain, sigma.

    `tables` holds `codes` (N, d), float32, and `visited` (N,), bool, for all N training images.
    """

    settings: ABP

    def __init__(self, trio: Trio, settings: ABP) -> None:
        super().__init__(trio, settings)
        self._visit: tuple[Tensor, Tensor] | None = None

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        s = self.settings
        frozen = self.begin_update()
        images = torch.arange(len(x_data)) if update.images is None else update.images
        images = images.to(x_data.device, non_blocking=True)
        watch.mark("other")

        z_init = self._last(frozen, images, noise, update.total or len(x_data))
        z_post = reinfer(frozen, x_data, z_init, s.latent_chain, noise=noise)
        self._visit = images, z_post
        watch.mark("latent_chain")

        moved = distance(z_init, z_post)
        return Losses(generator=generator_loss(self.trio, x_data, z_post), seen={"latent_chain_moved": moved})

    def settle(self, gather: Gather) -> None:
        """Every process takes over the codes that this update found on all of them."""
        if self._visit is None:
            return
        images, codes = (gather(rows) for rows in self._visit)
        self._visit = None
        self.tables["codes"][images] = codes.to(self.tables["codes"].dtype)
        self.tables["visited"][images] = True

    def _last(self, frozen: Trio, images: Tensor, noise: Noise, total: int) -> Tensor:
        """Where the images' chains go on: their codes of the last visit, or draws of the prior, (B, d)."""
        fresh = prior(frozen, len(images), noise=noise.stream("latent_start"))
        if "codes" not in self.tables:
            self.tables["codes"] = fresh.new_zeros(total, frozen.latent_dim, dtype=torch.float32)
            self.tables["visited"] = torch.zeros(total, dtype=torch.bool, device=fresh.device)
        visited = self.tables["visited"][images]
        return torch.where(visited[:, None], self.tables["codes"][images].to(fresh.dtype), fresh)


class ShortRunABPTeaching(Teaching):
    """The generator from codes that a chain of fixed length finds from the prior.

    Arguments:
        trio: has a generator.
        settings: the latent chain, sigma.
    """

    settings: ShortRunABP

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """One update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        frozen = self.begin_update()
        watch.mark("other")

        z_init, z_post = explain(frozen, x_data, self.settings.latent_chain, noise=noise, start="prior")
        watch.mark("latent_chain")

        moved = distance(z_init, z_post)
        return Losses(generator=generator_loss(self.trio, x_data, z_post), seen={"latent_chain_moved": moved})
