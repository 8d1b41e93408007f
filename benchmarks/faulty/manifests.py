"""Checksums beside spoilt files, made to fit them, so that what is behind the checksums is tried, too."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

NAME = "manifest.json"


def renew(folder: Path) -> None:
    """Gives every 64-digit sum in the folder's manifest, if it has one, the value of the file it stands for."""
    path = folder / NAME
    if not path.is_file():
        return
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return  # spoilt itself
    path.write_text(json.dumps(_renewed(held, folder), indent=2) + "\n", encoding="utf-8")


def _renewed(value: Any, folder: Path) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        name: _sum(folder / name, each) if _is_sum(each) else _renewed(each, folder)
        for name, each in value.items()
    }


def _is_sum(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _sum(path: Path, otherwise: str) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else otherwise
