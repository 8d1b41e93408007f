"""Files from outside: how many, how many bytes and how many pixels are taken, all seen before one is decoded.

A file becomes a picture of the model's size by the data rule at once, and nothing else of it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualmcmc.data.picture import decode
from dualmcmc.errors import InputError
from dualmcmc.reading import content
from dualmcmc.settings import Images

BYTES = 20 << 20
"""Of a file."""
PIXELS = 25_000_000
"""Of a picture, as a camera's 6000x4000: its copies while the data rule is applied stay below half a gigabyte."""
COUNT = 16
"""Pictures that one visitor may have in one place."""
NAME = 40
"""Characters of a file's name that are shown."""


class Upload(NamedTuple):
    """A picture as the model sees it: uint8 (S, S, C)."""

    name: str
    pixels: np.ndarray


def read(paths: Sequence[str], rule: Images, *, there: int = 0) -> tuple[list[Upload], list[str]]:
    """The pictures in files, and a sentence on each file that holds none.

    Arguments:
        paths: where the files lie.
        rule: the model's size and channels.
        there: pictures that the visitor has already.
    """
    pictures, complaints = [], []
    for path in paths[: max(0, COUNT - there)]:
        name = shortened(Path(path).name)
        try:
            pictures.append(Upload(name, _decoded(Path(path), rule)))
        except InputError as error:
            complaints.append(f"{name}: {error}")
    left = len(paths) - max(0, COUNT - there)
    if left > 0:
        complaints.append(f"{COUNT} pictures are taken at most: {left} left out, clear some first")
    return pictures, complaints


def _decoded(path: Path, rule: Images) -> np.ndarray:
    try:
        encoded = content(path, BYTES)
    except OSError as error:
        raise InputError(f"the file cannot be read ({error.strerror or error}): send another") from None
    return decode(encoded, rule, most=PIXELS)


def shortened(name: str) -> str:
    """A name of at most `NAME` characters, its end kept."""
    return name if len(name) <= NAME else f"{name[: NAME - 13]}…{name[-12:]}"
