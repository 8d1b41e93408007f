r"""The maximum mean discrepancy of two samples, without bias: 0 on average where both are of one distribution.

    MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)      (W1)

with the sum of inverse multiquadratics k(x, y) = sum_s C_s / (C_s + |x - y|^2), C_s = 2 d s, for d dimensions and
seven scales s. 2 d is the mean squared distance between two draws of N(0, I). Tails fall off slowly, so codes far
from the prior still feel it. As every U-statistic it can be negative.
Sources: Gretton et al., JMLR 13 (2012), Lemma 6; Tolstikhin et al., ICLR 2018, and tolstikhin/wae, wae.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dualmcmc.densities import at_least_float32
from dualmcmc.errors import InputError

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """k of every pair: x (n, d), y (m, d); returns (n, m), at most `len(SCALES)`."""
    squares = (at_least_float32(x)[:, None] - at_least_float32(y)[None]).square().sum(2)
    constants = (2 * x.shape[1] * scale for scale in SCALES)
    return torch.stack([c / (c + squares) for c in constants]).sum(0)


def squared_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Eq. (W1): x (n, d), y (m, d); returns a scalar with gradient to both.

    Raises:
        InputError: fewer than two rows, of which there are no pairs.
    """
    if min(len(x), len(y)) < 2:
        raise InputError(f"the MMD compares pairs, and there are {len(x)} and {len(y)} codes: use a larger batch")
    within = _between_distinct(kernel(x, x)) + _between_distinct(kernel(y, y))
    return within - 2 * kernel(x, y).mean()


def _between_distinct(k: Tensor) -> Tensor:
    n = len(k)
    return (k.sum() - k.trace()) / (n * (n - 1))
