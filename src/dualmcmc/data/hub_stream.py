"""Data sets of the Hugging Face hub as streams: the library `datasets` fetches rows as they are read.

A shard is what that library calls one, mostly a file of the set. Nobody knows beforehand how many rows a shard
has, so positions, by which a set of `train` alone is divided, are counted in each anew (`source.py`). Without
`@revision` each process, and a resumed run, takes the newest commit; pin one to read the same files.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dualmcmc import limits
from dualmcmc.data import hub
from dualmcmc.data.named import NAMED
from dualmcmc.data.source import Item, Shard, Source, Split, of_shards, source
from dualmcmc.errors import InputError

_COMMIT = re.compile(r"[0-9a-f]{40}")


def named_stream(name: str) -> Source:
    """A known set, its own splits under our names.

    Raises:
        InputError: as `hub_stream`.
    """
    known = NAMED[name]
    assert known.repo is not None, f"{name} is not a hub set"
    sets, commit = _open(name, known.repo, known.config, known.revision)
    gone = [theirs for theirs in known.splits.values() if theirs not in sets]
    if gone:
        raise InputError(f"data {name} ({known.repo}) has no split {gone[0]!r} any more: it has {', '.join(sets)}")
    splits = {ours: _split(name, sets[theirs], known.column) for ours, theirs in known.splits.items()}
    return source(name, ["hub stream", known.repo, commit, known.config, known.column], splits)


def hub_stream(repo: str, revision: str | None) -> Source:
    """Any data set of the hub.

    Raises:
        InputError: the hub cannot be reached, there is no such set, or it has no image column.
    """
    title = f"hf:{repo}" + (f"@{revision}" if revision else "")
    sets, commit = _open(title, repo, None, revision)
    splits = {str(name): _split(title, rows, None) for name, rows in sets.items()}
    return source(title, ["hub stream", repo, commit], splits)


def _open(title: str, repo: str, config: str | None, revision: str | None) -> tuple[dict[str, Any], str]:
    """Every split of a hub set as a stream of `datasets`, and the commit that they are of."""
    import datasets
    import huggingface_hub

    away = f"data {title}: a stream needs the hub, which cannot be reached: leave `stream:` out to use the cache"
    if not hub.reachable():
        raise InputError(away)
    try:
        commit = revision or ""
        if not _COMMIT.fullmatch(commit):
            commit = huggingface_hub.dataset_info(repo, revision=revision).sha or ""
        return dict(datasets.load_dataset(repo, config, revision=commit or revision, streaming=True)), commit
    except Exception as error:  # of many libraries, as in hub.py
        if isinstance(error, ConnectionError):
            raise InputError(away) from error
        raise InputError(f"data {title}: {repo} cannot be loaded ({_reason(error)})") from error


def _split(title: str, rows: Any, column: str | None) -> Split:
    if rows.features is None:
        raise InputError(f"data {title}: its columns are known only once it is downloaded: leave `stream:` out")
    encoded, column, label = hub.encoded_rows(title, rows, column)
    count = encoded.num_shards
    return of_shards([Shard(partial(_items, title, encoded, count, i, column, label)) for i in range(count)])


def _items(
    title: str, rows: Any, shards: int, shard: int, column: str, label: str | None, first: int
) -> Iterator[Item]:
    part = rows.shard(num_shards=shards, index=shard)
    row, values = first, iter(part.skip(first) if first else part)
    while True:
        try:
            value = next(values, None)
        except Exception as error:  # the network's, the file system's, the file format's
            raise InputError(f"{title}, shard {shard}, row {row} cannot be read ({_reason(error)})") from error
        if value is None:
            return
        content, path = hub.picture_of(value[column])
        name = f"{shard}:{row}" + (f":{Path(path).name}" if path else "")
        where = f"{title}, shard {shard}, row {row}"
        yield Item(name, where, partial(_bytes, content, path), None if label is None else value[label])
        row += 1


def _bytes(content: bytes | None, path: str | None) -> bytes:
    if content is not None or not path or not path.rpartition("::")[2].startswith("hf://"):
        return hub.contents(content, path)
    import fsspec  # that of `datasets`, for places such as zip://a.png::hf://...

    try:
        with fsspec.open(path, "rb") as file:
            read: bytes = file.read(limits.PICTURE_BYTES + 1)
        if len(read) > limits.PICTURE_BYTES:
            raise OSError(errno.EFBIG, f"it has more than {limits.PICTURE_BYTES:,} bytes", path[:300])
        return read
    except OSError:
        raise
    except Exception as error:
        raise OSError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
