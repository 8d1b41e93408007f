"""What a data reference such as `cifar10:test`, `hf:owner/name@rev` or `photos/` names.

    digits, mnist, ...              a named set (named.py); write ./mnist for a folder of that name
    hf:owner/name[@revision]        a data set of the Hugging Face hub
    a folder                        of images, or of Parquet files if it (or its `data/`) holds any
    a .parquet, .npy or .npz file

Each may end in `:split`. Before any but `digits` and arrays, `stream:` says that training shall read it as it goes
(`stream.py`) and never hold all of it. A path that exists is taken as it stands, so a colon in its name is safe.
Nothing is opened here.
"""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dualmcmc.data.named import NAMED
from dualmcmc.errors import InputError
from dualmcmc.settings import STREAM

_HUB = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[^:@]+))?(:(?P<split>[\w.-]+))?")
_SPLIT = re.compile(r"(?P<place>.+):(?P<split>[\w.-]+)", re.DOTALL)
_SUFFIXES: dict[str, Literal["parquet", "array"]] = {".parquet": "parquet", ".npy": "array", ".npz": "array"}


@dataclass(frozen=True)
class Reference:
    """A parsed reference."""

    kind: Literal["named", "hub", "folder", "parquet", "array"]
    """Which source opens it."""
    place: str
    """The set's name, the hub's owner/name, or a path."""
    split: str | None = None
    """The split asked for; None where the reference leaves it open."""
    revision: str | None = None
    """Of a hub set only."""
    stream: bool = False
    """Whether training reads it as it goes."""


def parse(ref: str) -> Reference:
    """Tell what `ref` names.

    Raises:
        InputError: nothing is known by that name and no such path exists, the path is of no known kind, or what
            it names cannot be streamed.
    """
    if is_stream(ref):
        return _stream(ref)
    if ref.startswith("hf:"):
        return _hub(ref)
    if ref in NAMED:
        return Reference("named", ref)
    if _exists(ref):
        return _path(ref, None)
    match = _SPLIT.fullmatch(ref)
    place, split = (match["place"], match["split"]) if match else (ref, None)
    if place in NAMED:
        return Reference("named", place, split)
    if match and _exists(place):
        return _path(place, split)
    raise _unknown(ref, place)


def is_stream(ref: str) -> bool:
    """Whether a reference asks for streaming."""
    return ref.startswith(STREAM)


def _stream(ref: str) -> Reference:
    inner = ref.removeprefix(STREAM)
    if is_stream(inner):
        raise InputError(f"data {ref!r}: write {STREAM} once")
    reference = parse(inner)
    if reference.kind == "array" or (reference.kind, reference.place) == ("named", "digits"):
        raise InputError(f"data {ref!r}: this kind is not streamed; leave {STREAM} out, it is read as a whole")
    return replace(reference, stream=True)


def _hub(ref: str) -> Reference:
    match = _HUB.fullmatch(ref.removeprefix("hf:"))
    if not match:
        raise InputError(f"data {ref!r} is not a hub reference: write hf:owner/name[@revision][:split]")
    return Reference("hub", match["repo"], match["split"], match["revision"])


def _exists(place: str) -> bool:
    # An empty reference must not name the working folder.
    return bool(place) and os.path.exists(os.path.expanduser(place))


def _path(place: str, split: str | None) -> Reference:
    path = Path(place).expanduser()
    if path.is_dir():
        kind: Literal["folder", "parquet"] = "parquet" if parquet_files(path) else "folder"
        return Reference(kind, str(path), split)
    suffix = path.suffix.lower()
    if path.is_file() and suffix in _SUFFIXES:
        return Reference(_SUFFIXES[suffix], str(path), split)
    raise InputError(
        f"data {str(path)!r} is neither a folder nor a .parquet, .npy or .npz file: "
        "give one of these (a single picture goes into a folder of its own)"
    )


def parquet_files(folder: Path) -> list[Path]:
    """The *.parquet files of a folder, or else of its `data/` (a clone of a hub repository), sorted."""
    for place in (folder, folder / "data"):
        try:
            files = sorted(p for p in place.glob("*.parquet") if p.is_file() and not p.name.startswith("."))
        except OSError as error:
            raise InputError(f"cannot list the folder {str(place)!r}: {error.strerror}") from error
        if files:
            return files
    return []


def _unknown(ref: str, place: str) -> InputError:
    if re.search(r"[\\/.~]", place):
        return InputError(f"data {ref!r}: there is no file or folder {place!r}: check the path")
    near = difflib.get_close_matches(place.lower(), NAMED, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return InputError(
        f"data {ref!r} is neither a known set nor a path that exists: {hint}known sets are "
        f"{', '.join(NAMED)}; otherwise give hf:owner/name, a folder, or a .parquet, .npy or .npz file"
    )
