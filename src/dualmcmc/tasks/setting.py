"""What all tasks share: a model, the images it is measured on, a seed, and the processes that divide the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc import __version__
from dualmcmc.data import ImageSet
from dualmcmc.data.order import spread
from dualmcmc.errors import InputError
from dualmcmc.methods import RecoveryLikelihood, start
from dualmcmc.metrics import Comparison
from dualmcmc.model import Model
from dualmcmc.parallel import Processes


class Result(NamedTuple):
    """A task's figures, as they go into metrics.json, and the pictures that its drawing shows, on the CPU."""

    figures: dict[str, Any]
    pictures: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One evaluation."""

    model: Model
    train: ImageSet
    """The images it was trained on."""
    heldout: ImageSet
    """Images to measure on."""
    images: int
    """How many of them, the first ones."""
    seed: int = 0
    batch_size: int = 64
    processes: Processes = field(default_factory=Processes.current)
    quiet: bool = False
    about: dict[str, Any] = field(default_factory=dict)
    """Goes into every protocol: the run, its weights."""

    def __post_init__(self) -> None:
        if not 1 <= self.images <= len(self.heldout):
            raise InputError(f"{self.images} images of {self.heldout.title}: it has {len(self.heldout)}")

    def batches(self, n: int, title: str) -> Iterator[range]:
        """This process's share of range(n), in batches, with a progress bar where there is a terminal."""
        from rich.console import Console
        from rich.progress import track

        share = self.processes.share(n)
        parts = [share[first : first + self.batch_size] for first in range(0, len(share), self.batch_size)]
        console = Console(stderr=True)
        shown = self.processes.main and console.is_terminal and len(parts) > 2
        yield from track(parts, title, console=console, disable=self.quiet or not shown)

    def collect(self, parts: Sequence[Comparison]) -> Comparison:
        """Comparisons of all batches of all processes, in the images' order."""
        empty = torch.empty(0, dtype=torch.float64)
        columns = zip(Comparison(empty, empty, empty), *parts, strict=True)
        return Comparison(*(self.processes.collect(torch.cat(column)) for column in columns))

    def picture(self, n: int) -> Tensor:
        """Held-out images to show, evenly spread over those measured: (n or fewer, C, S, S)."""
        return self.heldout.tensor(self.shown(n))

    def shown(self, n: int) -> list[int]:
        """Their positions, which are their keys."""
        return spread(self.images, n)

    def protocol(self, **more: Any) -> dict[str, Any]:
        """How figures came about on the held-out images: enough to find them again."""
        data = {
            "data": self.heldout.title,
            "split": self.heldout.split,
            "fingerprint": self.heldout.fingerprint,
            "n": self.images,
        }
        return {**self.how(), **data, **more}

    def how(self) -> dict[str, Any]:
        """What a protocol holds beside data: code, weights, seed, machine, chains."""
        model, method = self.model, self.model.config.method
        names = ("data_chain", "latent_chain", "test_chain", "noise_chain")
        chains: dict[str, Any] = {name: asdict(getattr(method, name)) for name in names if hasattr(method, name)}
        if isinstance(method, RecoveryLikelihood):  # its chain is a schedule
            own = ("levels", "level_steps", "step_scale", "test_noise")
            chains |= {name: getattr(method, name) for name in own}
        seen = {"step": model.step, "seed": self.seed, "batch_size": self.batch_size}
        machine = {"device": model.device.type, "precision": model.precision, "torch": torch.__version__}
        return {
            "version": __version__,
            **self.about,
            "method": method.name,
            **seen,
            **machine,
            **chains,
            "start": start(method),
        }
