"""The order of training: every image at most once an epoch, and nothing remembered between updates."""

from __future__ import annotations

import numpy as np
import pytest

from dualmcmc.data import batch_indices
from dualmcmc.errors import InputError


def epoch(number: int, images: int, batch: int, seed: int = 0) -> np.ndarray:
    steps = images // batch
    return np.concatenate(
        [batch_indices(number * steps + i, images=images, batch_size=batch, seed=seed) for i in range(steps)]
    )


@pytest.mark.parametrize(("images", "batch"), [(100, 10), (7, 7), (12, 1)])
def test_an_epoch_visits_each_image_once_when_batches_divide_it(images: int, batch: int):
    assert sorted(epoch(3, images, batch)) == list(range(images))


@pytest.mark.parametrize(("images", "batch"), [(103, 10), (7, 4)])
def test_an_epoch_visits_no_image_twice_and_drops_the_rest(images: int, batch: int):
    seen = epoch(1, images, batch)
    assert len(set(seen)) == len(seen) == images // batch * batch


def test_a_batch_is_a_function_of_its_step_alone():
    forward = [batch_indices(i, images=50, batch_size=8, seed=1) for i in range(20)]
    backward = [batch_indices(i, images=50, batch_size=8, seed=1) for i in reversed(range(20))][::-1]
    assert np.array_equal(forward, backward)
    assert (forward[0].dtype, forward[0].shape) == (np.int64, (8,))
    forward[0][:] = -1  # a caller's change reaches no later call
    assert np.array_equal(batch_indices(0, images=50, batch_size=8, seed=1), backward[0])


def test_epochs_and_seeds_differ():
    orders = [epoch(number, 100, 10, seed) for number in range(3) for seed in range(3)]
    assert len({tuple(order) for order in orders}) == 9


def test_the_order_is_the_same_on_every_machine():
    """Recorded once: a change would make resumed runs meet other batches."""
    assert batch_indices(5, images=10, batch_size=4, seed=2**62).tolist() == [2, 7, 0, 5]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 11}, "11.*10"),
        ({"batch_size": 0}, "batch"),
        ({"step": -1}, "-1"),
        ({"images": 0}, "0"),
    ],
)
def test_impossible_batches_are_refused(wrong: dict[str, int], said: str):
    with pytest.raises(InputError, match=said):
        batch_indices(**{"step": 0, "images": 10, "batch_size": 2, "seed": 0, **wrong})
