"""Classes: each kind of source has its rule, and they stay with their images."""

from __future__ import annotations

import io
import os
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dualmcmc.data import ImageSet, hub, load
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), value).save(file, "PNG")
    return file.getvalue()


def labels(ref: object, split: str | None = None) -> list[int] | None:
    found = load(str(ref), RULE, split=split).labels
    return None if found is None else found.tolist()


def by_class(images: ImageSet) -> list[tuple[int, int]]:
    """Each image's value beside its class."""
    assert images.labels is not None
    return list(zip(images.pixels[:, 0, 0, 0].tolist(), images.labels.tolist(), strict=True))


def test_the_class_of_a_digit_is_its_target():
    from sklearn.datasets import load_digits

    held = load_digits()
    for split in ("train", "test"):
        images = load("digits", RULE, split=split)
        rows = [int(name) for name in images.names]
        assert images.labels is not None
        assert np.array_equal(images.labels, held.target[rows])
        assert (images.labels.dtype, images.labels.flags.writeable, images.classes) == (np.int64, False, 10)


def table(path: Path, **columns: object) -> Path:
    """Six images whose value is their number, and other columns."""
    pq.write_table(pa.table({**columns, "image": [png(i) for i in range(6)]}), path, row_group_size=4)
    return path


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.uint64()])
@pytest.mark.parametrize("column", ["label", "labels"])
def test_a_parquet_column_of_integers_is_the_class(tmp_path: Path, column: str, kind: pa.DataType):
    path = table(tmp_path / "a.parquet", **{column: pa.array([3, 0, 1, 0, 2, 3], kind)})
    assert by_class(load(str(path), RULE)) == list(enumerate([3, 0, 1, 0, 2, 3]))
    assert load(str(path), RULE).classes == 4


@pytest.mark.parametrize(
    "column",
    [
        {},
        {"label": [0, 1, 0, 1, 0, -1]},
        {"label": [0, 1, 0, 1, 0, None]},
        {"label": ["a", "b", "a", "b", "a", "b"]},
        {"label": [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]},
        {"label": pa.array([2**64 - 1] * 6, pa.uint64())},
    ],
)
def test_without_a_class_for_every_row_a_parquet_file_has_none(tmp_path: Path, column: dict[str, object]):
    images = load(str(table(tmp_path / "a.parquet", **column)), RULE)
    assert (len(images), images.labels, images.classes) == (6, None, 0)


def test_the_held_out_images_keep_their_classes(tmp_path: Path):
    pixels = np.arange(20, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.arange(20) // 2)
    for split in ("train", "test"):
        assert all(
            value // 2 == label for value, label in by_class(load(str(tmp_path / "a.npz"), RULE, split=split))
        )


def test_the_classes_of_an_npz_lie_beside_its_images_or_its_splits(tmp_path: Path):
    two, three = np.zeros((2, 8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)
    np.savez(tmp_path / "labels.npz", images=two, labels=np.array([1, 0], np.int8), y=np.array([5, 5]))
    np.savez_compressed(tmp_path / "y.npz", images=two, y=np.array([1, 2], np.uint16))
    np.savez(
        tmp_path / "s.npz", train=three, train_labels=[0, 1, 2], Test=two, test_y=[2, 0], val=two, labels=[0, 1]
    )
    assert labels(tmp_path / "labels.npz") == [1, 0]
    assert labels(tmp_path / "y.npz") == [1, 2]
    splits = [labels(tmp_path / "s.npz", split) for split in ("train", "test", "val")]
    assert splits == [[0, 1, 2], [2, 0], None]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(2),
        np.zeros(3, np.int64),
        np.zeros((2, 1), np.int64),
        np.array([0, -1]),
        np.array([True, False]),
        np.array([{}, {}]),
        np.array([0, 2**63], np.uint64),
    ],
)
def test_other_arrays_beside_images_are_no_classes(tmp_path: Path, wrong: np.ndarray):
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 8, 8), np.uint8), labels=wrong)
    assert labels(tmp_path / "a.npz") is None


def folder(root: Path, *names: str) -> Path:
    """Pictures whose value is their position."""
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(png(i))
    return root


def test_the_class_of_a_file_is_its_first_subfolder(tmp_path: Path):
    images = load(str(folder(tmp_path, "dog/1.png", "cat/deep/2.png", "ape/3.png", "dog/4.png")), RULE)
    assert sorted(by_class(images)) == [(0, 2), (1, 1), (2, 0), (3, 2)]


def test_the_classes_of_every_split_are_numbered_alike(tmp_path: Path):
    names = ["train/b/1.png", "train/c/2.png", "test/c/1.png", "test/a/2.png", "val/b/1.png", "val/3.png"]
    root = folder(tmp_path, *names, "stray.png")
    assert labels(root, "train") == [1, 2]
    assert labels(root, "test") == [0, 2]
    assert labels(root, "val") is None


@pytest.mark.parametrize("names", [["a/1.png", "b/2.png", "3.png"], ["a/1.png", "a/b/2.png"], ["train/a/1.png"]])
def test_a_folder_with_a_stray_picture_or_one_subfolder_has_no_classes(tmp_path: Path, names: list[str]):
    assert labels(folder(tmp_path, *names)) is None


def test_an_unsorted_split_names_no_class(tmp_path: Path):
    root = folder(tmp_path, "train/b/1.png", "train/c/2.png", "test/a/1.png", "test/2.png")
    assert labels(root) == [0, 1]


HUB = {
    "label": ({"fine": datasets.ClassLabel(3), "label": datasets.Value("int64")}, [1, 0]),
    "labels": ({"fine": datasets.ClassLabel(3), "labels": datasets.Value("uint8")}, [1, 0]),
    "ClassLabel": ({"label": datasets.Value("string"), "fine": datasets.ClassLabel(3)}, [1, 0]),
    "nothing": ({"id": datasets.Value("int64"), "label": datasets.Value("float32")}, None),
    "missing": ({"label": datasets.ClassLabel(3)}, None),
}


@pytest.mark.parametrize("case", HUB)
def test_the_class_of_a_hub_row_is_its_label(monkeypatch: pytest.MonkeyPatch, case: str):
    features, expected = HUB[case]
    wanted = [-1, -1] if case == "missing" else [1, 0]
    columns = {name: wanted if name == case or expected is None else [2, 2] for name in features}
    if case == "ClassLabel":
        columns = {"label": ["x", "y"], "fine": wanted}
    rows = datasets.Dataset.from_dict(
        {**columns, "image": [{"bytes": png(i), "path": None} for i in range(2)]},
        features=datasets.Features({**features, "image": datasets.Image()}),
    )
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.DatasetDict(train=rows))
    assert labels("hf:some/set") == expected


def test_skipped_pictures_take_their_classes_with_them(tmp_path: Path):
    images = [png(0), b"", png(2), b"", png(4)]
    pq.write_table(pa.table({"image": images, "label": [4, -1, 2, 1, 0]}), tmp_path / "a.parquet")
    found = load(str(tmp_path / "a.parquet"), RULE, skip_bad=True)
    assert by_class(found) == [(0, 4), (2, 2), (4, 0)]
    assert found.skipped == 2


def test_classes_do_not_change_the_fingerprint(tmp_path: Path):
    with_them = load(str(table(tmp_path / "a.parquet", label=[0, 1, 2, 3, 4, 5])), RULE)
    assert load(str(table(tmp_path / "b.parquet")), RULE).fingerprint == with_them.fingerprint


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


HARM = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "short": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "long": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "fewer": lambda path: path.write_bytes(npy(np.arange(5))),
    "narrow": lambda path: path.write_bytes(npy(np.arange(6, dtype=np.int32))),
    "text": lambda path: path.write_text("x"),
}


@pytest.mark.parametrize("harm", HARM)
def test_damaged_classes_are_decoded_again(tmp_path: Path, cache: Path, harm: str):
    path = table(tmp_path / "a.parquet", label=[5, 4, 3, 2, 1, 0])
    assert labels(path) == [5, 4, 3, 2, 1, 0]
    (entry,) = (cache / "images").iterdir()
    HARM[harm](entry / "labels.npy")
    assert labels(path) == [5, 4, 3, 2, 1, 0]
    assert labels(path) == np.load(entry / "labels.npy").tolist()


def test_verify_sees_changed_classes(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez(path, images=np.zeros((2, 8, 8), np.uint8), labels=[0, 1])
    assert labels(path) == [0, 1]
    status = path.stat()
    np.savez(path, images=np.zeros((2, 8, 8), np.uint8), labels=[1, 0])
    assert path.stat().st_size == status.st_size
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert labels(path) == [0, 1]
    found = load(str(path), RULE, verify=True).labels
    assert found is not None
    assert found.tolist() == [1, 0]
