"""Data sets of the Hugging Face hub, through the library `datasets` and its own cache.

Left to itself that library retries for half a minute when there is no network. So one short request asks
first whether the hub answers; if not, the library is put into its offline mode, in which what it has cached
loads as usual and anything else fails at once.

The class of a row is its integer feature `label`, or else `labels`, or else its first ClassLabel; a negative
number means none.
"""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dualmcmc import limits, reading
from dualmcmc.data.named import NAMED
from dualmcmc.data.source import Item, Source, Split, source
from dualmcmc.errors import InputError

_PATIENCE = 5.0  # seconds for the hub to answer
_COMMIT = re.compile(r"[0-9a-f]{40}")


def named(name: str) -> Source:
    """A known set. The hub is not asked before its images are needed, so a decoded set needs no network."""
    known = NAMED[name]
    assert known.repo is not None, f"{name} is not a hub set"
    repo = known.repo

    def items(split: str) -> Callable[[], Iterator[Item]]:
        def opened() -> Iterator[Item]:
            sets = _load(name, repo, known.config, known.revision)
            if split not in sets:
                raise InputError(f"data {name} ({repo}) has no split {split!r} any more: it has {', '.join(sets)}")
            yield from _items(name, sets[split], known.column)

        return opened

    identity = ["hub", repo, known.revision, known.config, known.column, dict(known.splits)]
    return source(name, identity, {ours: Split(items(theirs)) for ours, theirs in known.splits.items()})


def hub(repo: str, revision: str | None) -> Source:
    """Any data set of the hub; its splits are known only once it is loaded.

    Raises:
        InputError: neither cached nor reachable, no such set, or no image column.
    """
    title = f"hf:{repo}" + (f"@{revision}" if revision else "")
    sets = _load(title, repo, None, revision)
    splits = {str(name): Split(partial(_items, title, rows, None), len(rows)) for name, rows in sets.items()}
    return source(title, ["hub", repo, revision, sorted({_commit(rows) for rows in sets.values()})], splits)


def _load(title: str, repo: str, config: str | None, revision: str | None) -> dict[str, Any]:
    """Every split of a hub set, downloaded or from the library's cache."""
    import datasets

    away = not reachable()
    try:
        with _offline(away):
            sets = dict(datasets.load_dataset(repo, config, revision=revision))
    except Exception as error:
        # The library raises ConnectionError, its own, the hub's, httpx's and pyarrow's; all end the same way.
        if away or isinstance(error, ConnectionError):
            raise InputError(
                f"data {title}: {repo} is not in the Hugging Face cache and the hub cannot be reached; "
                "offline, give its images as --data PATH (a folder, Parquet or .npy), "
                "or bring a filled cache and set HF_HOME to it"
            ) from error
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"data {title}: {repo} cannot be loaded ({type(error).__name__}: {reason})") from error
    if away and revision:
        _check_commit(title, repo, revision, sets)
    return sets


def reachable() -> bool:
    """Whether the hub answers soon, by whatever proxy the environment names."""
    from huggingface_hub import constants, get_session

    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(get_session().head(constants.ENDPOINT, timeout=_PATIENCE))
        except Exception:
            return  # offline mode, no name service, no route, refused, too slow

    # A thread, because no timeout bounds the look-up of a host's name.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return bool(answers)


@contextmanager
def _offline(away: bool) -> Iterator[None]:
    """Put the libraries into offline mode: their environment variables are read at import only."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    if away:
        constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before


def _commit(rows: Any) -> str:
    """The commit that a loaded split is of: the library names its cache folders so."""
    return Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else ""


def _check_commit(title: str, repo: str, revision: str, sets: dict[str, Any]) -> None:
    # Offline, the library takes whichever revision it has.
    for rows in sets.values():
        commit = _commit(rows)
        if _COMMIT.fullmatch(revision) and _COMMIT.fullmatch(commit) and commit != revision:
            raise InputError(
                f"data {title}: the Hugging Face cache holds revision {commit} of {repo}, but {revision} "
                "is needed and the hub cannot be reached: connect once, or give --data PATH"
            )


def _items(title: str, rows: Any, column: str | None) -> Iterator[Item]:
    encoded, column, label = encoded_rows(title, rows, column)
    for row, value in enumerate(encoded):
        content, path = picture_of(value[column])
        name = Path(path).name if path else str(row)
        read = partial(contents, content, path)
        yield Item(name, f"{title}, image {row}", read, None if label is None else value[label])


def picture_of(picture: dict[str, Any] | None) -> tuple[bytes | None, str | None]:
    """Contents and path of a row's picture; of an empty row, no contents, which is one bad picture."""
    return (b"", None) if picture is None else (picture["bytes"], picture["path"])


def encoded_rows(title: str, rows: Any, column: str | None) -> tuple[Any, str, str | None]:
    """The rows of a set, or of its stream, with pictures as they are encoded; their column, and that of classes.

    Raises:
        InputError: there is no image column.
    """
    import datasets

    found = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Image)]
    column = column if column in found else next(iter(found), None)
    if column is None:
        raise InputError(f"data {title} has no image column: its columns are {', '.join(rows.features)}")
    label = _label_feature(rows.features)
    columns = [column] if label is None else [column, label]
    return rows.select_columns(columns).cast_column(column, datasets.Image(decode=False)), column, label


def _label_feature(features: Any) -> str | None:
    import datasets

    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    values = [name for name, feature in features.items() if isinstance(feature, datasets.Value)]
    whole = classes + [name for name in values if features[name].dtype.startswith(("int", "uint"))]
    return next((name for name in ("label", "labels") if name in whole), next(iter(classes), None))


def contents(content: bytes | None, path: str | None) -> bytes:
    """A row's picture: its own bytes, or a file that the libraries have fetched, and no other of this machine.

    Raises:
        OSError: there is no such file, or it lies elsewhere.
    """
    if content is not None or not path:
        return content or b""
    if not any(Path(path).resolve().is_relative_to(folder.resolve()) for folder in _fetched()):
        raise PermissionError(errno.EACCES, "it is no file of the Hugging Face cache, and is not read", path)
    return reading.content(Path(path), limits.PICTURE_BYTES)


def _fetched() -> list[Path]:
    """Folders in which the libraries keep what they fetch."""
    import datasets
    from huggingface_hub import constants

    places = (datasets.config.HF_DATASETS_CACHE, datasets.config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    return [Path(place) for place in places]
