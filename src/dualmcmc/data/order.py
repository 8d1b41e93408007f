"""Which images update number t sees: a pure function, so a resumed run meets the same batches.

Epoch e visits the images in a permutation drawn from (seed, e); what is left over after the last whole
batch is dropped. One permutation holds for all processes: each takes its part of the batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from dualmcmc.errors import InputError

_STREAM = 0x6F72646572  # "order": keeps these draws apart from others made of the same seed


def batch_indices(step: int, *, images: int, batch_size: int, seed: int) -> np.ndarray:
    """Positions of the images of one update.

    Arguments:
        step: number of the update, from 0.
        images: how many images there are.
        batch_size: images per update, over all processes.
        seed: of the run.

    Returns:
        int64, shape (batch_size,), values in 0..images-1; no image twice in one epoch.

    Raises:
        InputError: a batch larger than the set, or a number out of range.
    """
    if batch_size < 1 or step < 0 or seed < 0:
        raise InputError(
            f"step {step}, batch size {batch_size}, seed {seed}: none may be negative, nor a batch empty"
        )
    if batch_size > images:
        raise InputError(
            f"a batch of {batch_size} exceeds the {images} images there are: lower --optim.batch-size"
        )
    epoch, position = divmod(step, images // batch_size)
    start = position * batch_size
    return _permutation(seed, epoch, images)[start : start + batch_size].copy()


@lru_cache(maxsize=2)  # this epoch's, and the next one's around its end
def _permutation(seed: int, epoch: int, images: int) -> np.ndarray:
    # RandomState's stream is frozen for ever, unlike that of numpy's newer Generator.
    bits = np.random.MT19937(np.random.SeedSequence([_STREAM, seed, epoch]))
    return np.random.RandomState(bits).permutation(images).astype(np.int64)


def spread(images: int, wanted: int) -> list[int]:
    """Up to `wanted` positions, evenly spread over `images`."""
    count = min(images, wanted)
    return [i * images // count for i in range(count)]
