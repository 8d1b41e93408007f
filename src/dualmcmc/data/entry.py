"""One cache entry: a folder with the decoded pixels, their names, and a record of what they are.

    pixels.u8     uint8, (N, size, size, channels), mapped into memory
    names.jsonl   one JSON string per image
    labels.npy    int64, (N,), the images' classes; only if all have one
    entry.json    shape, hashes, how many were skipped; written last

decoding.py writes it. The two hashes are for `verify`; otherwise sizes tell a whole entry from a damaged one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from dualmcmc.data.source import Item, Split


@dataclass(frozen=True)
class Entry:
    """What `entry.json` records."""

    shape: tuple[int, int, int, int]
    """(N, size, size, channels)."""
    skipped: int
    """Pictures that could not be read."""
    names_bytes: int
    """Size of names.jsonl."""
    labels: int
    """How many labels.npy holds: N, or 0 if there is no such file."""
    pixels: str
    """SHA-256 of shape and pixels, whatever they were decoded from."""
    content: str
    """SHA-256 of the source's names, classes and contents."""


class Names(Sequence[str]):
    """The images' names, read from disk when the first is asked for."""

    def __init__(self, path: Path, count: int) -> None:
        self._path, self._count = path, count
        self._names: list[str] | None = None

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if self._names is None:
            with self._path.open(encoding="utf-8") as lines:
                self._names = [json.loads(line) for line in lines]
        return self._names[index]


def read(folder: Path) -> Entry | None:
    """The record of a whole entry; None if there is none or it is damaged."""
    try:
        entry = Entry(**json.loads((folder / "entry.json").read_text(encoding="utf-8")))
        whole = (
            len(entry.shape) == 4
            and (folder / "pixels.u8").stat().st_size == np.prod(entry.shape, dtype=np.int64)
            and (folder / "names.jsonl").stat().st_size == entry.names_bytes
            and (not entry.labels or _whole_labels(folder, entry))
        )
    except (OSError, ValueError, TypeError, EOFError):
        return None
    return entry if whole else None


def _whole_labels(folder: Path, entry: Entry) -> bool:
    path = folder / "labels.npy"
    held = np.lib.format.open_memmap(path, mode="r")
    known = held.dtype == np.int64 and held.shape == (entry.labels,) == (entry.shape[0],)
    return known and path.stat().st_size == held.offset + held.nbytes


def pixels(folder: Path, entry: Entry) -> np.ndarray:
    """The entry's images, a read-only memory map."""
    return np.memmap(folder / "pixels.u8", dtype=np.uint8, mode="r", shape=tuple(entry.shape))


def labels(folder: Path, entry: Entry) -> np.ndarray | None:
    """The entry's classes, a read-only memory map; None if it has none."""
    return np.lib.format.open_memmap(folder / "labels.npy", mode="r") if entry.labels else None


def verified(folder: Path, entry: Entry, split: Split) -> bool:
    """Whether the pixels are those that were written, and the source those that were decoded; reads both."""
    digest = hashlib.sha256(repr(tuple(entry.shape[1:])).encode())
    for image in pixels(folder, entry):
        digest.update(image.tobytes())
    if digest.hexdigest() != entry.pixels:
        return False
    content = hashlib.sha256()
    for item in split.items():
        add_item(content, item, read_item(item))
    return content.hexdigest() == entry.content


def read_item(item: Item) -> bytes | np.ndarray | OSError:
    """The contents, or why they cannot be read: that is one bad picture, not a bad set."""
    try:
        return item.read()
    except OSError as error:
        return error


def add_item(digest: hashlib._Hash, item: Item, content: bytes | np.ndarray | OSError) -> None:
    """Add a picture's name, class and contents to the hash of a source."""
    if isinstance(content, np.ndarray):
        content = content.tobytes()
    data = b"" if isinstance(content, OSError) else content
    digest.update(json.dumps([item.name, item.label, len(data)]).encode())
    digest.update(data)
