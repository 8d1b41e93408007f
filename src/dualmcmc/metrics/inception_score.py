"""The inception score (Salimans et al. 2016) of a classifier's probabilities p(y | x) for images x.

    IS = exp( E_x KL(p(y | x) || p(y)) ),    p(y) = E_x p(y | x),

found in each of ten parts of the images and averaged. The mean of KL is E sum p log p - sum p(y) log p(y), so
sums per part suffice: image i belongs to part i mod 10 wherever it is computed, and sums add over processes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.metrics.estimate import Estimate, estimate
from dualmcmc.parallel import Processes


class InceptionScore:
    """Streams probabilities; float64 on the CPU.

    Arguments:
        num_classes: C.
        splits: parts, two or more.
    """

    def __init__(self, num_classes: int, splits: int = 10) -> None:
        if splits < 2:
            raise ValueError(f"{splits} parts: a standard error takes 2 or more")
        self.count = torch.zeros(splits, dtype=torch.float64)
        self.p = torch.zeros(splits, num_classes, dtype=torch.float64)
        self.p_log_p = torch.zeros(splits, dtype=torch.float64)

    def update(self, probabilities: Tensor, indices: Tensor | range) -> None:
        """Adds rows.

        Arguments:
            probabilities: (B, C), each row sums to 1.
            indices: the images' numbers, B of them.

        Raises:
            ValueError: another shape, or rows that are no probabilities.
        """
        p = probabilities.detach().cpu().double()
        part = torch.as_tensor(indices).cpu() % len(self.count)
        if p.ndim != 2 or p.shape[1] != self.p.shape[1] or part.shape != (len(p),):
            raise ValueError(
                f"probabilities of shape {tuple(p.shape)} for {len(part)} images: "
                f"expected ({len(part)}, {self.p.shape[1]})"
            )
        if not ((p >= 0).all() and ((p.sum(1) - 1).abs() < 1e-2).all()):
            raise ValueError("rows are not probabilities: each must be finite, not negative, and sum to 1")
        self.count.index_add_(0, part, torch.ones_like(part, dtype=torch.float64))
        self.p.index_add_(0, part, p)
        self.p_log_p.index_add_(0, part, torch.xlogy(p, p).sum(1))  # xlogy(0, 0) = 0

    def add_over(self, processes: Processes) -> None:
        """Replaces the sums by those over all processes; each process calls it once, when it is done."""
        processes.add(self.count, self.p, self.p_log_p)

    def compute(self) -> Estimate:
        """Mean of the parts' scores, and its standard error.

        Raises:
            InputError: a part has no image.
        """
        if (self.count == 0).any():
            n, splits = int(self.count.sum()), len(self.count)
            raise InputError(
                f"an inception score in {splits} parts of {n} images leaves parts empty: take {splits} or more"
            )
        mean = self.p / self.count[:, None]
        return estimate((self.p_log_p / self.count - torch.xlogy(mean, mean).sum(1)).exp())
