"""Where a step's time goes, without making the device wait; and how long a piece of work takes, waiting for it.

On a CPU a mark reads the clock; on a CUDA device it records an event, and elapsed times are read when
asked for, which is once per log line.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable

import torch


class Clock:
    """Seconds of a piece of work; on a GPU until it has done it."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)

    def _settle(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def seconds(self, work: Callable[[], object]) -> float:
        """How long `work` takes."""
        self._settle()
        began = time.perf_counter()
        work()
        self._settle()
        return time.perf_counter() - began


class Stopwatch:
    """Adds up seconds per part: `mark(part)` books the time since the last mark (or `start`) under it."""

    def __init__(self, *, enabled: bool = True, cuda: bool = False) -> None:
        self.enabled, self.cuda = enabled, cuda
        self._marks: list[tuple[str, torch.cuda.Event | float]] = []

    def start(self) -> None:
        """Time before this moment is nobody's."""
        self.mark("")

    def mark(self, part: str) -> None:
        """The time since the last mark belongs to `part`."""
        if not self.enabled:
            return
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self._marks.append((part, event))
        else:
            self._marks.append((part, time.perf_counter()))

    def shares(self) -> dict[str, float]:
        """Each part's share of the time since the last call, adding up to 1; empties the watch."""
        if self.cuda and self._marks:
            torch.cuda.synchronize()
        seconds: dict[str, float] = defaultdict(float)
        for (_, before), (part, now) in zip(self._marks, self._marks[1:], strict=False):
            if part:
                seconds[part] += _elapsed(before, now)
        self._marks.clear()
        total = sum(seconds.values())
        return {part: value / total for part, value in seconds.items()} if total > 0 else {}


def _elapsed(before: torch.cuda.Event | float, now: torch.cuda.Event | float) -> float:
    if isinstance(before, float) and isinstance(now, float):
        return now - before
    assert isinstance(before, torch.cuda.Event)
    assert isinstance(now, torch.cuda.Event)
    return before.elapsed_time(now) / 1000
