"""The best linear code: principal components of training images, found in passes over batches.

Up to 3,072 pixels and channels from the covariance itself, exactly; beyond, by subspace iteration: with X the
centred images, Q' = orth(X' X Q) turns any Q towards the leading eigenvectors, as (next / last kept eigenvalue)
per pass (Halko, Martinsson & Tropp, 2011); some more columns than asked for speed it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dualmcmc.data.order import spread
from dualmcmc.metrics import Moments
from dualmcmc.tasks.setting import Setting

IMAGES = 10_000
"""Training images it is fitted to, at most; evenly spread."""
EXACT = 3072
PASSES, SPARE = 8, 16


class Linear(NamedTuple):
    """x to its projection on an affine subspace: mean (D,), orthonormal components (D, k)."""

    mean: Tensor
    components: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Images (B, C, S, S), projected."""
        rows = x.flatten(1) - self.mean
        return (rows @ self.components @ self.components.T + self.mean).reshape(x.shape)


def principal_components(setting: Setting, k: int, exact: int = EXACT) -> Linear:
    """The k leading ones of the training images, fewer where there are not so many images or pixels."""
    n = min(len(setting.train), IMAGES)
    channels, side = setting.model.config.images.channels, setting.model.config.images.size
    size = channels * side**2
    k = max(1, min(k, size, n - 1))
    if size <= exact:
        moments = Moments(size)
        for rows in _rows(setting, n):
            moments.update(rows)
        moments.add_over(setting.processes)
        mean, components = moments.mean, torch.linalg.eigh(moments.covariance)[1][:, -k:].flip(1)
        return Linear(mean.float(), components.float())
    mean = _sum(setting, (rows.double().sum(0) for rows in _rows(setting, n)), (size,)) / n
    mean = mean.float()
    basis = torch.randn(size, min(k + SPARE, size), generator=torch.Generator().manual_seed(0))
    for _ in range(PASSES):
        q = torch.linalg.qr(basis)[0]
        basis = _sum(setting, (_product(rows - mean, q) for rows in _rows(setting, n)), tuple(q.shape))
        basis = basis.float()
    # The last product is X' X Q: its left singular vectors are the components, in order.
    return Linear(mean, torch.linalg.svd(basis, full_matrices=False)[0][:, :k])


def _product(rows: Tensor, q: Tensor) -> Tensor:
    return rows.T @ (rows @ q)


def _rows(setting: Setting, n: int) -> Iterator[Tensor]:
    """This process's share of the images, as rows (B, D)."""
    chosen = spread(len(setting.train), n)
    for keys in setting.batches(n, "principal components"):
        yield setting.train.tensor([chosen[key] for key in keys]).flatten(1)


def _sum(setting: Setting, parts: Iterator[Tensor], shape: tuple[int, ...]) -> Tensor:
    total = torch.zeros(shape, dtype=torch.float64)
    for part in parts:
        total += part
    setting.processes.add(total)
    return total
