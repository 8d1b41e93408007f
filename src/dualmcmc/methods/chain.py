"""A Langevin chain's settings, and the bounds that settings share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from dualmcmc import limits

Count = Annotated[int, Ge(1), Le(limits.UPDATES)]
Interval = Annotated[int, Ge(0), Le(limits.UPDATES)]
Steps = Annotated[int, Ge(0), Le(limits.STEPS)]
Weight = Annotated[float, Ge(0), Le(limits.NUMBER)]
Positive = Annotated[float, Gt(0), Ge(1 / limits.NUMBER), Le(limits.NUMBER)]
Fraction = Annotated[float, Ge(0), Lt(1)]


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A Langevin chain, Eq. (L1): x' = x + s^2/2 grad f + s sqrt(T) eps."""

    steps: Steps
    """Number of transitions K."""
    step: Positive
    """Step s, in units of the state; the released code's step size a."""
    temperature: Weight = 1.0
    """T; the released code's noise size is b = s sqrt(T). At 0 the chain is gradient ascent."""
    gradient_clip: Weight = 0.0
    """Largest magnitude of each component of grad f (IGEBM); 0 is off."""
    longest_drift: Weight = 0.0
    """Largest Euclidean norm of a transition's s^2/2 grad f (Hat-EBM: 2.5); 0 is off."""
    clamp: bool = False
    """Hold states in [-1, 1] after every transition (IGEBM)."""
