"""Files that others made, read within limits (`limits.py`): sizes are looked at before memory is taken.

What is too large, or no regular file (a pipe never ends), is an `OSError` whose `strerror` says so; what is not of
its format is a `ValueError`. Whoever knows what the file is for makes an `InputError` of either.
"""

from __future__ import annotations

import errno
import json
import stat
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
    check_size(path, limit)
    with path.open("rb") as file:
        return file.read(limit)


def json_of(path: Path, limit: int = limits.JSON) -> Any:
    """The JSON value in a file.

    Raises:
        OSError: see `check_size`.
        ValueError: it is no JSON, or nested too deeply.
    """
    return parse(content(path, limit).decode("utf-8"))


def parse(text: str) -> Any:
    """The JSON value in a text; NaN and infinity, which Python writes, are taken.

    Raises:
        ValueError: it is none, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def lines_of(path: Path, limit: int = limits.LOG) -> list[str]:
    """A text file's lines; bytes that are no UTF-8 are replaced.

    Raises:
        OSError: see `check_size`.
    """
    return content(path, limit).decode("utf-8", "replace").splitlines()
