"""What every method's module offers the loop around it: phases, frozen copies, and memory that outlives an update.

A page of this package subclasses `Teaching` once, says what its forward teaches from what, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from dualmcmc import spectral
from dualmcmc.compiling import make_ready
from dualmcmc.noise import Noise
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.teaching.losses import Losses
from dualmcmc.trio import Trio

Gather = Callable[[Tensor], Tensor]
"""Rows of all processes in rank order, from this process's rows."""


class Update(NamedTuple):
    """Which update this is, and which images it sees."""

    step: int = 0
    """Its number, from 0."""
    phase: int = 0
    """Which of the method's phases: a backward and a step of the optimiser follow each."""
    batch: int | None = None
    """Images in the global batch; None: those given are all."""
    total: int = 0
    """Training images in all; 0 of a stream (`methods.remembers_images`)."""
    images: Tensor | None = None
    """Positions of this process's images in the training set, int64 (B,), on the CPU; None of a stream's."""
    labels: Tensor | None = None
    """Their classes, int64 (B,)."""


class Teaching(nn.Module):
    """The module that accelerate wraps: its forward runs the chains and returns the losses.

    Arguments:
        trio: the networks that learn, on their device.
        settings: the method's.

    Attributes:
        chains: how they run, `settings.Run.chains`; set it before the first update.
        rows: memory with a row per place in the batch, (B, *); each process holds its own places.
        tables: memory that is equal on all processes.
    """

    PHASES: ClassVar[int] = 1
    """Forwards, each with a backward and a step of the optimiser, per update."""

    def __init__(self, trio: Trio, settings: Any) -> None:
        super().__init__()
        self.trio, self.settings, self.chains = trio, settings, "plain"
        # Plain attributes hide both from `parameters()`, `state_dict()` and DistributedDataParallel.
        self._copies: tuple[Trio, ...] = ()
        self.rows: dict[str, Tensor] = {}
        self.tables: dict[str, Tensor] = {}

    @property
    def phases(self) -> int:
        """`PHASES`, or as many as the settings ask for."""
        return self.PHASES

    def check(self, places: range, batch: int) -> None:
        """Refuses settings that cannot be taught with so many images at a time, before anything is written.

        Arguments:
            places: this process's of the global batch.
            batch: images in the global batch.

        Raises:
            InputError: saying what to change; most methods take any.
        """

    def frozen(self) -> Trio:
        """alpha_t, theta_t, phi_t: the trio's current parameters, for the chains."""
        if not self._copies:
            self._copies = (self.trio.frozen(),)
            make_ready(self._copies[0], self.chains)
        self.trio.refresh(self._copies[0])
        return self._copies[0]

    def begin_update(self) -> Trio:
        """Moves the energy's spectral norms one power iteration on; returns `frozen()`."""
        if self.trio.energy is not None:
            spectral.power_iteration(self.trio.energy)
        return self.frozen()

    def forward(
        self, x_data: Tensor, noise: Noise, watch: Stopwatch | None = None, update: Update | None = None
    ) -> Losses:
        """One phase of one update: x_data (B, *), here (B, C, S, S) in [-1, 1]."""
        return self.losses(x_data, noise, watch or Stopwatch(enabled=False), update or Update())

    def losses(self, x_data: Tensor, noise: Noise, watch: Stopwatch, update: Update) -> Losses:
        """What the method teaches from what; each page's own."""
        raise TypeError(f"{type(self).__name__} has no losses")

    def settle(self, gather: Gather) -> None:
        """After an update: exchanges what `tables` must hold of other processes' rows; most methods have none."""

    def memory(self, gather: Gather) -> dict[str, Tensor]:
        """Everything that must outlive this process, by name; all processes must call it together."""
        rows = {f"rows.{name}": gather(tensor) for name, tensor in sorted(self.rows.items())}
        return {**rows, **{f"tables.{name}": tensor for name, tensor in sorted(self.tables.items())}}

    def remember(self, memory: Mapping[str, Tensor], places: range, batch: int) -> None:
        """The inverse of `memory`, for a process that holds these places of a global batch.

        A memory may have a row for every so many places only; it is divided as the batch is.
        """
        device = next(self.trio.parameters()).device
        self.rows.clear()
        self.tables.clear()
        for key, tensor in memory.items():
            kind, _, name = key.partition(".")
            if kind == "rows":
                first, last = (place * len(tensor) // batch for place in (places.start, places.stop))
                tensor = tensor[first:last]
            (self.rows if kind == "rows" else self.tables)[name] = tensor.clone().to(device)


@torch.no_grad()
def distance(start: Tensor, end: Tensor) -> Tensor:
    """Root mean square, over batch and components, of how far chains moved: a scalar."""
    return (end - start).square().mean().sqrt()
