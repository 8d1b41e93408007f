"""Arrays: every shape that is read, everything else refused, and nothing ever unpickled."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from dualmcmc.data import load
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


def values(path: Path, split: str | None = None) -> list[int]:
    return load(str(path), RULE, split=split).pixels[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("last", [(), (1,), (3,), (4,)])
def test_arrays_of_every_shape_follow_the_rule(tmp_path: Path, last: tuple[int, ...]):
    pixels = np.full((3, 8, 8, *last), 77, np.uint8)
    if last == (4,):
        pixels[..., 3] = 0
    np.save(tmp_path / "a.npy", pixels)
    assert values(tmp_path / "a.npy") == [255 if last == (4,) else 77] * 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_holds_one_array_or_images_or_splits(tmp_path: Path, save):
    one, two = np.full((1, 8, 8), 1, np.uint8), np.full((1, 8, 8), 2, np.uint8)
    save(tmp_path / "one.npz", one)
    save(tmp_path / "images.npz", images=one, labels=np.zeros(1))
    save(tmp_path / "splits.npz", test=two, train=one)
    save(tmp_path / "many.npz", a=one, b=two)
    assert values(tmp_path / "one.npz") == values(tmp_path / "images.npz") == [1]
    assert values(tmp_path / "splits.npz") == [1]
    assert values(tmp_path / "splits.npz", "test") == [2]
    with pytest.raises(InputError, match=r"many\.npz.*a, b"):
        load(str(tmp_path / "many.npz"), RULE)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("form", ["npy", "npz", "raw"])
def test_pickled_arrays_are_refused_and_not_executed(tmp_path: Path, form: str):
    trap = np.array([Trap(str(tmp_path / "sprung"))], dtype=object)
    path = tmp_path / f"a.{'npz' if form == 'npz' else 'npy'}"
    if form == "raw":
        path.write_bytes(pickle.dumps(trap))
    else:
        (np.savez if form == "npz" else np.save)(path, trap)
    with pytest.raises(InputError, match=path.name):
        load(str(path), RULE)
    assert not (tmp_path / "sprung").exists()


BAD_ARRAYS = {
    "float32: images must be uint8": np.zeros((2, 8, 8), np.float32),
    "int64: images must be uint8": np.zeros((2, 8, 8), np.int64),
    "shape": np.zeros((8, 8), np.uint8),
    "N, H, W": np.zeros((2, 3, 8, 8), np.uint8),
    "empty": np.zeros((0, 8, 8), np.uint8),
}


@pytest.mark.parametrize("said", BAD_ARRAYS)
@pytest.mark.parametrize("form", ["npy", "npz"])
def test_arrays_that_are_no_images_are_refused(tmp_path: Path, said: str, form: str):
    path = tmp_path / f"a.{form}"
    (np.savez if form == "npz" else np.save)(path, BAD_ARRAYS[said])
    with pytest.raises(InputError, match=said) as caught:
        load(str(path), RULE)
    assert str(path) in str(caught.value)
