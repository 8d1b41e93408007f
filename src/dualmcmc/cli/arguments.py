"""Command lines from dataclasses by tyro, its boxed complaints turned into one line."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from typing import Annotated, Any, Literal, TypeVar

import tyro

from dualmcmc.errors import InputError

T = TypeVar("T")

Run = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
"""A run folder, a model folder or a hub id."""
Json = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
Weights = Literal["ema", "live"]


def parse(kind: type[T], args: list[str], verb: str, *, default: T | None = None) -> T:
    """The dataclass `kind` filled from `args`; prints help and leaves with exit code 0 where asked for it.

    Raises:
        InputError: what tyro objects to, in one line.
    """
    options: dict[str, Any] = {} if default is None else {"default": default}
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            return tyro.cli(kind, args=args, prog=f"dualmcmc {verb}", **options)
    except SystemExit as leaving:
        if not leaving.code:
            raise
    said = complaint.getvalue()
    raise InputError(f"{_gist(said)}{_suggestion(said)}; see dualmcmc {verb} --help")


def _suggestion(boxed: str) -> str:
    """The first flag that tyro thinks was meant, if it names any."""
    _, found, rest = boxed.partition("Perhaps you meant")
    flags = [word for word in rest.split() if word.startswith("--")] if found else []
    return f" (perhaps {flags[0].rstrip(',')})" if flags else ""


def _gist(boxed: str) -> str:
    """The words of tyro's box up to its first rule."""
    words: list[str] = []
    for line in boxed.splitlines():
        if line.lstrip().startswith(("╭", "╰")):
            continue
        content = line.strip().strip("│").strip()
        if content and set(content) == {"─"}:
            break
        words += content.split()
    return " ".join(words).rstrip(".") or "unreadable arguments"
