"""How a trained model draws images: where its data chain starts, and what it follows, by method.

    guided methods, autoencoders, ABP   g(z), z from the prior; the data chain on h if there is an energy network
    short_run                           uniform noise in [-1, 1]; the data chain on h
    persistent, improved_cd, jem        a state of the buffer that the model keeps; the data chain on h
    recovery_likelihood                 N(0, I); the chains of all noise levels, one after the other (`levels.py`)
    vaebm                               g(z) + sigma eps; the chain in z and eps (`noise_space.py`)

A trace of the last two is of h (of level 0 where there are several) at the images passed through, whatever the
chain follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from dualmcmc import methods, noise_space
from dualmcmc.extras import Memory
from dualmcmc.langevin import Trace, score
from dualmcmc.levels import descend
from dualmcmc.methods import VAEBM, Chain, Method, RecoveryLikelihood
from dualmcmc.noise import Noise
from dualmcmc.sampling import generate, prior, revise
from dualmcmc.trio import Trio


def draw(
    trio: Trio,
    method: Method,
    shape: tuple[int, ...],
    chain: Chain,
    *,
    noise: Noise,
    trace: Trace | None = None,
) -> Tensor:
    """Images after `chain.steps` transitions, not clamped.

    Arguments:
        trio: a trained model's.
        method: its settings.
        shape: (n, C, S, S).
        chain: the test chain, of any length; of none where there is no energy network.
        noise: of everything; row i is a function of its key.
        trace: filled with what the chain passes through, as images; only its states without an energy network.

    Returns:
        (n, C, S, S) float32.
    """
    if isinstance(method, VAEBM):
        w = noise_space.start(trio, shape, noise=noise)
        states = noise_space.moves(trio, w, shape, chain, noise=noise.stream("data_chain"))
        return _last(trio, states, lambda w: noise_space.shown(trio, w, shape, method.pixels), chain.steps, trace)
    x = start(trio, method, shape, noise=noise)
    if isinstance(method, RecoveryLikelihood):
        levels = methods.levels(method)
        states = descend(trio, levels, x, method.level_steps, chain, noise=noise.stream("data_chain"))
        return _last(trio, states, lambda x: x, chain.steps, trace)
    if trio.energy is not None:
        return revise(trio, x, chain, noise=noise, trace=trace)
    if trace is not None:
        trace.states.update({k: x.clone() for k in trace.at})
    return x


def start(trio: Trio, method: Method, shape: tuple[int, ...], *, noise: Noise) -> Tensor:
    """Where the data chain starts (`methods.start`): images (n, C, S, S)."""
    if trio.generator is not None:
        how = methods.start(method)
        return generate(trio, prior(trio, shape[0], noise=noise), "draw" if how == "draw" else "mean", noise=noise)
    if isinstance(trio.extra, Memory):
        device = trio.extra.images.device
        drawn = noise.stream("buffer").uniform_like(torch.empty(shape[0], 1, device=device))[:, 0]
        count = len(trio.extra.images)
        found: Tensor = trio.extra((drawn * count).long().clamp_(max=count - 1))
        return found
    device = next(trio.parameters()).device
    if isinstance(method, RecoveryLikelihood):
        return noise.stream("start").normal_like(torch.empty(shape, device=device))
    return uniform(shape, noise=noise, device=device)


def _last(
    trio: Trio, states: Iterable[Tensor], image: Callable[[Tensor], Tensor], steps: int, trace: Trace | None
) -> Tensor:
    """The image (n, C, S, S) of the last of `steps` + 1 states; `trace` sees h at the images of all."""
    for k, state in enumerate(states):
        if trace is not None:
            x = image(state)
            h, gradient = score(trio.h, x)
            trace._see(k, x, h, gradient if k < steps else None)
    return image(state)


def uniform(shape: tuple[int, ...], *, noise: Noise, device: torch.device) -> Tensor:
    """Uniform noise in [-1, 1]."""
    return 2 * noise.stream("start").uniform_like(torch.empty(shape, device=device)) - 1
