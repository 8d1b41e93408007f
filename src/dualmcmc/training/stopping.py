"""Why a run stops before its last update: a signal, or figures that no update should follow."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from types import FrameType

from dualmcmc.settings import Config


class Signals:
    """Notes SIGINT and SIGTERM, to be acted on between updates; a second one acts at once. A context manager.

    Outside the main thread, where Python allows no handlers, it notes nothing.
    """

    def __init__(self) -> None:
        self.came = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:
            self._before.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt("stopped at once; the last checkpoint is intact")
        self.came = number


def divergence(figures: Mapping[str, float], config: Config) -> str | None:
    """What is wrong with an iteration's figures: one is not finite, or beyond its limit; None if nothing is.

    Limits: `optim.max_energy_gap` for the gap of h (released code), `optim.max_loss` nats per pixel and
    channel for the generator's loss and per latent dimension for the inference network's.
    """
    for name, value in figures.items():
        if not math.isfinite(value):
            return f"{name} is {value}"
    images, per_number = config.images, config.optim.max_loss
    limits = {
        "energy_gap_size": config.optim.max_energy_gap,
        "loss_generator": per_number * images.channels * images.size**2,
        "loss_inference": per_number * config.networks.latent_dim,
    }
    for name, limit in limits.items():
        if abs(figures.get(name, 0.0)) > limit:
            return f"{name} is {figures[name]:.4g}, beyond {limit:.4g}"
    return None
