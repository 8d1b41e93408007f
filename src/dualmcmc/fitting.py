"""How many images at a time fit into a given memory (`run.micro_batch`), worked out before anything is trained."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from dualmcmc import cost
from dualmcmc.errors import InputError
from dualmcmc.settings import Config

PROCESS = 450_000_000
"""Bytes that Python, torch and a run's own files take on a CPU before there is a network; on a GPU, its own."""
SLACK = 2.5
"""Times what autograd holds: gradients on their way back, results, what an allocator keeps (2.1 was measured)."""
UNITS = {"": 1} | {letter: 1000 ** (i + 1) for i, letter in enumerate("kmgt")}
UNITS |= {f"{letter}i": 1024 ** (i + 1) for i, letter in enumerate("kmgt")}


def parse_bytes(text: str) -> int:
    """Bytes from words such as 8GB, 500MB or 1.5GiB.

    Raises:
        InputError: it is none.
    """
    match = re.fullmatch(r"(\d{1,15}(?:\.\d{0,9})?)\s*([kmgt]i?)?b?", text.strip().lower())
    if match is None or (size := int(float(match[1]) * UNITS[match[2] or ""])) == 0:
        raise InputError(f"--memory {text}: give a size, as 8GB or 500MB")
    return size


class Needs:
    """What one process needs to train a configuration whose batch is its own share, with so many images at a time.

    What autograd holds is a line through what it holds for the whole share and for a half of it at a time: some
    methods have losses or chains of their own that are never cut.
    """

    def __init__(self, config: Config) -> None:
        self.share = config.optim.batch_size
        self.half = (self.share + 1) // 2
        self.memory, self.cut = (self._memory(config, size) for size in (0, self.half))

    @staticmethod
    def _memory(config: Config, size: int) -> dict[str, Any]:
        cut = config.networks.norm != "batch"
        of = replace(config, run=replace(config.run, micro_batch=size if cut else 0))
        memory: dict[str, Any] = cost.iteration(of)["memory_bytes"]
        return memory

    def bytes(self, micro_batch: int) -> int:
        """Of Python, weights and what belongs to each, what is held for a gradient, what a method remembers."""
        memory, fewer = self.memory, self.share - (micro_batch or self.share)
        copies = memory["weights"] // cost.COPIES
        slope = (memory["activations"] - self.cut["activations"]) / max(1, self.share - self.half)
        held = memory["activations"] - slope * fewer
        # Copies once more: gradients of the losses before the last.
        return int(PROCESS + memory["weights"] + copies + SLACK * held + memory["memory"])


def within(config: Config, memory: int, processes: int = 1) -> Config:
    """The configuration with the largest `run.micro_batch` whose training needs no more than `memory` bytes.

    Arguments:
        config: a checked one.
        memory: bytes for each process.
        processes: that share the batch.

    Returns:
        It with the whole share at once (0), or a half of it, a quarter, ..., one image.

    Raises:
        InputError: one image at a time needs more, or the whole batch does where BatchNorm or the method sees it
            at once.
    """
    share = max(1, config.optim.batch_size // processes)
    needs = Needs(replace(config, optim=replace(config.optim, batch_size=share)))
    sizes = _sizes(share, config.networks.norm == "batch")
    for size in sizes:
        if needs.bytes(size) <= memory:
            return replace(config, run=replace(config.run, micro_batch=size))
    least = min(map(needs.bytes, sizes))
    raise InputError(
        f"--memory: {memory / 1e9:.3g} GB are too few: training these networks needs {least / 1e9:.3g} GB at least"
    )


def _sizes(share: int, whole: bool) -> list[int]:
    """0, then a half of the share, rounded up, a half of that, ..., 1."""
    sizes = [0]
    while share > 1 and not whole:
        share = (share + 1) // 2
        sizes.append(share)
    return sizes
