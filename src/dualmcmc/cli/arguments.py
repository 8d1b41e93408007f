"""Command lines from dataclasses by tyro, its boxed complaints turned into one line."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import tyro
from annotated_types import Ge

from dualmcmc import limits
from dualmcmc.errors import InputError
from dualmcmc.settings import STREAM

T = TypeVar("T")

Run = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
"""A run folder, a model folder, a bundled model (digits, fashion_mnist) or a hub id."""
Json = Annotated[str | None, tyro.conf.arg(metavar="FILE")]
Weights = Literal["ema", "live"]


@dataclass(frozen=True, kw_only=True)
class OnModel:
    """What every verb on a trained model takes."""

    run: Run
    """A run folder, a model folder, a bundled model (digits, fashion_mnist) or a hub id."""
    seed: int = 0
    """Of all randomness; result i depends on the seed and i only."""
    weights: Weights = "ema"
    """ema: the average over training; live: the newest checkpoint's weights."""
    device: str | None = None
    """cpu, cuda, cuda:N or mps; default: the best there is."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 computes networks in bfloat16; chain states and figures stay float32."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Images at once; changes speed and memory, never a result."""
    json: Json = None
    """Write the figures as JSON to this file; - is standard output."""


@dataclass(frozen=True, kw_only=True)
class OnImages(OnModel):
    """What every verb on a user's images takes."""

    data: str
    """Images: a data reference as for `train`; sets with splits of their own give their test split."""
    n: Annotated[int | None, tyro.conf.arg(aliases=["-n"])] = None
    """How many images, the first ones; default: all."""
    skip_bad: bool = False
    """Leave unreadable images out, and count them, instead of refusing the data."""
    verify: bool = False
    """Read all of the data again to see whether it is what was decoded before; else names, sizes, times decide."""


def check_counts(**counts: int | None) -> None:
    """Refuses numbers that are too small (those named *steps below 0, any other below 1) or beyond `limits.py`.

    Raises:
        InputError: naming the first such.
    """
    for name, value in counts.items():
        least = 0 if name.endswith("steps") else 1
        most = limits.STEPS if name.endswith("steps") else _MOST.get(name, limits.IMAGES)
        flag = "-n" if name == "n" else f"--{name.replace('_', '-')}"
        if value is not None and value < least:
            raise InputError(f"{flag} {value}: give {least} or more")
        if value is not None and value > most:
            raise InputError(f"{flag} {_short(value)}: give {most:,} or less")


def _short(value: int) -> str:
    return str(value) if abs(value) < 10**20 else f"of {value.bit_length()} bits"


_MOST = {"batch_size": limits.BATCH, "seeds": 10_000, "jobs": 1000}


def parse(kind: type[T], args: list[str], verb: str, *, default: T | None = None) -> T:
    """The dataclass `kind` filled from `args`; prints help and leaves with exit code 0 where asked for it.

    Raises:
        InputError: what tyro objects to, in one line, or a stream for another verb than `train`.
    """
    options: dict[str, Any] = {} if default is None else {"default": default}
    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            found = tyro.cli(kind, args=args, prog=f"dualmcmc {verb}", **options)
    except SystemExit as leaving:
        if not leaving.code:
            raise
        said = complaint.getvalue()
        raise InputError(f"{_gist(said)}{_suggestion(said)}; see dualmcmc {verb} --help") from None
    if verb != "train":
        _refuse_streams(found)
    return found


def _refuse_streams(options: Any) -> None:
    for name in ("data", "reference", "images", "ood"):
        given = getattr(options, name, None) or ()
        for ref in (given,) if isinstance(given, str) else given:
            refuse_stream(ref)


def refuse_stream(ref: str) -> None:
    """Refuses a stream where images are looked at more than once.

    Raises:
        InputError: `ref` is one.
    """
    if ref.startswith(STREAM):
        raise InputError(f"data {ref!r}: only training streams; leave `{STREAM}` out, or give a smaller set")


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
