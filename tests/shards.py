"""Parquet sets whose pictures say which they are."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(number: int, side: int = 8) -> bytes:
    """A grey PNG of noise, its first two pixels the number."""
    pixels = np.random.default_rng(number).integers(0, 256, (side, side), dtype=np.uint8)
    pixels.flat[:2] = divmod(number, 256)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def numbers(pixels: np.ndarray) -> list[int]:
    """Which pictures these are, uint8 (N, 8, 8, 1)."""
    flat = pixels.reshape(len(pixels), -1).astype(int)
    return (256 * flat[:, 0] + flat[:, 1]).tolist()


def parquet(folder: Path, files: Sequence[int], group: int, *, bad: Iterable[int] = (), classes: int = 0) -> Path:
    """Files of so many rows each, in row groups; picture i is of class i modulo `classes`, `bad` ones are none."""
    folder.mkdir(parents=True)
    broken, first = set(bad), 0
    for place, rows in enumerate(files):
        inside = range(first, first + rows)
        images = [{"bytes": b"no picture" if i in broken else picture(i), "path": None} for i in inside]
        columns = {"image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}
        if classes:
            columns["label"] = pa.array([i % classes for i in inside], pa.int64())
        pq.write_table(pa.table(columns), folder / f"part-{place}.parquet", row_group_size=group)
        first += rows
    return folder
