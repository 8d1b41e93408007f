"""Noise on training images: a density needs data that have one, and 8-bit images lie on a grid.

    noised        x + deviation eps, eps ~ N(0, I)                                  short-run, JEM
    dequantised   grey level k of 256, seen as k / 255, becomes (k + u) / 256       IGEBM, improved CD
                  with u uniform in (0, 1)

The first leaves the box [-1, 1], the second fills it, as a clamped chain does: data outside the box would be told
from such a chain's samples by that alone.
"""

from __future__ import annotations

from torch import Tensor

from dualmcmc.noise import Noise

LEVELS = 256


def noised(x: Tensor, deviation: float, *, noise: Noise) -> Tensor:
    """x (B, *) with Gaussian noise of that deviation; 0 draws none."""
    return x + deviation * noise.stream("data").normal_like(x) if deviation else x


def dequantised(x: Tensor, *, noise: Noise) -> Tensor:
    """8-bit images (B, C, S, S) in [-1, 1], spread over their levels' cells; other data, (B, d), as they are."""
    if x.ndim < 4:
        return x
    u = noise.stream("data").uniform_like(x)
    return (x + 1) * (LEVELS - 1) / LEVELS + 2 / LEVELS * u - 1
