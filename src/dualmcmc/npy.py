"""Numpy's files, .npy and .npz, read by their headers: plain numbers alone, none before its size is known.

A header that tells of another size than the file (or the archive's member) has is refused, so that none makes a
program take memory for numbers that are not there. Nothing is unpickled, and nothing is unpacked by its name.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from dualmcmc import limits, reading


class Header(NamedTuple):
    """What an .npy file says of itself."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    offset: int
    """Bytes before the numbers."""


_HEADER = re.compile(
    r"\{\s*'descr':\s*'(?P<dtype>[<>|=]?(?:b1|[iufc]\d{1,2}))',\s*'fortran_order':\s*(?P<fortran>True|False),"
    r"\s*'shape':\s*\(\s*(?P<shape>(?:\d{1,18}L?,\s*)*(?:\d{1,18}L?)?)\s*\),?\s*\}\s*"
)
_MAGIC = b"\x93NUMPY"
_DIMENSIONS = 8


def header_of(file: IO[bytes], size: int) -> Header:
    """The header of an .npy file of `size` bytes that is open at its beginning.

    Raises:
        ValueError: it is none, of other things than plain numbers, or its size is not that of its numbers.
    """
    begin = file.read(8)
    if len(begin) < 8 or begin[:6] != _MAGIC or begin[6] not in (1, 2, 3):
        raise ValueError("it does not begin as an .npy file does")
    width = 2 if begin[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > limits.NPY_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than {limits.NPY_HEADER:,}")
    text = file.read(length).decode("latin1")
    found = _HEADER.fullmatch(text)
    if not found:
        kind = "pickled objects" if re.search(r"'descr':\s*'\|?O'", text) else text.strip()[:100]
        raise ValueError(f"its header tells of no plain numbers: {kind}")
    try:
        dtype = np.dtype(found["dtype"])
    except TypeError as error:
        raise ValueError(str(error)) from None
    shape = tuple(int(side.rstrip("L")) for side in re.split(r",\s*", found["shape"]) if side)
    if len(shape) > _DIMENSIONS:
        raise ValueError(f"it has {len(shape)} dimensions")
    offset = 8 + width + length
    told = offset + math.prod(shape) * dtype.itemsize
    if told != size:
        raise ValueError(f"its header, shape {shape} of {dtype}, tells of {told:,} bytes, but it has {size:,}")
    return Header(dtype, shape, found["fortran"] == "True", offset)


def array(path: Path) -> np.ndarray:
    """The numbers in an .npy file: a read-only map, which takes no memory before it is looked at.

    Raises:
        OSError: it is missing, or no regular file.
        ValueError: see `header_of`.
    """
    size = reading.check_size(path, 1 << 62)
    with path.open("rb") as file:
        header = header_of(file, size)
    order: Literal["F", "C"] = "F" if header.fortran else "C"
    if 0 in header.shape:  # nothing to map, and sides beside the 0 may be anything
        return np.empty(tuple(min(side, 1 << 15) for side in header.shape[:4]), header.dtype)
    return np.memmap(path, header.dtype, "r", header.offset, header.shape, order)


BAD_ZIP = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError, struct.error)
"""What a damaged or unreadable archive makes `zipfile` raise; RuntimeError: encrypted, or a method it has not."""
_END, _END64_PLACE, _END64 = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
_ENTRY = 512
"""Bytes of a member's entry in the list at the archive's end, at most: more than any array's name needs."""


def archive_of(path: Path) -> zipfile.ZipFile:
    """An .npz, open; only its list of members has been read.

    Raises:
        zipfile.BadZipFile: it is none.
        OSError: it is missing, or no regular file.
        ValueError: it has too many members.
    """
    size = reading.check_size(path, 1 << 62)
    listed = _listed(path, size)
    if listed > limits.MEMBERS * _ENTRY:
        raise ValueError(f"its list of members takes {listed:,} bytes: {limits.MEMBERS:,} are taken at most")
    archive = zipfile.ZipFile(path)
    if len(archive.filelist) > limits.MEMBERS:
        archive.close()
        raise ValueError(f"it has {len(archive.filelist):,} members: {limits.MEMBERS:,} are taken at most")
    return archive


def _listed(path: Path, size: int) -> int:
    """Bytes of the list of members as the archive's end tells; `zipfile` reads it at once. 0 if there is none."""
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
        place = tail.rfind(_END)
        if place < 0 or len(tail) < place + 22:
            return 0
        (listed,) = struct.unpack_from("<I", tail, place + 12)
        if tail[max(0, place - 20) : place].startswith(_END64_PLACE):
            (where,) = struct.unpack_from("<Q", tail, place - 12)
            file.seek(min(where, size))
            end = file.read(56)
            # zipfile looks for the record right before the locator, whatever the locator says
            before = tail[max(0, place - 76) : place - 20]
            for record in (end, before):
                if len(record) == 56 and record.startswith(_END64):
                    listed = max(listed, struct.unpack_from("<Q", record, 40)[0])
        return int(listed)


def member_header(archive: zipfile.ZipFile, member: str) -> tuple[Header, zipfile.ZipInfo]:
    """What a member says of itself, and its entry; no more than its header is unpacked.

    Raises:
        ValueError: it is no array of plain numbers, or compressed in another way than numpy does.
        zipfile.BadZipFile, OSError, RuntimeError: it cannot be opened; see `BAD_ZIP`.
    """
    entry = archive.getinfo(member)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is compressed in another way than numpy's")
    with archive.open(entry) as file:
        return header_of(file, entry.file_size), entry


def member_array(archive: zipfile.ZipFile, member: str, limit: int) -> np.ndarray:
    """A member's numbers, in memory.

    Raises:
        ValueError: see `member_header`; or it would take more than `limit` bytes.
        zipfile.BadZipFile, OSError, RuntimeError: it cannot be opened; see `BAD_ZIP`.
    """
    header, entry = member_header(archive, member)
    if entry.file_size > limit:
        raise ValueError(f"it has {entry.file_size:,} bytes, more than {limit:,}")
    with archive.open(entry) as file:
        raw = file.read()
    if len(raw) != entry.file_size:
        raise ValueError("it is cut short")
    numbers = np.frombuffer(raw, header.dtype, offset=header.offset)
    return numbers.reshape(header.shape[::-1]).T if header.fortran else numbers.reshape(header.shape)
