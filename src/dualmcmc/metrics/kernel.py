"""The kernel distance between two sets of features: in the Inception network's, KID (Bińkowski et al. 2018).

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = (x·y / F + 1)^3,    F features,

estimated without bias (pairs of a row with itself are left out): 0 on average where both sets follow one law,
so single values may be negative. The estimate is the mean over disjoint blocks of rows. These are independent,
so their spread gives an honest standard error, which the usual overlapping random subsets do not.

Rows are dealt to blocks by a fixed shuffle: sets come sorted by class, or with classes in turn, and blocks cut
from such an order would hold one class each, far from any mixture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.metrics.estimate import Estimate, estimate
from dualmcmc.metrics.importing import import_torchmetrics


@torch.no_grad()
def kernel_distance(a: Tensor, b: Tensor, block: int = 1000) -> Estimate:
    """MMD^2 of two sets, in float64 on the CPU.

    With n the smaller number of rows, there are n / block, rounded up, blocks of equal size, but at least two
    blocks and two rows in each; fewer rows than there are blocks are left over, and of the larger set all rows
    beyond n.

    Arguments:
        a: features (n, F).
        b: features (m, F).
        block: rows per block, at most.

    Returns:
        Mean over blocks, and its standard error.

    Raises:
        InputError: a set has fewer than 4 rows.
        ValueError: features have different lengths, or blocks are to have fewer than 2 rows.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or block < 2:
        raise ValueError(f"features of shape {tuple(a.shape)} and {tuple(b.shape)} in blocks of {block}")
    n = min(len(a), len(b))
    if n < 4:
        raise InputError(f"a kernel distance of {len(a)} and {len(b)} images: it takes 4 or more of each")
    poly_mmd = import_torchmetrics().image.kid.poly_mmd
    blocks = min(max(2, -(-n // block)), n // 2)
    dealt = [_deal(len(x), blocks, n // blocks) for x in (a, b)]
    return estimate(
        torch.stack([poly_mmd(a[i].cpu().double(), b[j].cpu().double()) for i, j in zip(*dealt, strict=True)])
    )


def _deal(n: int, blocks: int, rows: int) -> Tensor:
    """Row numbers (blocks, rows), all different, of n."""
    # RandomState's stream is frozen for ever, unlike torch's or that of numpy's newer Generator.
    return torch.from_numpy(np.random.RandomState(0).permutation(n)[: blocks * rows]).reshape(blocks, rows)
