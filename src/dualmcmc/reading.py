"""Files that others made, read within limits (`limits.py`): sizes are looked at before memory is taken.

What is too large, or no regular file (a pipe never ends), is an `OSError` whose `strerror` says so; what is not of
its format is a `ValueError`. Whoever knows what the file is for makes an `InputError` of either.
"""

from __future__ import annotations

import errno
import json
import math
import stat
from functools import partial
from pathlib import Path
from typing import Any

from dualmcmc import limits


def check_size(path: Path, limit: int) -> int:
    """Bytes of a regular file.

    Raises:
        OSError: it is missing, no regular file, or larger than `limit` bytes.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if status.st_size > limit:
        raise OSError(errno.EFBIG, f"it has {status.st_size:,} bytes, more than {limit:,}", str(path))
    return status.st_size


def content(path: Path, limit: int) -> bytes:
    """A regular file's bytes.

    Raises:
        OSError: see `check_size`.
    """
    size = check_size(path, limit)
    with path.open("rb") as file:
        return file.read(size)  # of the limit's size it would make room for that much


def json_of(path: Path, limit: int = limits.JSON, *, finite: bool = False) -> Any:
    """The JSON value in a file; see `parse`.

    Raises:
        OSError: see `check_size`.
        ValueError: see `parse`.
    """
    return parse(content(path, limit).decode("utf-8"), finite=finite)


def parse(text: str, *, finite: bool = False) -> Any:
    """The JSON value in a text. Whole numbers beyond 64 bits are floats, if only infinity: no sum overflows.

    Arguments:
        text: what to parse.
        finite: refuse NaN and infinity, which JSON has not but Python writes, and numbers beyond all floats.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    how: dict[str, Any] = {"parse_constant": _finite, "parse_float": _finite} if finite else {}
    try:
        return json.loads(text, parse_int=partial(_whole, finite), **how)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _whole(finite: bool, text: str) -> float:
    if len(text) <= 20 and -(1 << 63) <= (number := int(text)) < 1 << 64:
        return number
    return _finite(text) if finite else float(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is no finite number")
    return number


def lines_of(path: Path, limit: int = limits.LOG) -> list[str]:
    """A text file's lines; bytes that are no UTF-8 are replaced.

    Raises:
        OSError: see `check_size`.
    """
    return content(path, limit).decode("utf-8", "replace").splitlines()
