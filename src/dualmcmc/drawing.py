"""How a trained model draws images: where its data chain starts, and what it follows, by method.

    guided methods, autoencoders, ABP   g(z), z from the prior; the data chain on h if there is an energy network
    short_run                           uniform noise in [-1, 1]; the data chain on h
    persistent, improved_cd, jem        a state of the buffer that the model keeps; the data chain on h
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualmcmc import methods
from dualmcmc.extras import Memory
from dualmcmc.langevin import Trace
from dualmcmc.methods import Chain, Method
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
    x = start(trio, method, shape, noise=noise)
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
    return uniform(shape, noise=noise, device=next(trio.parameters()).device)


def uniform(shape: tuple[int, ...], *, noise: Noise, device: torch.device) -> Tensor:
    """Uniform noise in [-1, 1]."""
    return 2 * noise.stream("start").uniform_like(torch.empty(shape, device=device)) - 1
