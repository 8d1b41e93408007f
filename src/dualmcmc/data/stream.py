"""Training images read as they are needed: a set of any size takes the memory of two blocks.

Epoch e goes through the shards of a split (`source.py`) in an order drawn from (seed, e), and deals them out to
the processes in turn; process r starts the deal of epoch e at place (r + e) mod P. With fewer shards than
processes each process reads all of them, and they deal out the rows. A process reads its rows in blocks of up
to `BLOCK` images, decodes them by the rule, and hands each block out in an order drawn from (seed, e, process,
where the block begins).

So every epoch shows every image once over all processes, and nobody waits for anybody: a process with fewer
rows is in the next epoch sooner, and its batches do not end with its epochs. Images move about within a block
and with their shards, no further: a set sorted by class wants small shards (Parquet row groups, files of a hub
set), or to be shuffled when it is written.

Where a process is, is where its block begins and how many images of it are handed out: that resumes bit for
bit. On another number of processes all go on at the first epoch that none has begun.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from dualmcmc.data.decoding import decoded
from dualmcmc.data.entry import read_item
from dualmcmc.data.reference import parse
from dualmcmc.data.source import Item, Split
from dualmcmc.data.sources import open_source
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

BLOCK, BLOCK_BYTES = 4096, 1 << 26
"""Images of a block, and its decoded bytes, at most."""
_STREAM = 0x73747265616D  # "stream": keeps these draws apart from others made of the same seed
_EMPTY_EPOCHS = 64


class StreamError(InputError):
    """A stream that cannot go on: a picture or a file in its middle that cannot be read."""


@dataclass(frozen=True)
class Place:
    """Between two rows of a process's part of an epoch."""

    epoch: int = 0
    shard: int = 0
    """Which of the process's shards of this epoch."""
    row: int = 0
    """Its next row."""
    seen: int = 0
    """The split's rows before it in the shards of this epoch that the process reads."""


class _Block(NamedTuple):
    start: Place
    end: Place
    pixels: np.ndarray  # uint8 (N, S, S, C), in the order in which they are handed out
    labels: np.ndarray | None
    before: int  # pictures passed over before its start, in epochs without any other
    skipped: int


class Batch(NamedTuple):
    """Some images."""

    pixels: np.ndarray
    """uint8, (B, S, S, C)."""
    labels: np.ndarray | None
    """Their classes, int64 (B,); None unless they were asked for."""


class Stream:
    """The endless training images of one process.

    Arguments:
        split: what to go through, over and over.
        rule: what every picture becomes.
        seed: of the order.
        rank: of the process.
        processes: how many there are.
        skip_bad: pass over pictures that cannot be read, and count them, instead of stopping.
        classes: how many classes the labels may be of; 0: there are no labels.

    Raises:
        InputError: the split cannot be streamed.
    """

    def __init__(
        self,
        split: Split,
        rule: Images,
        *,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        skip_bad: bool = False,
        classes: int = 0,
    ) -> None:
        if not split.shards:
            raise InputError("data without a picture cannot be streamed: choose others")
        self.split, self.rule, self.seed, self.skip_bad, self.classes = split, rule, seed, skip_bad, classes
        self.rank, self.processes = rank, processes
        self.block = max(1, min(BLOCK, BLOCK_BYTES // (rule.size**2 * rule.channels)))
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="stream")
        self._closing = threading.Event()
        self._walk: tuple[Place, Iterator[tuple[Item, Place]]] | None = None  # the reader's
        self._begin(Place())

    @property
    def by_rows(self) -> bool:
        """Whether rows are dealt out to the processes, there being too few shards."""
        return len(self.split.shards) < self.processes

    def take(self, count: int) -> Batch:
        """The next `count` images.

        Raises:
            StreamError: a picture or a file that cannot be read, a class that is missing or unknown, or no picture
                for this process at all.
        """
        parts: list[Batch] = []
        while count:
            block = self._current()
            chosen = slice(self._offset, self._offset + count)
            part = Batch(block.pixels[chosen], None if block.labels is None else block.labels[chosen])
            parts.append(part)
            self._offset += len(part.pixels)
            count -= len(part.pixels)
        labels = [part.labels for part in parts if part.labels is not None]
        return Batch(np.concatenate([part.pixels for part in parts]), np.concatenate(labels) if labels else None)

    def position(self) -> dict[str, int]:
        """Where this process is, as JSON: the beginning of its block, and how much of that is handed out."""
        return {**asdict(self._start), "offset": self._offset, "skipped": self._skipped}

    def restore(self, positions: Sequence[Mapping[str, int]]) -> bool:
        """Goes on where `positions`, of all processes in order, say.

        Returns:
            Whether it does exactly so; on another number of processes all go on at an epoch that none has begun.
        """
        if len(positions) != self.processes:
            self._begin(Place(1 + max(position["epoch"] for position in positions)))
            return False
        mine = positions[self.rank]
        self._begin(Place(**{name: mine[name] for name in asdict(Place())}), mine["offset"], mine["skipped"])
        return True

    @property
    def skipped(self) -> int:
        """Pictures passed over so far, again in each epoch."""
        return self._skipped + (self._block.skipped if self._block else 0)

    @property
    def epoch(self) -> int:
        """Of the images that are being handed out, from 0."""
        return self._start.epoch

    def close(self) -> None:
        """Stops reading ahead; nothing can be taken any more."""
        self._closing.set()
        self._reader.shutdown(cancel_futures=True)

    # -- blocks ----------------------------------------------------------------------------------

    def _begin(self, start: Place, offset: int = 0, skipped: int = 0) -> None:
        """Goes to a place; its block is read once images are asked for."""
        self._start, self._offset, self._skipped = start, offset, skipped
        self._block: _Block | None = None
        self._ahead: Future[_Block] | None = None

    def _current(self) -> _Block:
        """The block that images are left of; the one after it is read meanwhile."""
        if self._block is not None and self._offset == len(self._block.pixels):
            self._start, self._offset, self._skipped = self._block.end, 0, self.skipped
            self._block = None
        if self._block is None:
            ahead = self._ahead or self._reader.submit(self._read, self._start)
            self._block = ahead.result()
            self._start, self._skipped = self._block.start, self._skipped + self._block.before
            self._ahead = self._reader.submit(self._read, self._block.end)
        return self._block

    def _read(self, start: Place) -> _Block:
        """The block that begins at `start`, or with the next epoch where none of this one is left."""
        rule = self.rule
        pixels = np.empty((self.block, rule.size, rule.size, rule.channels), np.uint8)
        labels = np.empty(self.block, np.int64)
        count = before = skipped = epochs = 0
        end, walk = start, self._from(start)
        while count < self.block:
            if self._closing.is_set():
                raise StreamError("the stream is closed")
            found = self._found(walk)
            if found is None and count:  # an epoch's last block is shorter
                end, walk = Place(end.epoch + 1), iter(())
                break
            if found is None:
                epochs += 1
                if epochs > _EMPTY_EPOCHS:
                    raise StreamError(
                        f"process {self.rank} of {self.processes} finds no picture of its own: use fewer processes"
                    )
                start = end = Place(end.epoch + 1)
                before, skipped = before + skipped, 0
                walk = self._rows(start)
                continue
            item, end = found
            try:
                pixels[count] = decoded(item, read_item(item), rule)
            except InputError as error:
                if not self.skip_bad:
                    raise StreamError(f"{error}; --skip-bad skips such pictures") from error
                skipped += 1
            else:
                labels[count] = self._label(item)
                count += 1
        self._walk = (end, walk) if end.epoch == start.epoch else None
        order = _permutation(count, self.seed, start.epoch, self.rank, start.shard, start.row)
        return _Block(start, end, pixels[order], labels[order] if self.classes else None, before, skipped)

    def _label(self, item: Item) -> int:
        if not self.classes:
            return -1
        if item.label is None or item.label < 0:
            raise StreamError(f"{item.where}: it has no class, and this method needs one: leave it out")
        if item.label >= self.classes:
            raise StreamError(
                f"{item.where} is of class {item.label}, but training is on classes 0 to {self.classes - 1}: "
                "start with --method.classes set to how many there are"
            )
        return item.label

    # -- rows ------------------------------------------------------------------------------------

    def _from(self, start: Place) -> Iterator[tuple[Item, Place]]:
        """The rows from `start` on; those of the block before are gone on with."""
        before, self._walk = self._walk, None
        return before[1] if before and before[0] == start else self._rows(start)

    def _found(self, walk: Iterator[tuple[Item, Place]]) -> tuple[Item, Place] | None:
        try:
            return next(walk, None)
        except InputError as error:
            raise StreamError(str(error)) from error

    def _rows(self, start: Place) -> Iterator[tuple[Item, Place]]:
        """This process's pictures of an epoch from a place on, each with the place after it."""
        order = _permutation(len(self.split.shards), self.seed, start.epoch)
        if not self.by_rows:
            order = order[(self.rank + start.epoch) % self.processes :: self.processes]
        row, seen = start.row, start.seen
        for number in range(start.shard, len(order)):
            shard = self.split.shards[order[number]]
            for item in shard.items(row):
                mine = self.split.takes(shard.first + shard.stride * row)
                row += 1
                if mine:
                    seen += 1
                    if not self.by_rows or (seen + start.epoch) % self.processes == self.rank:
                        yield item, Place(start.epoch, number, row, seen)
            row = 0


def open_stream(
    ref: str,
    rule: Images,
    *,
    seed: int,
    rank: int = 0,
    processes: int = 1,
    skip_bad: bool = False,
    classes: int = 0,
) -> Stream:
    """The training images of a reference, from their beginning; arguments are those of `Stream`.

    Raises:
        InputError: the reference cannot be used.
    """
    reference = parse(ref)
    source = open_source(reference)
    split = source.splits[source.find(reference.split or "train")]
    return Stream(split, rule, seed=seed, rank=rank, processes=processes, skip_bad=skip_bad, classes=classes)


def _permutation(count: int, seed: int, *place: int) -> np.ndarray:
    # RandomState's stream is frozen for ever, unlike that of numpy's newer Generator.
    bits = np.random.MT19937(np.random.SeedSequence([_STREAM, seed, *place]))
    return np.random.RandomState(bits).permutation(count)
