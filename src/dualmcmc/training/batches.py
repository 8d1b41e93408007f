"""What an update sees: this process's images of the global batch, and their noise, by the number of the update."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualmcmc import data
from dualmcmc.noise import BatchNoise
from dualmcmc.settings import Config
from dualmcmc.teaching import Update
from dualmcmc.training.streaming import Streaming


@dataclass
class Batches:
    """Images from a set, by a permutation of each epoch, or from a stream, which hands out the next ones."""

    config: Config
    train: data.ImageSet
    stream: Streaming | None
    rows: range
    """This process's places in the global batch."""
    device: torch.device

    def at(self, step: int, attempt: int) -> tuple[Tensor, BatchNoise, Update]:
        """Images (B / processes, C, S, S) of global batch number `step`, their noise, and what update it is."""
        c = self.config
        noise = BatchNoise(c.seed, self.rows, path=("train", step, attempt))
        mirrored = None
        if c.images.flip:
            mirrored = np.random.default_rng([c.seed, step, 1]).random(c.optim.batch_size) < 0.5
            mirrored = mirrored[self.rows.start : self.rows.stop]
        update = Update(step=step, batch=c.optim.batch_size)
        if self.stream:
            x, labels = self.stream.take(mirrored, len(self.rows))
            update = update._replace(labels=None if labels is None else labels.to(self.device))
            return x.to(self.device, non_blocking=True), noise, update
        return self._of_set(step, mirrored, noise, update)

    def _of_set(
        self, step: int, mirrored: np.ndarray | None, noise: BatchNoise, update: Update
    ) -> tuple[Tensor, BatchNoise, Update]:
        train, c = self.train, self.config
        indices = data.batch_indices(step, images=len(train), batch_size=c.optim.batch_size, seed=c.seed)
        own = indices[self.rows.start : self.rows.stop]
        x = train.tensor(own, mirrored=mirrored).to(self.device, non_blocking=True)
        labels = None if train.labels is None else torch.from_numpy(train.labels[own]).to(self.device)
        return x, noise, update._replace(total=len(train), images=torch.from_numpy(own), labels=labels)
