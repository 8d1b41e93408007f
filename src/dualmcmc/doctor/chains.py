r"""Do chains draw what they should on this device? A Gaussian's is known in closed form.

On f = -lambda x^2 / 2 from x = 0, Eq. (L1) is an autoregression with a = 1 - s^2 lambda / 2, so that after K steps

    x ~ N(0, v (1 - a^(2K))),    v = T / (lambda (1 - s^2 lambda / 4)),                       cf. (L2)

and of N draws the mean of x^2 is that variance within sqrt(2 / N) of it (one standard deviation), the mean of x
zero within sqrt(variance / N). A drift or a noise that is a hundredth off shows.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from dualmcmc.doctor.finding import Finding
from dualmcmc.langevin import langevin
from dualmcmc.methods import Chain
from dualmcmc.noise import Noise

PRECISION = 2.0
CHAIN = Chain(steps=40, step=0.5, temperature=0.7)
SHAPE = (64, 16384)
"""Rows and independent components: N is their product."""
ALLOWED = 5.0
"""Standard deviations; a sound chain is further off once in a million runs, and the seed is fixed."""


def variance(precision: float, chain: Chain) -> float:
    """Of each component after the chain from 0, as above."""
    s2 = chain.step**2
    a = 1 - s2 * precision / 2
    stationary = chain.temperature / (precision * (1 - s2 * precision / 4))
    return stationary * (1 - a ** (2 * chain.steps))


def self_test(device: str = "cpu", *, seed: int = 0) -> Finding:
    """Draws 2^20 components by `langevin` on the device, in a second or so, and compares two moments.

    Arguments:
        device: where.
        seed: of the noise.
    """

    def log_density(x: Tensor) -> Tensor:
        return -PRECISION / 2 * x.square().flatten(1).sum(1)

    began = time.monotonic()
    x = langevin(log_density, torch.zeros(SHAPE, device=device), CHAIN, noise=Noise(seed))
    wanted, n = variance(PRECISION, CHAIN), x.numel()
    x = x.cpu().double()  # mps knows no float64
    found = x.square().mean().item()
    off = (found / wanted - 1) / (2 / n) ** 0.5
    shifted = x.mean().item() / (wanted / n) ** 0.5
    seen = (
        f"variance {found:.5f}, by theory {wanted:.5f} ({off:+.1f} standard deviations; mean {shifted:+.1f}); "
        f"{CHAIN.steps} steps of {n:,} components in {time.monotonic() - began:.1f} s"
    )
    if abs(off) <= ALLOWED and abs(shifted) <= ALLOWED:  # not so of NaN
        return Finding("ok", f"chain on {device}", seen)
    remedy = f"no sample drawn on {device} can be trusted: try --device cpu, another torch, or report it"
    return Finding("bad", f"chain on {device}", seen, remedy)
