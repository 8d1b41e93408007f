"""What every kind of source offers: named splits, each a lazy sequence of encoded pictures or arrays.

THE hold-out rule: a set that has splits of its own keeps them. A set that has none, or none but `train`
(the hub's way to say the same), is divided by position, counted from 0 in the set's own order:

    test    every tenth image (9, 19, 29, ...)
    train   the others
    all     everything; this is the default

A picture that cannot be read keeps its position, so skipping it moves no other from one split to another.

A split that can be streamed (`stream.py`) is in shards, each readable from any of its rows on. Where nobody
knows how many rows the shards before one have (a hub set that is not downloaded), positions are counted in each
shard anew.

A picture's class is a number from 0 that means the same in every split; where a source finds it is said in the
file of its kind. A split has classes if all its readable pictures have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dualmcmc.errors import InputError

_SAME = ("validation", "valid", "val")


@dataclass(frozen=True)
class Item:
    """One picture, not read yet."""

    name: str
    """How the set calls it: a relative path, or its position."""
    where: str
    """How a message calls it, so that a person finds it."""
    read: Callable[[], bytes | np.ndarray]
    """Its encoded file, or uint8 (H, W) or (H, W, C)."""
    label: int | None = None
    """Its class; None or negative where the set gives none."""


@dataclass(frozen=True)
class Shard:
    """A piece of a set: row r is at position first + stride r."""

    items: Callable[[int], Iterator[Item]]
    """Its pictures from a row on, in order; none from a row beyond its last on."""
    first: int = 0
    """The position of row 0."""
    stride: int = 1
    """Positions from one row to the next."""


def every(_position: int) -> bool:
    """Takes any position."""
    return True


@dataclass(frozen=True)
class Split:
    """A part of a set."""

    items: Callable[[], Iterator[Item]]
    """Goes through it once, in order."""
    count: int | None = None
    """How many there are; None where only opening the set would tell."""
    shards: Sequence[Shard] = ()
    """What it is streamed from; none where it cannot be."""
    takes: Callable[[int], bool] = every
    """Whether a position of its shards is in it."""


@dataclass(frozen=True)
class Source:
    """An opened reference."""

    title: str
    """How messages call it."""
    identity: list
    """JSON values that change when the contents do, known without reading them."""
    splits: Mapping[str, Split]
    """By name, in the order in which they are listed."""
    default: str
    """The split that is meant when none is named."""

    def find(self, name: str) -> str:
        """The set's own name for the split `name`; val, valid and validation are one.

        Raises:
            InputError: there is no such split.
        """
        for known in (name, *(_SAME if name in _SAME else ())):
            if known in self.splits:
                return known
        raise InputError(
            f"data {self.title} has no split {name!r}: it has {', '.join(self.splits)}; choose one as REF:split"
        )

    def held_out(self) -> str | None:
        """The split for evaluation: test, or else validation; None if there is neither."""
        return next((name for name in ("test", *_SAME) if name in self.splits), None)


def source(title: str, identity: list, own: Mapping[str, Split]) -> Source:
    """A source with its own splits, divided by the hold-out rule if they are `train` or `all` alone."""
    if len(own) == 1 and next(iter(own)) in ("train", "all"):
        (whole,) = own.values()
        return Source(title, identity, _divided(whole), "all")
    order = sorted(own, key=lambda name: (name != "train", name != "test", name))
    return Source(title, identity, {name: own[name] for name in order}, order[0])


def _divided(whole: Split) -> dict[str, Split]:
    def part(test: bool, count: int | None) -> Split:
        def takes(position: int) -> bool:
            return (position % 10 == 9) == test

        def items() -> Iterator[Item]:
            return (item for i, item in enumerate(whole.items()) if takes(i))

        if whole.shards and whole.count is None:  # positions are the shards' own
            return of_shards(whole.shards, takes=takes)
        return Split(items, count, whole.shards, takes)

    held = None if whole.count is None else whole.count // 10
    rest = None if held is None or whole.count is None else whole.count - held
    return {"train": part(False, rest), "test": part(True, held), "all": whole}


def of_shards(shards: Sequence[Shard], *, takes: Callable[[int], bool] = every) -> Split:
    """A split of shards whose rows nobody has counted, read one shard after another."""

    def items() -> Iterator[Item]:
        for shard in shards:
            for row, item in enumerate(shard.items(0)):
                if takes(shard.first + shard.stride * row):
                    yield item

    return Split(items, None, shards, takes)
