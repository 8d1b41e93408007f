"""Figures as JSON and as aligned text."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualmcmc.errors import InputError
from dualmcmc.storage.files import write_text


def check_json(place: str | None) -> None:
    """Refuses a JSON file that could not be written, before any work is done.

    Raises:
        InputError: its folder is missing, or it is one.
    """
    if place in (None, "-"):
        return
    if not Path(str(place)).parent.is_dir():
        raise InputError(f"--json {place}: its folder does not exist")
    if Path(str(place)).is_dir():
        raise InputError(f"--json {place} is a folder: name a file")


def write_json(place: str | None, value: Any) -> None:
    """Writes `value` to the file `place`, to standard output for "-", nowhere for None.

    Raises:
        InputError: it holds NaN or infinity.
    """
    if place is None:
        return
    check_finite(value)
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if place == "-":
        sys.stdout.write(text)
    else:
        write_text(Path(place), text)


def check_finite(figures: Any, place: str = "") -> None:
    """Refuses figures that hold NaN or infinity, which weights give that are finite numbers but no model's.

    Raises:
        InputError: naming the first such.
    """
    if isinstance(figures, float) and not math.isfinite(figures):
        raise InputError(
            f"the model's {place} is {figures}: its weights are damaged, or have grown too large; take others"
        )
    if isinstance(figures, list | tuple):
        figures = dict(enumerate(figures))
    for name, value in figures.items() if isinstance(figures, dict) else ():
        check_finite(value, f"{place}.{name}" if place else str(name))


def show(text: str, json_place: str | None) -> None:
    """Prints `text`, unless standard output is to hold JSON alone."""
    if json_place != "-":
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        print(text.encode(encoding, "backslashreplace").decode(encoding))  # names of files may be no text


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns aligned, two spaces apart; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]])
        for row in rows
    )
