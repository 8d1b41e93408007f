"""Where decoded images are kept: one folder per entry, and how much they take.

$DUALMCMC_CACHE, or else $XDG_CACHE_HOME/dualmcmc, or else ~/.cache/dualmcmc. Entries lie in its subfolder
`images`, and only what has the name of an entry is ever removed, whatever folder a user has chosen.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

BUILDING = ".building-"
"""Prefix of an entry that is being written, or that an interrupted process left."""
_ENTRY = re.compile(r"[0-9a-f]{64}|" + re.escape(BUILDING) + ".*")


def cache_folder() -> Path:
    """The cache's folder, which need not exist."""
    chosen = os.environ.get("DUALMCMC_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "dualmcmc"


def entries_folder() -> Path:
    """Where the entries of image sets lie."""
    return cache_folder() / "images"


def cache_size() -> int:
    """Bytes that the cached image sets take."""
    return sum(_bytes(entry) for entry in _entries())


def clear_cache() -> int:
    """Remove every cached image set; returns the bytes freed. What another process holds open may stay."""
    before = cache_size()
    for entry in _entries():
        shutil.rmtree(entry, ignore_errors=True)
    return before - cache_size()


def _entries() -> list[Path]:
    folder = entries_folder()
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and _ENTRY.fullmatch(path.name)]


def _bytes(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:
        return 0  # another process has just renamed or removed it
