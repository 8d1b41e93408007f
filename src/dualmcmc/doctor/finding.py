"""What a check has found."""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["ok", "note", "bad"]


class Finding(NamedTuple):
    """One line of the doctor's."""

    state: State
    """ok; note, what one should know; bad, what will fail."""
    name: str
    """What was looked at."""
    seen: str
    """What is there."""
    remedy: str = ""
    """What to do; of `bad` always, of `note` perhaps."""
