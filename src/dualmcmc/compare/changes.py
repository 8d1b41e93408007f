"""Settings given on the command line, path=value, for all methods that have them; METHOD:path=value for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from dualmcmc import reading
from dualmcmc.errors import InputError
from dualmcmc.methods import METHODS

DECIDED = {
    "preset": "it is the command's first word",
    "data": "use --data",
    "seed": "use --seed",
    "method": "use --methods, and the path below method",
    "method.name": "use --methods",
    "run": "name a field below it",
    "run.steps": "use --budget",
    "run.minutes": "use --budget",
    "run.evaluate_every": "each method is measured as its last update leaves it",
}
"""Settings that the comparison gives, and how to give them."""


class Change(NamedTuple):
    """A setting by its path; of one method or (None) of all that have it."""

    path: str
    value: Any
    only: str | None = None

    def __str__(self) -> str:
        of = f"{self.only}:" if self.only else ""
        return f"{of}{self.path}={self.value if isinstance(self.value, str) else json.dumps(self.value)}"


def parse(words: Sequence[str]) -> tuple[Change, ...]:
    """Changes from words; values are JSON, or else strings.

    Raises:
        InputError: a word is none, names no method, or a setting that is given in another way.
    """
    return tuple(_parse(word) for word in words)


def _parse(word: str) -> Change:
    place, equals, text = word.partition("=")
    only, colon, path = place.rpartition(":")
    if not equals or not path or (colon and not only):
        raise InputError(f"--set {word}: give path=value, as images.size=16, or METHOD:path=value")
    if only and only not in METHODS:
        raise InputError(f"--set {word}: unknown method {only!r}: choose one of {', '.join(METHODS)}")
    if path in DECIDED:
        raise InputError(f"--set {word}: {DECIDED[path]}")
    try:
        value = reading.parse(text)
    except ValueError:
        value = text
    return Change(path, value, only or None)


def apply(changes: Sequence[Change], values: dict[str, Any]) -> list[Change]:
    """Changes nested settings in place, in order; returns those meant for them that they do not have."""
    name, absent = values["method"]["name"], []
    for change in changes:
        if change.only not in (None, name):
            continue
        *folders, leaf = change.path.split(".")
        node: Any = values
        for folder in folders:
            node = node.get(folder) if isinstance(node, dict) else None
        if isinstance(node, dict) and leaf in node:
            node[leaf] = change.value
        else:
            absent.append(change)
    return absent
