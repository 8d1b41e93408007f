"""The handwritten digits that scikit-learn ships: 1,797 grey images of 8x8, for trials without any download.

Their values 0..16 become round(v * 255 / 16). The set names no split of its own, so one is fixed here: of a
permutation seeded with 0, the first 297 are `test` and the other 1,500 `train`, each in the set's order. The
class of an image is its digit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from dualmcmc.data.source import Item, Source, Split, source

_IMAGES, _TEST = 1797, 297


def digits() -> Source:
    """The embedded set."""
    order = np.random.RandomState(0).permutation(_IMAGES)
    test, train = np.sort(order[:_TEST]), np.sort(order[_TEST:])
    own = {"train": Split(_items(train), len(train)), "test": Split(_items(test), len(test))}
    return source("digits", ["digits", 1], own)


def _items(rows: np.ndarray) -> Callable[[], Iterator[Item]]:
    def items() -> Iterator[Item]:
        from sklearn.datasets import load_digits

        held = load_digits()
        pixels = np.rint(held.images * (255 / 16)).astype(np.uint8)
        for row in rows:
            yield Item(str(row), f"digits, image {row}", partial(pixels.__getitem__, row), int(held.target[row]))

    return items
