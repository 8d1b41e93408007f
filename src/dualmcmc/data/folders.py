"""Folders of images, at any depth, in the order of their relative paths.

Subfolders named train, test, val, valid or validation, in any case, are the set's own splits, and pictures
outside them are left out. Hidden files and folders are ignored, and files whose extension is no picture's.

A picture's class is the first subfolder of its path in its split, numbered from 0 by sorted name over all
splits. A split with a picture outside any subfolder has none, nor has a set with fewer than two such subfolders.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from dualmcmc import limits
from dualmcmc.data.picture import extensions
from dualmcmc.data.source import Item, Shard, Source, Split, source
from dualmcmc.errors import InputError
from dualmcmc.reading import content

SPLITS = ("train", "test", "val", "valid", "validation")
"""Names of folders, files and arrays that make them splits."""
_PER_SHARD = 1024


def folder(place: str) -> Source:
    """The images of a folder.

    Raises:
        InputError: there is none, or a folder in it cannot be read.
    """
    root = Path(place).absolute()
    files = _files(root)
    if not files:
        raise InputError(f"the folder {place!r} holds no image (any depth; PNG, JPEG, WebP, ...): check the path")
    own: dict[str, list[str]] = {}
    for name, _, _ in files:
        top, slash, _ = name.partition("/")
        if slash and top.lower() in SPLITS:
            own.setdefault(top.lower(), []).append(name)
    names = own or {"all": [name for name, _, _ in files]}
    labels = _labels(names, 1 if own else 0)
    splits = {}
    for split, inside in names.items():
        items = _items(root, inside, labels.get(split))
        splits[split] = Split(partial(items, 0, 1), len(inside), _shards(items, len(inside)))
    return source(repr(place), ["folder", str(root), files], splits)


def _labels(names: dict[str, list[str]], depth: int) -> dict[str, list[int]]:
    """The classes of the splits that have them; `depth` folders of each path belong to no class."""
    folders = {split: [name.split("/")[depth:-1] for name in inside] for split, inside in names.items()}
    classes = {split: [first for first, *_ in inside] for split, inside in folders.items() if all(inside)}
    known = sorted({name for inside in classes.values() for name in inside})
    if len(known) < 2:
        return {}
    number = {name: i for i, name in enumerate(known)}
    return {split: [number[name] for name in inside] for split, inside in classes.items()}


def _files(root: Path) -> list[tuple[str, int, int]]:
    """Relative path, bytes and time of change (ns) of every picture, sorted by path."""
    wanted, found, seen = extensions(), [], set()

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot list the folder {str(error.filename)!r}: {error.strerror}") from error

    for folder_name, folders, names in os.walk(root, onerror=refuse, followlinks=True):
        status = os.stat(folder_name)
        if (status.st_dev, status.st_ino) in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder_name, name)
            if not name.startswith(".") and path.suffix.lower() in wanted:
                found.append((path.relative_to(root).as_posix(), *_stamp(path)))
    return sorted(found)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # a dangling link: reading it will say so
    return status.st_size, status.st_mtime_ns


def _items(root: Path, names: list[str], labels: list[int] | None) -> Callable[[int, int], Iterator[Item]]:
    def items(first: int, stride: int) -> Iterator[Item]:
        for i in range(first, len(names), stride):
            path = root / names[i]
            read = partial(content, path, limits.PICTURE_BYTES)
            yield Item(names[i], str(path), read, labels[i] if labels else None)

    return items


def _shards(items: Callable[[int, int], Iterator[Item]], count: int) -> list[Shard]:
    """Each takes pictures from all over the split, since neighbours are mostly of one class."""
    shards = -(-count // _PER_SHARD)

    def shard(first: int) -> Shard:
        return Shard(lambda row: items(first + shards * row, shards), first, shards)

    return [shard(first) for first in range(shards)]
