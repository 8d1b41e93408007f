"""Writing that happens whole or not at all: temporary name, flush to disk, rename."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dualmcmc import limits, reading
from dualmcmc.errors import InputError


def check_folder(path: Path) -> None:
    """Refuses a place where no folder is and none can be made.

    Raises:
        InputError: a file is in the way, or the folder above cannot be written.
    """
    ancestor = path.absolute()
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise InputError(f"{path} cannot be a folder: {ancestor} is a file")
    if not os.access(ancestor, os.W_OK):
        raise InputError(f"{path} cannot be written: {ancestor} allows no writing")


def write_text(path: Path, text: str) -> None:
    """Replaces the file at `path` by one that holds `text`; a reader sees the old or the new one.

    Halves of characters, as in the name of a file that is no UTF-8, are written as their numbers.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def tidy(folder: Path, *names: str) -> None:
    """Removes what processes killed in `write_text` left of these files; nobody may be writing them."""
    for name in names:
        for leftover in folder.glob(f".{name}.*.tmp"):
            leftover.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON; infinities and NaN are refused, as JSON has none."""
    write_text(path, _text(value))


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def read_written(path: Path) -> Any:
    """The JSON value that `write_json` wrote: of a manifest every byte counts, since nothing vouches for it.

    Raises:
        OSError: it is missing or too large.
        ValueError: it is no JSON, or not a byte for byte what was written.
    """
    text = reading.content(path, limits.JSON).decode("utf-8").replace(os.linesep, "\n")
    value = reading.parse(text, finite=True)
    if _text(value) != text:
        raise ValueError("it is not as it was written")
    return value


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill, which becomes `path` on leaving; on an exception nothing is left.

    A folder already at `path` is replaced. A process killed between the two renames leaves it beside as
    `.NAME.PID.old`; the next call puts it back first. One process at a time may write a path.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        _flush(temporary)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        _flush(path.parent)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _tidy(path: Path) -> None:
    """Puts back or removes what killed processes left beside `path`."""
    for leftover in path.parent.glob(f".{path.name}.*.old"):
        if path.exists():
            shutil.rmtree(leftover)
        else:
            leftover.rename(path)
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _flush(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot open a folder to flush it
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
