"""Parquet with a column `image` of encoded files: struct<bytes, path> as the hub writes it, or plain binary.

Files named train-..., test-..., validation-... (hub convention) are splits. Rows are read a batch at a time, so
a set of any size takes the memory of a batch; there are fewer to a batch the larger a row group is, since a
dictionary may hold one large picture that all rows refer to. A row's `path` is no more than its name. A set's
shards are row groups, small ones joined.

The class of a row is its integer column `label`, or else `labels`; null or a negative number means none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from dualmcmc import limits
from dualmcmc.data.folders import SPLITS
from dualmcmc.data.reference import parquet_files
from dualmcmc.data.source import Item, Shard, Source, Split, source
from dualmcmc.errors import InputError

_KNOWN = re.compile(rf"({'|'.join(SPLITS)})(?![a-zA-Z0-9])", re.IGNORECASE)
_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}")
_ROWS = 256  # per batch, at most
_PER_SHARD = 1024  # rows at least, since to open a shard is to read its file's footer
_BUFFER = 1 << 20  # bytes read at a time; without it a whole row group is


def parquet(place: str) -> Source:
    """The images of a Parquet file, or of a folder of such files.

    Raises:
        InputError: a file that cannot be read as Parquet, or has no such column.
    """
    path = Path(place).absolute()
    files = parquet_files(path) if path.is_dir() else [path]
    if not files:
        raise InputError(f"the folder {place!r} holds no Parquet file: check the path")
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    splits = {split: _split(inside) for split, inside in _own(files).items()}
    return source(repr(place), ["parquet", str(files[0].parent), stamps], splits)


def _own(files: list[Path]) -> dict[str, list[Path]]:
    """Files by the split in their names; all in one if no name is a split's."""
    if not any(_KNOWN.match(file.name) for file in files):
        return {"all": files}
    own: dict[str, list[Path]] = {}
    for file in files:
        match = _KNOWN.match(file.name) or _SHARD.match(file.name)
        if match is None:
            raise InputError(
                f"{str(file)!r} has no split in its name, but files beside it have: "
                "rename it train-..., test-... or validation-..., or move it away"
            )
        own.setdefault(match[1].lower(), []).append(file)
    return own


def _split(files: list[Path]) -> Split:
    shards: list[Shard] = []
    count = 0
    for file in files:
        groups = _groups(file)
        start = row = 0  # the shard's first group, and its first row in the file
        rows = 0
        for group, more in enumerate(groups):
            rows += more
            if rows >= _PER_SHARD or (rows and group == len(groups) - 1):
                shards.append(Shard(_shard(file, range(start, group + 1), groups, row), count + row))
                start, row, rows = group + 1, row + rows, 0
        count += sum(groups)
    return Split(partial(_items, files), count, shards)


def _shard(file: Path, inside: range, rows: list[int], first: int) -> Callable[[int], Iterator[Item]]:
    """The rows of some groups of a file; those before the one asked for are not read where they fill groups."""

    def items(start: int) -> Iterator[Item]:
        passed = 0
        for group in inside:
            if passed + rows[group] > start:
                read = _read(file, list(range(group, inside.stop)), first + passed)
                yield from islice(read, start - passed, None)
                return
            passed += rows[group]

    return items


def _groups(file: Path) -> list[int]:
    """Rows of each row group of a file, of which only the footer is read."""
    try:
        return _counted(file)
    except UnicodeDecodeError as error:  # in a column's name
        raise _corrupt(file, error) from error


def _counted(file: Path) -> list[int]:
    with _open(file) as opened:
        import pyarrow as pa

        schema = opened.schema_arrow
        if "image" not in schema.names:
            raise InputError(
                f"{str(file)!r} has no column `image`: it has {', '.join(schema.names)}; rename the one"
            )
        kind = schema.field("image").type
        if pa.types.is_struct(kind):
            kind = (
                kind.field("bytes").type
                if "bytes" in [kind.field(i).name for i in range(kind.num_fields)]
                else kind
            )
        if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)):
            raise InputError(
                f"the column `image` of {str(file)!r} holds {kind}: struct<bytes, path> or binary is expected"
            )
        return [opened.metadata.row_group(i).num_rows for i in range(opened.num_row_groups)]


def _open(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(file, error) from error


def _corrupt(file: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".")
    return InputError(f"{str(file)!r} cannot be read as Parquet ({reason}): copy or download it again")


def _items(files: list[Path]) -> Iterator[Item]:
    for file in files:
        yield from _read(file, None, 0)


def _read(file: Path, groups: list[int] | None, first: int) -> Iterator[Item]:
    """The pictures of some of a file's row groups, all if None; `first` is the number of the first row."""
    for row, (value, label) in enumerate(_values(file, groups), first):
        content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        name = path[: limits.NAME] if path and isinstance(path, str) else f"{file.name}:{row}"
        yield Item(name, f"{file}, row {row}", partial(bytes, content or b""), label)


def _values(file: Path, groups: list[int] | None) -> Iterator[tuple[Any, int | None]]:
    """Each row's image and class."""
    import pyarrow as pa

    with _open(file) as opened:
        label = _label_column(opened.schema_arrow)
        columns = ["image"] if label is None else ["image", label]
        at_once = _rows_at_once(opened.metadata)
        batches = opened.iter_batches(batch_size=at_once, row_groups=groups, columns=columns, use_threads=False)
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                images = batch.column("image").to_pylist()
                labels = [None] * len(images) if label is None else batch.column(label).to_pylist()
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # UnicodeDecodeError: in a path
                raise _corrupt(file, error) from error
            yield from zip(images, labels, strict=True)


def _rows_at_once(metadata: Any) -> int:
    """Rows of a batch: as many as fit `limits.PARQUET_BATCH`, were each as large as all of its row group.

    A group's total is as much as is asked for: of a damaged footer, pyarrow (26) ends the process where a column's
    metadata are asked for.
    """
    sizes = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    return max(1, min(_ROWS, limits.PARQUET_BATCH // max(1, *sizes, 1)))


def _label_column(schema: Any) -> str | None:
    import pyarrow as pa

    for name in ("label", "labels"):
        i = schema.get_field_index(name)  # -1 too if there are several
        if i >= 0 and pa.types.is_integer(schema.field(i).type):
            return name
    return None
