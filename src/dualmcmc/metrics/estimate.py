"""A mean and its standard error."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A mean, and by how much it would move (one standard deviation) on other data of the same kind and size."""

    mean: float
    standard_error: float


def estimate(values: Tensor) -> Estimate:
    """Of two or more independent values (N,): their mean, and their deviation (over N - 1) / sqrt(N)."""
    values = values.double()
    return Estimate(values.mean().item(), (values.std() / len(values) ** 0.5).item())
