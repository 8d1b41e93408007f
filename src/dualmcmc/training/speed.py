"""What share of this machine's convolution rate updates reach: one process's arithmetic over its seconds.

The arithmetic is that of `cost.iteration`, which must be worked out once for each process and configuration (a
fifth of a second for tiny networks, seconds for the largest presets); that waits for the first line of the log.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch

from dualmcmc import cost, rate
from dualmcmc.methods import Method
from dualmcmc.settings import Config, Guard, Optim, Run


class Speed:
    """Measures the machine once, when it is made.

    Arguments:
        config: of the run.
        rows: of the batch, this process's own.
        device: this process's.
    """

    def __init__(self, config: Config, rows: int, device: torch.device) -> None:
        # What changes no arithmetic is left at what all runs have, so that equal ones are worked out once.
        self._bare = replace(config, data="-", optim=Optim(batch_size=rows), run=Run(), guard=Guard(), seed=0)
        at_once = min(rows, config.run.micro_batch or rows)
        small = replace(self._bare, optim=replace(self._bare.optim, batch_size=at_once))
        self.rate = rate.of(small, device=device)

    def figures(self, method: Method, step: int, seconds: float) -> dict[str, float]:
        """For a line of the log.

        Arguments:
            method: as it is taught now; a remedy may have lengthened its chain.
            step: number of the last update.
            seconds: of each of the last updates.

        Returns:
            convolution_rate, FLOP per second, and convolution_share; nothing where no layer can be timed.
        """
        if not self.rate:
            return {}
        first_phase = step < getattr(method, "vae_steps", 0)
        flops = _flops(replace(self._bare, method=method), 0 if first_phase else None)
        return {"convolution_rate": self.rate, "convolution_share": flops / max(seconds, 1e-9) / self.rate}


@lru_cache(maxsize=64)
def _flops(config: Config, step: int | None) -> int:
    flops: int = cost.iteration(config, step=step)["flops_per_iteration"]
    return flops
