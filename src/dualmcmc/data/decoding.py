"""Decodes one split of a source into a cache entry, picture by picture, so memory stays flat.

An entry is written in a folder beside its place and renamed into it, so it is there whole or not at all. Of
two processes that decode the same set, the slower one uses the faster one's.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from dualmcmc.data.entry import Entry, add_item, read, read_item
from dualmcmc.data.picture import decode
from dualmcmc.data.place import BUILDING
from dualmcmc.data.source import Item, Split
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

Progress = Callable[[int, int | None], None]
"""Told the number of pictures gone through, and how many there are, None where nobody knows."""


NAMED = 1000
"""Pictures that cannot be read which one message names."""


class NoImagesError(InputError):
    """The split holds nothing at all; `holdout` takes that for having none."""


def build(folder: Path, title: str, split: Split, rule: Images, skip_bad: bool, progress: Progress | None) -> None:
    """Decode a split into the entry `folder`, replacing a damaged one.

    Raises:
        InputError: a picture that cannot be read, unless `skip_bad`; none that can; a cache that cannot be
            written.
    """
    room: Path | None = None
    try:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            room = Path(tempfile.mkdtemp(prefix=BUILDING, dir=folder.parent))
            _check_room(room, split, rule)
            _write(room / "new", title, split, rule, skip_bad, progress)
            _install(room, folder)
        except OSError as error:
            raise InputError(
                f"the cache {str(folder.parent)!r} cannot be written ({error.strerror or error}): "
                "make room, or set DUALMCMC_CACHE to another folder"
            ) from error
    finally:
        if room:
            shutil.rmtree(room, ignore_errors=True)


def _check_room(room: Path, split: Split, rule: Images) -> None:
    needed = (split.count or 0) * rule.size * rule.size * rule.channels
    free = shutil.disk_usage(room).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{split.count:,} images take {needed:,} bytes, and {free:,} are free")


def _install(room: Path, folder: Path) -> None:
    if read(folder) is None and folder.exists():
        folder.rename(room / "damaged")
    try:
        (room / "new").rename(folder)
    except OSError:
        if read(folder) is None:  # not because another process was faster
            raise


def _write(
    folder: Path, title: str, split: Split, rule: Images, skip_bad: bool, progress: Progress | None
) -> None:
    folder.mkdir()
    digest = hashlib.sha256(repr((rule.size, rule.size, rule.channels)).encode())
    content = hashlib.sha256()
    count = skipped = 0
    bad: list[str] = []  # the first ones
    labels = array("q")
    with (folder / "pixels.u8").open("wb") as pixels_file, (folder / "names.jsonl").open("wb") as names_file:
        for item in split.items():
            encoded = read_item(item)
            add_item(content, item, encoded)
            try:
                image = decoded(item, encoded, rule)
            except InputError as error:
                skipped += 1
                bad += [str(error)] if len(bad) < NAMED else []
            else:
                raw = image.tobytes()
                pixels_file.write(raw)
                digest.update(raw)
                names_file.write(json.dumps(item.name).encode() + b"\n")
                labels.append(_label(item))
                count += 1
            if progress:
                progress(count + skipped, split.count)
        names_bytes = names_file.tell()
    if bad and not skip_bad:  # all are read first, so that each bad one is named at once
        more = f"; and {skipped - len(bad):,} more" if skipped > len(bad) else ""
        raise InputError(f"{'; '.join(bad)}{more}; --skip-bad skips such pictures")
    if not count and bad:
        raise InputError(f"data {title}: none of its {skipped} pictures can be read, the first being {bad[0]}")
    if not count:
        raise NoImagesError(f"data {title} holds no image in this split: choose another as REF:split")
    shape = (count, rule.size, rule.size, rule.channels)
    labelled = min(labels) >= 0
    if labelled:
        np.save(folder / "labels.npy", np.array(labels, dtype=np.int64))
    entry = Entry(shape, skipped, names_bytes, count if labelled else 0, digest.hexdigest(), content.hexdigest())
    (folder / "entry.json").write_text(json.dumps(asdict(entry)), encoding="utf-8")


def _label(item: Item) -> int:
    """Its class; -1 for none, or for a number that int64 does not hold."""
    return item.label if item.label is not None and 0 <= item.label < 1 << 63 else -1


def decoded(item: Item, content: bytes | np.ndarray | OSError, rule: Images) -> np.ndarray:
    """The training image of an item whose contents were read, uint8 (size, size, channels).

    Raises:
        InputError: they could not be, or are no picture; it names the item.
    """
    if isinstance(content, OSError):
        raise InputError(f"{item.where}: {content.strerror or content}")
    try:
        return decode(content, rule)
    except InputError as error:
        raise InputError(f"{item.where}: {error}") from error
