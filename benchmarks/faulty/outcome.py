"""What a kind of fault came to."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """One row of the table: what was tried, how often, and every way in which it failed."""

    kind: str
    tried: int
    failures: list[str]
    seconds: float
    note: str = ""
