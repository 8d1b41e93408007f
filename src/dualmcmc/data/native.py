"""What a data set's pictures are before the rule makes training images of them."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from dualmcmc.data.entry import read_item
from dualmcmc.data.named import NAMED
from dualmcmc.data.picture import formats
from dualmcmc.data.reference import parse
from dualmcmc.data.sources import open_source
from dualmcmc.errors import InputError

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "F")


def native(ref: str) -> tuple[int, int, int]:
    """Width, height and channels (1 or 3) of the first picture that can be read; a named set's are known.

    Raises:
        InputError: the reference cannot be used, or none of its pictures can.
    """
    reference = parse(ref)
    if reference.kind == "named":
        known = NAMED[reference.place]
        return known.size, known.size, known.channels
    source = open_source(reference)
    split = source.splits[source.find(reference.split or source.default)]
    for item in split.items():
        content = read_item(item)
        if isinstance(content, np.ndarray):
            height, width = content.shape[:2]
            return width, height, 3 if content.shape[2:] in ((3,), (4,)) else 1
        if isinstance(content, bytes):
            try:
                with Image.open(io.BytesIO(content), formats=formats()) as picture:
                    return *picture.size, 1 if picture.mode in _GREY else 3
            except Exception:  # format plugins raise whatever their parsing meets; `load` will name the picture
                continue
    raise InputError(f"data {source.title}: none of its pictures can be read")
