"""Synthesis and explanation: the two chains, started where the paper starts them.

Both are `langevin` with a log-density of a trio: the data chain follows h at temperature T from the
generator's image of a prior draw (Eq. 20), the latent chain follows log p(x, z) in z from the inference
network's guess (Eq. 21).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dualmcmc import densities
from dualmcmc.extras import CodeDensity
from dualmcmc.langevin import Trace, fresh, langevin
from dualmcmc.methods.chain import Chain
from dualmcmc.noise import Noise
from dualmcmc.pieces import joined
from dualmcmc.trio import Trio

Start = Literal["draw", "mean", "prior"]
"""Where a latent chain starts: at a draw of q(z given x), at its mean, or at the prior."""


class Synthesis(NamedTuple):
    """z ~ p(z) (B, d); x^, where the data chain starts, and x-, where it ends, both (B, *)."""

    z_prior: Tensor
    x_gen: Tensor
    x_model: Tensor


class Inpainting(NamedTuple):
    """Figure 5's stages, each (B, *): g(mu(x)), g after the latent chain, after the data chain too; z+ (B, d)."""

    by_inference: Tensor
    by_latent_chain: Tensor
    by_data_chain: Tensor
    z_post: Tensor


class Trajectory(NamedTuple):
    """Where chains passed: states by step, each (B, *); f after each step (B, K + 1); |grad f| at each (B, K)."""

    states: dict[int, Tensor]
    log_density: Tensor
    gradient_norm: Tensor


class Explanation(NamedTuple):
    """z0, where the latent chain starts, and z+, where it ends, both (B, d)."""

    z_init: Tensor
    z_post: Tensor


@torch.no_grad()
def prior(trio: Trio, n: int, *, noise: Noise) -> Tensor:
    """n draws of p(z): (n, d), of the generator's device and type. N(0, I), or a density fitted to codes."""
    like = next(trio.part("generator").parameters())
    eps = noise.stream("prior").normal_like(like.new_empty(n, trio.latent_dim))
    drawn: Tensor = trio.extra(eps) if isinstance(trio.extra, CodeDensity) else eps
    return drawn


@torch.no_grad()
def generate(trio: Trio, z: Tensor, start: Literal["mean", "draw"], *, noise: Noise) -> Tensor:
    """x^ of codes z (B, d): the mean g(z), or a draw of N(g(z), sigma^2 I), Eq. 20. Returns (B, *)."""
    (x,) = joined(len(z), trio.at_once, noise, lambda rows, _: (trio.g(z[rows]),))
    if start == "draw":
        x = x + trio.sigma * noise.stream("generator").normal_like(x)
    return x


def revise(trio: Trio, x: Tensor, chain: Chain, *, noise: Noise, trace: Trace | None = None) -> Tensor:
    """The data chain, Eq. 20: `chain` on h from x (B, *), leaving exp(h / chain.temperature) invariant."""
    own = noise.stream("data_chain")
    if trace is not None:
        return langevin(trio.h, x, chain, noise=own, trace=trace)
    work = lambda rows, eps: (_chain(trio, "data", trio.h, x[rows], chain, eps),)  # noqa: E731
    return joined(len(x), trio.at_once, own, work)[0]


def _chain(
    trio: Trio,
    name: str,
    density: Callable[..., Tensor],
    state: Tensor,
    chain: Chain,
    noise: Noise,
    given: Sequence[Tensor] = (),
) -> Tensor:
    """`langevin` on density(., *given), replayed where the trio's chains are graphs."""
    if trio.graphs is not None and chain.steps:
        return trio.graphs.run(name, density, state, chain, noise, given)
    return langevin(lambda x: density(x, *given), state, chain, noise=noise)


def synthesise(trio: Trio, n: int, chain: Chain, start: Literal["mean", "draw"], *, noise: Noise) -> Synthesis:
    """A prior draw, its image, and that image revised by the data chain, for n rows."""
    z = prior(trio, n, noise=noise)
    x = generate(trio, z, start, noise=noise)
    return Synthesis(z, x, revise(trio, x, chain, noise=noise))


def explain(
    trio: Trio,
    x: Tensor,
    chain: Chain,
    *,
    noise: Noise,
    start: Start = "draw",
    visible: Tensor | None = None,
    trace: Trace | None = None,
) -> Explanation:
    """The latent chain on log p(x, z), Eq. 21, for images x (B, *).

    It starts at a draw of q(z given x) (training), at its mean (a trained model), or at the prior
    (the noise-initialised chain that the paper compares with in its Figure 3). With `visible`, a mask, the
    chain explains those pixels alone (Eq. M1); q sees x as it is.
    """
    if trace is not None:
        return _explain(trio, x, chain, noise, start, visible, trace)

    def work(rows: slice, own: Noise) -> Explanation:
        own_mask = visible is not None and visible.ndim == x.ndim and len(visible) == len(x)
        mask = visible[rows] if visible is not None and own_mask else visible
        return _explain(trio, x[rows], chain, own, start, mask)

    return Explanation(*joined(len(x), trio.at_once, noise, work))


def _explain(
    trio: Trio,
    x: Tensor,
    chain: Chain,
    noise: Noise,
    start: Start,
    visible: Tensor | None,
    trace: Trace | None = None,
) -> Explanation:
    with torch.no_grad():
        if start == "prior":
            # Not the draws that `synthesise` makes of the same noise: the two chains start independently.
            z_init = prior(trio, len(x), noise=noise.stream("latent_start"))
        else:
            mean, log_variance = trio.q(x)
            z_init = mean
            if start == "draw":
                z_init = densities.draw_diagonal_normal(mean, log_variance, noise=noise.stream("q"))
    held, seen, own = fresh(x), None if visible is None else fresh(visible), noise.stream("latent_chain")
    if trace is None and seen is None:
        return Explanation(z_init, _latent_chain(trio, held, z_init, chain, own))
    z_post = langevin(
        lambda z: trio.log_joint(held, z, visible=seen),
        z_init,
        chain,
        noise=own,
        trace=trace,
    )
    return Explanation(z_init, z_post)


def _latent_chain(trio: Trio, x: Tensor, z: Tensor, chain: Chain, noise: Noise) -> Tensor:
    """Where a chain on log p(x, z) from codes z (B, d) ends, (B, d)."""
    return _chain(trio, "latent", lambda state, held: trio.log_joint(held, state), z, chain, noise, [x])


def reinfer(trio: Trio, x: Tensor, z: Tensor, chain: Chain, *, noise: Noise) -> Tensor:
    """The latent chain on log p(x, z) from codes z (B, d) for images x (B, *): where it ends, (B, d)."""

    def work(rows: slice, own: Noise) -> tuple[Tensor]:
        return (_latent_chain(trio, fresh(x[rows]), z[rows], chain, own),)

    return joined(len(x), trio.at_once, noise.stream("reinfer"), work)[0]


def inpaint(
    trio: Trio,
    x: Tensor,
    hidden: Tensor,
    latent_chain: Chain,
    data_chain: Chain,
    *,
    noise: Noise,
    start: Start = "mean",
    visible_pixels: Literal["free", "clamped"] = "free",
) -> Inpainting:
    """What hidden pixels may be, by the three stages of the paper's Figure 5.

    The inference network sees x with mid-grey in the hidden pixels; the latent chain explains the visible
    pixels alone (M1); the data chain starts at g(z+) and moves all pixels (free), or the hidden ones given the
    visible ones (clamped): it then follows h at x with its visible pixels put back, and leaves g(z+) in those.
    No stage's image shows given pixels, so each can be scored with and without pasting them. What hidden
    pixels hold changes nothing.

    Arguments:
        trio: the networks.
        x: images (B, C, S, S).
        hidden: bool (B, 1, S, S), True where a pixel is to be found.
        latent_chain: its steps, step and temperature.
        data_chain: likewise.
        noise: the only source of randomness.
        start: of the latent chain; a model without inference network starts at the prior.
        visible_pixels: what the data chain may do with them.
    """
    visible = ~hidden
    occluded = torch.where(visible, x, torch.zeros_like(x))
    z_init, z_post = explain(trio, occluded, latent_chain, noise=noise, start=start, visible=visible)
    with torch.no_grad():
        by_inference, by_latent_chain = trio.g(z_init), trio.g(z_post)
    if trio.energy is None:
        by_data_chain = by_latent_chain
    elif visible_pixels == "free":
        by_data_chain = revise(trio, by_latent_chain, data_chain, noise=noise)
    else:
        held, given = fresh(visible), fresh(occluded)

        def put_back(state: Tensor) -> Tensor:
            return torch.where(held, given, state)

        log_density = lambda state: trio.h(put_back(state))  # noqa: E731
        moved = langevin(log_density, by_latent_chain, data_chain, noise=noise.stream("data_chain"))
        by_data_chain = torch.where(visible, by_latent_chain, moved)
    return Inpainting(by_inference, by_latent_chain, by_data_chain, z_post)
