"""How long each method may train: minutes of updates, or updates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dualmcmc.errors import InputError

UNBOUNDED = 1_000_000_000
"""Updates that no budget of time reaches."""
_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0}


@dataclass(frozen=True)
class Budget:
    """The same for every method; one of the two is 0."""

    minutes: float = 0.0
    """Of updates; pictures, evaluations and checkpoints do not count (`Run.minutes`)."""
    updates: int = 0

    @property
    def steps(self) -> int:
        """The end of training in updates."""
        return self.updates or UNBOUNDED

    def __str__(self) -> str:
        return f"{self.updates:,} updates" if self.updates else f"{self.minutes:g} minutes of updates"


def parse(text: str) -> Budget:
    """A budget from words such as 10m, 90s, 2h or 2000it.

    Raises:
        InputError: it is none.
    """
    if match := re.fullmatch(r"(\d+)it", text):
        updates = int(match[1])
        if 0 < updates < UNBOUNDED:
            return Budget(updates=updates)
    elif match := re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh])", text):
        minutes = float(match[1]) * _UNITS[match[2]]
        if minutes > 0:
            return Budget(minutes=minutes)
    raise InputError(f"--budget {text}: give time of updates, as 10m (or 90s, 2h), or a number of them, as 2000it")
