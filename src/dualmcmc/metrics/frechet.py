"""The Fréchet distance between two sets of features; in the Inception network's, the FID of Heusel et al. (2017).

Each set is taken for a Gaussian of its mean and covariance; the squared 2-Wasserstein distance is then

    d = |m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a^(1/2) S_b S_a^(1/2))^(1/2).

The last trace is the sum of the singular values of S_a^(1/2) S_b^(1/2). Found so, and not by eigenvalues of the
product, it keeps all its digits where there are fewer images than features and covariances are singular.

Why not torchmetrics' class: it holds both sets at once. Here the reference's sums are found once, kept in a
file, and compared with samples at several chain lengths; and sums add over processes, so that uneven shares
give one process's figure. Tests hold both to one value.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.parallel import Processes


class Moments:
    """Number, sum and sum of outer products of rows of features, in float64 on the CPU.

    Arguments:
        num_features: F.
    """

    def __init__(self, num_features: int) -> None:
        self.n = 0
        self.sum = torch.zeros(num_features, dtype=torch.float64)
        self.outer = torch.zeros(num_features, num_features, dtype=torch.float64)

    @property
    def num_features(self) -> int:
        """Length of a row."""
        return len(self.sum)

    def update(self, features: Tensor) -> None:
        """Adds rows (B, F).

        Raises:
            ValueError: they have another length.
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            raise ValueError(f"features of shape {tuple(features.shape)}: expected (B, {self.num_features})")
        rows = features.detach().cpu().double()
        self.n += len(rows)
        self.sum += rows.sum(0)
        self.outer.addmm_(rows.T, rows)

    def add_over(self, processes: Processes) -> None:
        """Replaces the sums by those over all processes' rows; each process calls it once, when it is done."""
        n = torch.tensor(self.n)
        processes.add(n, self.sum, self.outer)
        self.n = int(n)

    @property
    def mean(self) -> Tensor:
        """Mean of rows, (F,)."""
        return self.sum / self.n

    @property
    def covariance(self) -> Tensor:
        """Their covariance over n - 1, (F, F).

        Raises:
            InputError: there are fewer than two rows.
        """
        if self.n < 2:
            raise InputError(f"a covariance of the features of {self.n} images: it takes 2 or more")
        return (self.outer - self.n * self.mean.outer(self.mean)) / (self.n - 1)

    def tensors(self) -> dict[str, Tensor]:
        """n, sum and outer by name, to be kept in a file."""
        return {"n": torch.tensor(self.n), "sum": self.sum, "outer": self.outer}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Moments:
        """What `tensors` gave.

        Raises:
            ValueError: names, types or shapes are others.
        """
        moments = cls(tensors["sum"].numel() if "sum" in tensors else 0)
        for name, ours in moments.tensors().items():
            theirs = tensors.get(name)
            if theirs is None or theirs.shape != ours.shape or theirs.dtype != ours.dtype:
                raise ValueError(f"no moments of features: {name!r} is missing, misshapen or of another type")
        moments.n, moments.sum, moments.outer = int(tensors["n"]), tensors["sum"], tensors["outer"]
        return moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """The distance above; where rounding makes it negative it is 0.

    Raises:
        InputError: one of them has fewer than two rows, or rows that are not finite.
        ValueError: their rows have different lengths.
    """
    if a.num_features != b.num_features:
        raise ValueError(f"features of length {a.num_features} and {b.num_features}: no distance between them")
    of_a, of_b = a.covariance, b.covariance
    if not (of_a.isfinite().all() and of_b.isfinite().all()):
        raise InputError("some features are not finite: look for such values in the images or the weights")
    shared = torch.linalg.matrix_norm(_root(of_a) @ _root(of_b), "nuc")
    distance = (a.mean - b.mean).square().sum() + of_a.trace() + of_b.trace() - 2 * shared
    return max(distance.item(), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """The symmetric square root; eigenvalues that rounding made negative are 0."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T
