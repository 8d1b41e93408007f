"""What a data set has: its splits, and its pictures before the rule makes training images of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice

import numpy as np
from PIL import Image

from dualmcmc.data.entry import read_item
from dualmcmc.data.named import NAMED
from dualmcmc.data.picture import formats
from dualmcmc.data.reference import parse
from dualmcmc.data.source import Item
from dualmcmc.data.sources import open_source
from dualmcmc.errors import InputError

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "F")

Native = tuple[int, int, int]
"""Width, height, channels (1 or 3)."""


def natives(ref: str) -> set[Native]:
    """What there is among the pictures that can be read; a named set's are known, a hub set's the first's.

    Raises:
        InputError: the reference cannot be used, or none of its pictures can.
    """
    reference = parse(ref)
    if reference.kind == "named":
        known = NAMED[reference.place]
        return {(known.size, known.size, known.channels)}
    source = open_source(reference)
    seen = _seen(source.splits[source.find(reference.split or source.default)].items())
    # A folder's or a Parquet file's pictures may differ; an array's cannot, a hub set's are read one by one.
    found = set(seen) if reference.kind in ("folder", "parquet") else set(islice(seen, 1))
    if not found:
        raise InputError(f"data {source.title}: none of its pictures can be read")
    return found


def splits(ref: str) -> tuple[str, ...]:
    """The names of a set's splits.

    Raises:
        InputError: the reference cannot be used.
    """
    return tuple(open_source(parse(ref)).splits)


def _seen(items: Iterator[Item]) -> Iterator[Native]:
    for item in items:
        content = read_item(item)
        if isinstance(content, np.ndarray):
            height, width = content.shape[:2]
            yield width, height, 3 if content.shape[2:] in ((3,), (4,)) else 1
        elif isinstance(content, bytes):
            try:
                with Image.open(io.BytesIO(content), formats=formats()) as picture:
                    size, mode = picture.size, picture.mode
            except Exception:  # format plugins raise whatever their parsing meets; `load` will name the picture
                continue
            yield *size, 1 if mode in _GREY else 3
