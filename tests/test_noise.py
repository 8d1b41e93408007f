"""Noise is a function of (seed, key, draw): not of the batch, its order, its split over processes."""

from __future__ import annotations

import pytest
import torch

from dualmcmc.noise import BLOCK, BatchNoise, Noise


def test_a_row_depends_on_its_key_not_on_its_neighbours() -> None:
    like = torch.empty(6, 5)
    whole = Noise(4).normal_like(like)
    assert torch.equal(Noise(4, [2, 5]).normal_like(like[:2]), whole[[2, 5]])
    assert torch.equal(Noise(4, [3, 0, 1]).normal_like(like[:3]), whole[[3, 0, 1]])


def test_draws_streams_and_seeds_are_unrelated() -> None:
    """Correlations of 10,000 pairs stay below 5 standard errors (1 / sqrt n)."""
    like, noise = torch.empty(10, 1000), Noise(0)
    drawn = [noise.normal_like(like), noise.normal_like(like), Noise(1).normal_like(like)]
    drawn += [Noise(0).stream("a").normal_like(like), Noise(0).stream("b").normal_like(like)]
    table = torch.corrcoef(torch.stack([x.flatten() for x in drawn]))
    assert (table - torch.eye(5)).abs().max() < 5 / 100
    rows = torch.corrcoef(drawn[0])
    assert (rows - torch.eye(10)).abs().max() < 5 / 1000**0.5


def test_noise_is_standard_normal() -> None:
    x = Noise(7).normal_like(torch.empty(100, 1000)).double()
    n = x.numel()
    assert abs(x.mean()) < 5 / n**0.5
    assert abs(x.var() - 1) < 5 * (2 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 5 * (96 / n) ** 0.5


@pytest.mark.parametrize("cut", [1, BLOCK - 3, BLOCK, BLOCK + 5])
def test_any_split_of_a_batch_draws_the_same_noise(cut: int) -> None:
    total = 3 * BLOCK + 2
    whole = BatchNoise(0, range(total)).normal_like(torch.empty(total, 7))
    parts = [
        BatchNoise(0, rows).normal_like(torch.empty(len(rows), 7)) for rows in (range(cut), range(cut, total))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_as_many_keys_as_rows_are_asked_for() -> None:
    with pytest.raises(ValueError, match="2 keys for 3 rows"):
        Noise(0, [1, 2]).normal_like(torch.empty(3, 1))


@pytest.mark.parametrize("block", [8, 100, 4096])
def test_blocks_of_any_size_keep_a_position_s_noise_from_the_split(block: int) -> None:
    """So do their streams; the size is part of what the noise is a function of."""
    total, rows = 230, (range(41), range(41, 200), range(200, 230))
    like = torch.empty(total, 2)
    for name in ((), ("stream", 1)):
        whole = BatchNoise(0, range(total), block=block).stream(*name)
        parts = [BatchNoise(0, own, block=block).stream(*name) for own in rows]
        for _ in range(2):
            drawn = [part.normal_like(like[: len(own)]) for part, own in zip(parts, rows, strict=True)]
            assert torch.equal(torch.cat(drawn), whole.normal_like(like))


def test_a_block_s_size_is_that_of_training_unless_it_is_given() -> None:
    like = torch.empty(2 * BLOCK, 3)
    drawn = BatchNoise(0, range(len(like))).normal_like(like)
    assert torch.equal(drawn, BatchNoise(0, range(len(like)), block=BLOCK).normal_like(like))
    assert not torch.equal(drawn, BatchNoise(0, range(len(like)), block=2 * BLOCK).normal_like(like))
