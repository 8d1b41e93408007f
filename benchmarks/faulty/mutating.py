"""Bytes and values, spoilt at random."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from typing import Any

Bytes = Callable[[bytearray, random.Random], None]

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, rng: random.Random) -> None:
    first, length = rng.randrange(len(data)), rng.choice((1, 4, 16, 256))
    filling = rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length)))
    data[first : first + length] = filling[: len(data) - first]


def _number(data: bytearray, rng: random.Random) -> None:
    form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    if len(data) >= size:
        first = rng.randrange(len(data) - size + 1)
        data[first : first + size] = struct.pack(form, rng.choice(_NUMBERS) % (1 << (8 * size)))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    first = rng.randrange(len(data))
    del data[first : first + rng.choice((1, 7, 100))]


def _insert(data: bytearray, rng: random.Random) -> None:
    first = rng.randrange(len(data))
    data[first:first] = rng.randbytes(rng.choice((1, 4, 100, 5000)))


def _repeat(data: bytearray, rng: random.Random) -> None:
    first = rng.randrange(len(data))
    data[first:first] = data[first : first + rng.choice((4, 32, 500))] * rng.choice((1, 3, 50))


def _digits(data: bytearray, rng: random.Random) -> None:
    """In text formats and headers: another number where one stands."""
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if places:
        first = rng.choice(places)
        data[first : first + 1] = rng.choice((b"0", b"9" * 3, b"9" * 12, b"9" * 30, b"-1", b"1e999", b"NaN"))


_WAYS: tuple[Bytes, ...] = (_flip, _overwrite, _number, _cut, _drop, _insert, _repeat, _digits)


def spoilt(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one to four things done to them; half of the time near the beginning alone."""
    data = bytearray(content)
    head = rng.random() < 0.5 and len(data) > 64
    rest = data[200:] if head else b""
    data = data[:200] if head else data
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(_WAYS)(data, rng)
    return bytes(data + rest)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 7, 10**9, 10**12, -(10**12), 2**31, 2**63, 10**400, 0.0, -0.0, 0.5, -1.5, 1e-320,
    1e30, 1e308, -1e308, float("nan"), float("inf"), float("-inf"), "", " ", "x", "\0", "é\u202e", "\ud800", "1",
    "nan", "../../x", "/dev/zero", "~", "a\nb", "x" * 5000, "dual_mcmc", "vae", [], [1], [None], [[[]]], [1e999],
    ["a"] * 1000, {}, {"a": 1}, {"name": "vae"}, {"name": "jem"}, {"": {}}, {"step": {}}, {"mean": None},
)  # fmt: skip
"""What may stand where something else is expected."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all that is in nested dictionaries and lists, the whole itself first."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value[:5]) if isinstance(value, list) else ()
    for name, inner in items:
        found += places(inner, (*path, name))
    return found


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """The nested value with another one at a path; `...` takes it out."""
    if not path:
        return None if by is ... else by
    copied = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and by is ...:
        del copied[path[0]]
    else:
        copied[path[0]] = replaced(copied[path[0]], path[1:], by)
    return copied


def deep(rng: random.Random) -> str:
    """JSON text that is no reasonable file."""
    kinds = (
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 5000 + "]" * 5000,
        "9" * 6000,
        '{"a": 1, "a": ' + "1" * 4000 + "}",
    )
    return rng.choice((*kinds, "", "null", "[]", "{}", '"x"', "\ufeff{}", '{"config": {}}', "nul", "{'a': 1}"))


def dumped(value: Any) -> str:
    """JSON as Python writes it, with NaN."""
    return json.dumps(value)
