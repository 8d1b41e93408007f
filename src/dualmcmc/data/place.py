"""Where decoded images are kept, one folder per entry, and statistics of their features; how much they take.

$DUALMCMC_CACHE, or else $XDG_CACHE_HOME/dualmcmc, or else ~/.cache/dualmcmc. Entries lie in its subfolders
`images` and `statistics`, and only what has the name of an entry is ever removed, whatever folder a user has
chosen.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

BUILDING = ".building-"
"""Prefix of an entry that is being written, or that an interrupted process left."""
_ENTRY = re.compile(r"[0-9a-f]{64}|" + re.escape(BUILDING) + ".*")
_STATISTICS = re.compile(r"[0-9a-f]{64}\.safetensors")


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


def statistics_folder() -> Path:
    """Where the statistics of image sets' features lie: one file each, named by 64 hexadecimal digits."""
    return cache_folder() / "statistics"


def cache_size() -> int:
    """Bytes that the cached image sets and statistics take."""
    return sum(map(_bytes, _entries())) + sum(path.stat().st_size for path in _statistics())


def clear_cache() -> int:
    """Remove every cached image set and statistic; returns the bytes freed. What is held open may stay."""
    before = cache_size()
    for entry in _entries():
        shutil.rmtree(entry, ignore_errors=True)
    for path in _statistics():
        path.unlink(missing_ok=True)
    return before - cache_size()


def _entries() -> list[Path]:
    folder = entries_folder()
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.is_dir() and _ENTRY.fullmatch(path.name)]


def _statistics() -> list[Path]:
    folder = statistics_folder()
    return [path for path in folder.iterdir() if _STATISTICS.fullmatch(path.name)] if folder.is_dir() else []


def _bytes(folder: Path) -> int:
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except FileNotFoundError:
        return 0  # another process has just renamed or removed it
