r"""Langevin chains: how every sample in this library is drawn from an unnormalised density.

For a log-density f and a temperature T, the diffusion dx = grad f(x) / 2 dt + sqrt(T) dw leaves
exp(f / T) invariant. Its Euler step of size s^2 is

    x' = x + s^2/2 grad f(x) + s sqrt(T) eps,    eps ~ N(0, I),                          (L1)

that is Eq. 3 (images) and Eq. 6 (latents) of Cui & Han (2023) on exp(f / T), their step being
s^2 T / 2. No accept/reject follows, so a finite s biases the law: for f = -lambda x^2 / 2 it settles at

    Var = T / (lambda (1 - s^2 lambda / 4)),                                             (L2)

and diverges where s^2 lambda >= 4. At T = 0 a step is plain gradient ascent on f.

Chains know no network and no data: they take any f. Who starts them, and where, is `sampling.py`;
which f there are is `trio.py`. Source: Roberts & Tweedie (1996), Bernoulli 2(4). Labels are those
of docs/maths.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dualmcmc.methods.chain import Chain
from dualmcmc.noise import Noise

LogDensity = Callable[[Tensor], Tensor]


@dataclass
class Trace:
    """What a chain passed through; nothing is copied to the host while it runs.

    Fill it by passing it to `langevin`. `states` holds x_k for the k of `at`; `log_density` holds f(x_0), ...,
    f(x_K), and `gradient_norm` |grad f| at x_0, ..., x_{K-1}, each (B,).
    """

    at: Collection[int] = ()
    states: dict[int, Tensor] = field(default_factory=dict)
    log_density: list[Tensor] = field(default_factory=list)
    gradient_norm: list[Tensor] = field(default_factory=list)

    def _see(self, k: int, x: Tensor, f: Tensor, gradient: Tensor | None = None) -> None:
        self.log_density.append(f.detach())
        if gradient is not None:
            self.gradient_norm.append(gradient.flatten(1).norm(dim=1))
        if k in self.at:
            self.states[k] = x.detach().clone()


def fresh(x: Tensor) -> Tensor:
    """A tensor that autograd may save, say for a chain's log-density: those of inference mode are cloned."""
    if not x.is_inference():
        return x
    with torch.inference_mode(False), torch.no_grad():
        return x.clone()


def score(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and grad f(x), shapes (B,) and (B, *), both detached; works inside `torch.inference_mode`.

    Row i of f must depend on x[i] only (batch statistics break this).
    """
    with torch.inference_mode(False):
        return _score(log_density, fresh(x))


def _score(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    """`score` of no inference tensor, outside inference mode: a step of a small chain notices a context more."""
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        f = log_density(leaf)
        (gradient,) = torch.autograd.grad(f.sum(), leaf)
    return f.detach(), gradient


def drift(gradient: Tensor, chain: Chain) -> Tensor:
    """s^2/2 grad f, (B, *) in and out, within the chain's two bounds where it has any.

    `gradient_clip` bounds each component of grad f, `longest_drift` the norm of a row's move; where either
    binds, exp(f / T) is no longer what the chain leaves invariant.
    """
    if chain.gradient_clip:
        gradient = gradient.clamp(-chain.gradient_clip, chain.gradient_clip)
    move = chain.step**2 / 2 * gradient
    if chain.longest_drift:
        norm = move.flatten(1).norm(dim=1).clamp_min(chain.longest_drift)
        move = move * (chain.longest_drift / norm).reshape(-1, *(1 for _ in move.shape[1:]))
    return move


def langevin_step(
    log_density: LogDensity, x: Tensor, step: float, temperature: float = 1.0, *, noise: Noise
) -> Tensor:
    """One transition, Eq. (L1).

    Arguments:
        log_density: f, maps (B, *) to (B,), differentiable in its argument; calling it changes nothing.
        x: one state per chain, shape (B, *), float32.
        step: s > 0, in units of x (pixels live in [-1, 1], latents have unit scale).
        temperature: T >= 0; at 0 the step is plain ascent on f and draws no noise.
        noise: the only source of randomness; row i's draws never depend on the other rows.

    Returns:
        x', shape (B, *), detached: nothing is ever differentiated through a chain.
    """
    return langevin(log_density, x, Chain(steps=1, step=step, temperature=temperature), noise=noise)


def langevin(
    log_density: LogDensity,
    x: Tensor,
    chain: Chain,
    *,
    noise: Noise,
    trace: Trace | None = None,
    gradient: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """`chain.steps` transitions (L1) from x; shape (B, *) in and out, x itself is left as it is.

    Arguments:
        log_density: as in `langevin_step`.
        x: where the chains start, shape (B, *), float32.
        chain: steps, step s and temperature T.
        noise: draw k of each row serves transition k.
        trace: filled as it says, if given; this costs one more evaluation of f, at the end.
        gradient: grad f where it is known in closed form, maps (B, *) to (B, *); None: f is differentiated.
            With it f is evaluated for a trace alone.

    Returns:
        The last states, shape (B, *), float32, detached.
    """
    with torch.inference_mode(False), torch.no_grad():
        state = x.detach().clone()
        for k in range(chain.steps):
            f, slope = _score(log_density, state) if gradient is None else (None, gradient(state))
            if trace is not None:
                trace._see(k, state, log_density(state) if f is None else f, slope)
            if chain.gradient_clip or chain.longest_drift:
                state.add_(drift(slope, chain))
            else:
                state.add_(slope, alpha=chain.step**2 / 2)
            if chain.temperature > 0:
                state.add_(noise.normal_like(state), alpha=chain.step * chain.temperature**0.5)
            if chain.clamp:
                state.clamp_(-1, 1)
        if trace is not None:
            trace._see(chain.steps, state, log_density(state))
    return state
