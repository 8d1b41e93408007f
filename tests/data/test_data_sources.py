"""Folders, Parquet, arrays and the embedded digits: which images, in which order, in which split."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualmcmc.data import load
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def table(path: Path, values: list[int], kind: str = "struct") -> None:
    images: list[object] = [png(value) for value in values]
    if kind == "struct":
        images = [{"bytes": image, "path": f"{value}.png"} for image, value in zip(images, values, strict=True)]
    pq.write_table(pa.table({"image": images, "label": [0] * len(values)}), path, row_group_size=4)


def values(ref: object, split: str | None = None) -> list[int]:
    return load(str(ref), RULE, split=split).pixels[:, 0, 0, 0].tolist()


def test_digits_are_divided_without_overlap_or_loss():
    from sklearn.datasets import load_digits

    train, test = load("digits", RULE), load("digits:test", RULE)
    assert (len(train), len(test)) == (1500, 297)
    rows = [int(name) for name in (*train.names, *test.names)]
    assert sorted(rows) == list(range(1797))
    expected = np.floor(load_digits().images[rows] * 255 / 16 + 0.5)
    assert np.array_equal(np.concatenate([train.pixels, test.pixels])[..., 0], expected)


def test_a_folder_is_read_at_any_depth_by_path_ignoring_other_files(tmp_path: Path):
    for i, name in enumerate(
        ["b.PNG", "a/z.png", "a/b/c.png", ".hidden.png", ".h/x.png", "a.txt", "a.pdf", "a.h5"]
    ):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(i))
    images = load(str(tmp_path / "set"), RULE)
    assert list(images.names) == ["a/b/c.png", "a/z.png", "b.PNG"]
    assert images.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]


def test_links_that_lead_back_end(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(png(1))
    try:
        os.symlink(tmp_path, tmp_path / "again", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert values(tmp_path) == [1]


def test_a_set_without_splits_holds_out_every_tenth_image(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(25, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2))
    path = tmp_path / "a.npy"
    assert values(path) == values(path, "all") == list(range(25))
    assert values(f"{path}:test") == values(path, "test") == [9, 19]
    assert values(path, "train") == [i for i in range(25) if i not in (9, 19)]
    assert values(f"{path}:test", "train") == [9, 19]  # the reference wins


def test_a_set_whose_only_split_is_train_holds_out_too(tmp_path: Path):
    table(tmp_path / "train-00000-of-00001.parquet", list(range(20)))
    assert values(tmp_path) == list(range(20))
    assert values(tmp_path, "test") == [9, 19]


def test_subfolders_named_as_splits_are_the_splits(tmp_path: Path):
    for name, value in [("train/a/1.png", 1), ("Test/2.png", 2), ("val/3.png", 3), ("stray.png", 4)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(value))
    assert values(tmp_path) == [1]
    assert values(tmp_path, "test") == [2]
    assert values(tmp_path, "validation") == values(f"{tmp_path}:val") == [3]
    with pytest.raises(InputError, match="no split 'all': it has train, test, val"):
        load(str(tmp_path), RULE, split="all")


@pytest.mark.parametrize("kind", ["struct", "binary"])
def test_parquet_files_are_read_by_their_splits(tmp_path: Path, kind: str):
    for name, numbers in [
        ("train-00000-of-00002", [1, 2, 3, 4, 5]),
        ("train-00001-of-00002", [6]),
        ("test", [7]),
    ]:
        table(tmp_path / f"{name}.parquet", numbers, kind)
    assert values(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert values(tmp_path, "test") == values(tmp_path / "test.parquet") == [7]
    names = list(load(str(tmp_path), RULE, split="test").names)
    assert names == (["7.png"] if kind == "struct" else ["test.parquet:0"])


def test_a_parquet_file_without_a_split_beside_others_is_refused(tmp_path: Path):
    table(tmp_path / "train-0.parquet", [1])
    table(tmp_path / "more.parquet", [2])
    with pytest.raises(InputError, match=r"more\.parquet.*split"):
        load(str(tmp_path), RULE)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def test_broken_files_are_refused_by_their_path(tmp_path: Path):
    pixels = np.random.RandomState(0).randint(0, 256, (4, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    np.savez(tmp_path / "a.npz", pixels)
    table(tmp_path / "a.parquet", [1])
    (tmp_path / "text.parquet").write_text("no Parquet")
    pq.write_table(pa.table({"img": [b""]}), tmp_path / "column.parquet")
    pq.write_table(pa.table({"image": [1]}), tmp_path / "type.parquet")
    for name in ("a.npy", "a.npz", "a.parquet"):
        truncated(tmp_path / name)
    for path in tmp_path.glob("*.*"):
        with pytest.raises(InputError) as caught:
            load(str(path), RULE)
        assert path.name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_parquet_file_damaged_inside_is_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table(path, list(range(200)))
    content = bytearray(path.read_bytes())
    content[100:-4000] = b"\xff" * (len(content) - 4100)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet"):
        load(str(path), RULE)


@pytest.mark.parametrize("inside", [[], ["notes.txt"], [".hidden.png"]])
def test_a_folder_without_images_is_refused(tmp_path: Path, inside: list[str]):
    place = tmp_path / "empty"
    place.mkdir()
    for name in inside:
        (place / name).write_bytes(png(1))
    with pytest.raises(InputError, match="holds no image") as caught:
        load(str(place), RULE)
    assert str(place) in str(caught.value)


REAL = os.environ.get("DUALMCMC_TEST_DATA")


@pytest.mark.skipif(not REAL, reason="DUALMCMC_TEST_DATA names no folder of real sets")
@pytest.mark.parametrize(
    ("name", "count", "mean"), [("fashion_mnist", 60_000, 0.2860406), ("mnist", 60_000, 0.1306605)]
)
def test_real_sets_have_their_published_means(name: str, count: int, mean: float):
    images = load(str(Path(REAL or "", name)), Images(size=28, channels=1))
    assert len(images) == count
    assert images.pixels.mean() / 255 == pytest.approx(mean, abs=5e-8)
