"""Parquet with a column `image` of encoded files: struct<bytes, path> as the hub writes it, or plain binary.

Files named train-..., test-..., validation-... (hub convention) are splits. Rows are streamed, so a set of
any size takes the memory of a batch of rows; there are fewer to a batch the larger a row group is, since a
dictionary may hold one large picture that all rows refer to. A row's `path` is no more than its name.

The class of a row is its integer column `label`, or else `labels`; null or a negative number means none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dualmcmc import limits
from dualmcmc.data.folders import SPLITS
from dualmcmc.data.reference import parquet_files
from dualmcmc.data.source import Item, Source, Split, source
from dualmcmc.errors import InputError

_KNOWN = re.compile(rf"({'|'.join(SPLITS)})(?![a-zA-Z0-9])", re.IGNORECASE)
_SHARD = re.compile(r"(\w+)-\d{5}-of-\d{5}")
_ROWS = 256  # per batch, at most


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
    splits = {
        split: Split(_items(inside), sum(_rows(file) for file in inside)) for split, inside in _own(files).items()
    }
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


def _rows(file: Path) -> int:
    """Rows of a file, of which only the footer is read."""
    try:
        return _counted(file)
    except UnicodeDecodeError as error:  # in a column's name
        raise _corrupt(file, error) from error


def _counted(file: Path) -> int:
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
        return opened.metadata.num_rows


def _open(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=1 << 20)
    except (pa.ArrowException, OSError) as error:
        raise _corrupt(file, error) from error


def _corrupt(file: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".")
    return InputError(f"{str(file)!r} cannot be read as Parquet ({reason}): copy or download it again")


def _items(files: list[Path]) -> Callable[[], Iterator[Item]]:
    def items() -> Iterator[Item]:
        for file in files:
            for row, (value, label) in enumerate(_values(file)):
                content, path = (
                    (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
                )
                name = path[: limits.NAME] if path and isinstance(path, str) else f"{file.name}:{row}"
                yield Item(name, f"{file}, row {row}", partial(bytes, content or b""), label)

    return items


def _values(file: Path) -> Iterator[tuple[Any, int | None]]:
    """Each row's image and class."""
    import pyarrow as pa

    with _open(file) as opened:
        label = _label_column(opened.schema_arrow)
        columns = ["image"] if label is None else ["image", label]
        batches = opened.iter_batches(
            batch_size=_rows_at_once(opened.metadata), columns=columns, use_threads=False
        )
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
