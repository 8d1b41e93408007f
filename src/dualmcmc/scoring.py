"""How usual an image is: log-density, reconstruction error, and where it stands among the training images.

The log-density log pi(x) = h(x) / T is known up to one constant, so by itself it says little: a model keeps
1,001 quantiles of its training images' (`TrainingScores`), and an image's percentile among them is what to
read. Training images score a little higher than unseen ones of their kind: a threshold set at a false-positive
rate on them is exceeded somewhat more often in use. What the score is blind for: docs/maths.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dualmcmc.data import ImageSet
from dualmcmc.errors import InputError

QUANTILES = 1001
IMAGES = 10_000
"""Training images scored for the quantiles, at most; evenly spread over the set."""


class Scores(NamedTuple):
    """Per image, each (N,): log pi(x) in nats up to a constant; MSE in [-1, 1]; percentile from 0 to 100."""

    log_density: Tensor
    reconstruction_mse: Tensor
    percentile: Tensor


class Surprise(NamedTuple):
    """Where the surprise lies, per pixel: |x - reconstruction| and |grad h(x)|, each (N, S, S), over channels."""

    residual: Tensor
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class TrainingScores:
    """The distribution of training images' log-densities."""

    quantiles: np.ndarray
    """(1001,) float64, ascending: at 0, 0.1, ..., 100 %."""
    images: int
    """How many images it is of."""
    data: str
    """Which set."""
    fingerprint: str
    """Of its pixels."""

    def percentile(self, log_density: np.ndarray) -> np.ndarray:
        """Share of training images up to each value, in percent: (N,) to (N,), in [0, 100], monotone."""
        return np.interp(log_density, self.quantiles, np.linspace(0, 100, QUANTILES))

    def threshold(self, fpr: float) -> float:
        """The log-density below which that share of training images lies.

        Raises:
            InputError: fpr is not between 0 and 1.
        """
        if not 0 <= fpr <= 1:
            raise InputError(f"a false-positive rate of {fpr}: expected 0 to 1")
        return float(np.interp(fpr, np.linspace(0, 1, QUANTILES), self.quantiles))


def summarise(log_density: np.ndarray, data: ImageSet) -> TrainingScores:
    """The quantiles of images' log-densities (N,); `data` says which."""
    values = np.sort(np.asarray(log_density, dtype=np.float64))
    quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES))
    return TrainingScores(quantiles, len(values), data.title, data.fingerprint)
