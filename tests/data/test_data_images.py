"""Bad pictures, the hold-out, and the tensors of an image set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualmcmc.data import holdout, load
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


def giant(path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(path)


BAD = {
    "text": lambda path: path.write_text("not a picture"),
    "zero bytes": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes((path.parent / "05.png").read_bytes()[:50]),
    "bomb": giant,
    "float": lambda path: Image.new("F", (8, 8)).save(path, "TIFF"),
    "gone": lambda path: os.symlink(path.parent / "nowhere.png", path),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_picture_is_named_or_skipped_and_counted(photos: Path, bad: str, cache: Path):
    BAD[bad](photos / "03a.png")
    with pytest.raises(InputError, match="--skip-bad") as caught:
        load(str(photos), RULE)
    assert str(photos / "03a.png") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any((cache / "images").iterdir())
    images = load(str(photos), RULE, skip_bad=True)
    assert (len(images), images.skipped) == (12, 1)
    assert "03a.png" not in images.names
    assert load(str(photos), RULE, skip_bad=True).skipped == 1
    with pytest.raises(InputError):  # the entry without it does not serve those who did not ask for that
        load(str(photos), RULE)


def test_a_set_of_bad_pictures_only_is_refused(tmp_path: Path):
    (tmp_path / "a.png").write_text("x")
    with pytest.raises(InputError, match=r"none of its 1 .*a\.png"):
        load(str(tmp_path), RULE, skip_bad=True)


def test_the_hold_out_is_the_test_split_unless_training_sees_it(photos: Path, tmp_path: Path):
    train, held = load(str(photos), RULE, split="train"), holdout(str(photos), RULE)
    assert held is not None
    assert held.split == "test"
    assert list(held.names) == ["09.png"]
    assert sorted([*train.names, *held.names]) == [f"{i:02}.png" for i in range(12)]
    assert holdout(f"{photos}:train", RULE) is not None
    assert holdout(f"{photos}:all", RULE) is None
    assert holdout(f"{photos}:test", RULE) is None
    with pytest.raises(InputError, match="no split 'tets'"):
        holdout(f"{photos}:tets", RULE)


def test_there_is_no_hold_out_of_nine_images_and_validation_serves_for_test(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 8), np.uint8))
    assert holdout(str(tmp_path / "a.npy"), RULE) is None
    np.savez(tmp_path / "b.npz", train=np.zeros((9, 8, 8), np.uint8), val=np.zeros((2, 8, 8), np.uint8))
    held = holdout(str(tmp_path / "b.npz"), RULE)
    assert held is not None
    assert (held.split, len(held)) == ("val", 2)


def test_a_bad_picture_moves_no_other_between_splits(photos: Path):
    (photos / "00.png").write_text("x")
    assert list(load(str(photos), RULE, split="test", skip_bad=True).names) == ["09.png"]


def test_tensors_are_the_chosen_images_mirrored_where_asked(tmp_path: Path):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    images = load(str(tmp_path / "a.npy"), Images(size=8, channels=3))
    x = images.tensor([4, 1], mirrored=np.array([False, True]))
    assert x.dtype == torch.float32
    expected = torch.from_numpy(np.stack([pixels[4], pixels[1][:, ::-1]])).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(x, expected)
    assert torch.equal(images.tensor(torch.tensor([4])), x[:1])
