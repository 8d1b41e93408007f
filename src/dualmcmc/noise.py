"""Randomness as an argument: Gaussian noise that is a function of (seed, key, draw), never of the batch.

A chain whose rows share one generator gives row i other noise when row j leaves the batch. Here every
row has a key (the image's index in a call or data set), and its k-th draw depends on (seed, key, k)
alone. Training uses keys of its own: positions in the global batch, drawn in fixed blocks, so that any
number of processes draws the same noise with few generator calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy

import torch
from torch import Tensor

BLOCK = 32
"""Rows per generator call in training: recorded results are drawn so."""


def _seed_of(*parts: int | str) -> int:
    """63 well-mixed bits from the parts: nearby seeds and keys give unrelated generators."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Noise:
    """Standard normal draws for rows that carry keys; the k-th call is draw k.

    Arguments:
        seed: any integer.
        keys: one integer per row; None: row i has key i.
        path: names the stream; `stream` extends it.
    """

    def __init__(self, seed: int, keys: Sequence[int] | None = None, *, path: tuple[int | str, ...] = ()) -> None:
        self.seed = seed
        self.keys = keys
        self.path = path
        self.draws = 0

    def stream(self, *name: int | str) -> Noise:
        """An independent sequence of draws for the same rows."""
        return type(self)(self.seed, self.keys, path=(*self.path, *name))

    def part(self, rows: slice, count: int) -> Noise:
        """The noise of some of `count` rows: each row's next draws are those it would have had among all.

        Raises:
            ValueError: there are not as many keys as rows.
        """
        keys = range(count) if self.keys is None else self.keys
        if len(keys) != count:
            raise ValueError(f"{len(keys)} keys for {count} rows: give one key per row")
        part = copy(self)
        part.keys = keys[rows]
        return part

    def normal_like(self, x: Tensor) -> Tensor:
        """The next draw: of x's shape (B, *), type and device; row i is a function of (seed, keys[i], draw).

        Raises:
            ValueError: there are not as many keys as rows.
        """
        keys = range(len(x)) if self.keys is None else self.keys
        if len(keys) != len(x):
            raise ValueError(f"{len(keys)} keys for {len(x)} rows: give one key per row")
        eps = torch.empty(x.shape, device=x.device, dtype=x.dtype)
        self._fill(eps, keys)
        self.draws += 1
        return eps

    def uniform_like(self, x: Tensor) -> Tensor:
        """The next draw, uniform in (0, 1): a normal draw through its distribution function."""
        return torch.special.ndtr(self.normal_like(x))

    def _fill(self, eps: Tensor, keys: Sequence[int]) -> None:
        generator = torch.Generator(eps.device)
        for row, key in zip(eps, keys, strict=True):
            generator.manual_seed(_seed_of(self.seed, *self.path, self.draws, int(key)))
            row.normal_(generator=generator)


class BatchNoise(Noise):
    """Draws for consecutive positions of a global batch, in fixed blocks of rows.

    keys must be a range; a process that holds part of a block draws the whole block and keeps its rows,
    so a position's noise does not depend on how many processes share the batch.

    Arguments:
        seed: any integer.
        keys: a range of positions; None: row i has position i.
        path: names the stream; `stream` extends it.
        block: rows that one seeded generator draws, which the noise is a function of, too. Seeding costs about as
            much as a thousand numbers do: where a row is a few of them (chains in the plane), make it thousands.
    """

    def __init__(
        self,
        seed: int,
        keys: Sequence[int] | None = None,
        *,
        path: tuple[int | str, ...] = (),
        block: int = BLOCK,
    ) -> None:
        super().__init__(seed, keys, path=path)
        self.block = block

    def stream(self, *name: int | str) -> BatchNoise:
        """An independent sequence of draws for the same rows, in blocks of the same size."""
        return type(self)(self.seed, self.keys, path=(*self.path, *name), block=self.block)

    def _fill(self, eps: Tensor, keys: Sequence[int]) -> None:
        if not isinstance(keys, range) or keys.step != 1:
            raise TypeError(f"positions of a batch are a range, not {keys!r}")
        first, last, block = keys.start, keys.stop, self.block
        generator = torch.Generator(eps.device)
        for start in range(first - first % block, last, block):
            generator.manual_seed(_seed_of(self.seed, *self.path, self.draws, "block", start // block))
            if first <= start and start + block <= last:
                eps[start - first : start - first + block].normal_(generator=generator)
                continue
            drawn = eps.new_empty((block, *eps.shape[1:])).normal_(generator=generator)
            low, high = max(start, first), min(start + block, last)
            eps[low - first : high - first] = drawn[low - start : high - start]
