"""The noise levels of diffusion recovery likelihood; nothing here imports torch.

At level t = 0, ..., N - 1 images are x_t = A_t x + S_t eps, and those of the next one

    x_{t+1} = a x_t + sigma eps,    a = sqrt(1 - sigma^2),                                    (Y1)

with a and sigma of its own. S_0 is 0.01, so that the images of level 0 have a density; x_N is noise but for
A_N = 0.006.

Numbers are the released code's (Gao et al., 2021, model.py). DDPM's 1,000 variances from 1e-4 to 0.02 (Ho et al.,
2020) add up: levels 1 to N - 1 divide the first half of them evenly, and x_N has them all. At the last level x_N
says next to nothing of x_{N-1}, so that its conditional is the marginal (`informed`). A level's chain has the step
b_t = step_scale sqrt(S_t / S_0) sigma and its energy the temperature b_t^2: a transition then moves by half of
grad h at every level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

VARIANCES = 1000
"""Steps of the diffusion that levels are taken from."""
FIRST, LAST = 1e-4, 0.02
"""Its variances, which grow linearly."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level t."""

    signal: float
    """A_t."""
    noise: float
    """S_t."""
    next_signal: float
    """a of Eq. (Y1)."""
    next_noise: float
    """sigma of Eq. (Y1)."""
    step: float
    """b_t, of the chain in y = `scale` x_t."""
    temperature: float
    """T_t: h / T_t is the log-density of x_t up to a constant."""
    weight: float
    """Of this level's h in the loss, relative to level 0: that level's sigma over this one's."""
    informed: bool = True
    """Whether x_{t+1} enters the conditional."""

    @property
    def scale(self) -> float:
        """y / x_t: a, or 1 where the conditional is the marginal."""
        return self.next_signal if self.informed else 1.0

    @property
    def precision(self) -> float:
        """Of the conditional's Gaussian in y: 1 / sigma^2, or 0 where the conditional is the marginal."""
        return self.next_noise**-2 if self.informed else 0.0


def noise_levels(count: int, step_scale: float, temperature: float = 0.0) -> Sequence[Level]:
    """The levels, least noise first.

    Arguments:
        count: N, from 1 to 500 (released: 6).
        step_scale: of the chains (released: sqrt(2e-4)).
        temperature: T_t of every level; 0: b_t^2 (released).
    """
    width = VARIANCES // (2 * max(count - 1, 1))
    ends = [width * t for t in range(count)] + [VARIANCES - 1]
    variances = [FIRST + (LAST - FIRST) * i / (VARIANCES - 1) for i in range(VARIANCES)]
    left = [math.prod(1 - v for v in variances[: end + 1]) for end in ends]  # A_0^2, ..., A_N^2
    noises = [math.sqrt(1 - squared) for squared in left]
    steps = [math.sqrt(later / earlier) for earlier, later in pairwise(left)]
    added = [math.sqrt(1 - a * a) for a in steps]
    chain_steps = [step_scale * math.sqrt(noises[t] / noises[0]) * added[t] for t in range(count)]
    return [
        Level(
            signal=math.sqrt(left[t]),
            noise=noises[t],
            next_signal=steps[t],
            next_noise=added[t],
            step=chain_steps[t],
            temperature=temperature or chain_steps[t] ** 2,
            weight=added[0] / added[t],
            informed=t < count - 1,
        )
        for t in range(count)
    ]
