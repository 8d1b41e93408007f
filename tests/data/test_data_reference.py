"""What a reference names."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualmcmc.data import NAMED, Reference, parse
from dualmcmc.errors import InputError


@pytest.mark.parametrize("name", NAMED)
def test_known_names_are_named_sets(name: str):
    assert parse(name) == Reference("named", name)
    assert parse(f"{name}:test") == Reference("named", name, "test")


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("hf:a/b", Reference("hub", "a/b")),
        ("hf:a/b:test", Reference("hub", "a/b", "test")),
        ("hf:a-1/b.c@refs/convert/parquet:x", Reference("hub", "a-1/b.c", "x", "refs/convert/parquet")),
    ],
)
def test_hub_references(ref: str, expected: Reference):
    assert parse(ref) == expected


@pytest.mark.parametrize("ref", ["hf:", "hf:name", "hf:a/b/c", "hf:a/b@", "hf:a/b:", "hf:/b"])
def test_malformed_hub_references_are_refused(ref: str):
    with pytest.raises(InputError, match="hf:owner/name"):
        parse(ref)


@pytest.mark.parametrize(
    ("file", "kind"),
    [("a.npy", "array"), ("a.NPZ", "array"), ("a.parquet", "parquet"), ("x/y.png", "folder")],
)
def test_paths_are_told_by_their_suffix(tmp_path: Path, file: str, kind: str):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.touch()
    place = str(path.parent if kind == "folder" else path)
    assert parse(place) == Reference(kind, place)
    assert parse(place + ":train") == Reference(kind, place, "train")


@pytest.mark.parametrize("inside", ["", "data"])
def test_a_folder_that_holds_parquet_is_parquet(tmp_path: Path, inside: str):
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "train-00000-of-00001.parquet").touch()
    assert parse(str(tmp_path)).kind == "parquet"


def test_a_path_that_exists_wins_over_a_split(tmp_path: Path):
    (tmp_path / "a:test").mkdir()
    (tmp_path / "a").mkdir()
    assert parse(f"{tmp_path}/a:test") == Reference("folder", f"{tmp_path}/a:test")
    assert parse(f"{tmp_path}/a:test:train").split == "train"


def test_a_name_means_the_known_set_and_dot_slash_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse("mnist").kind == "named"
    assert parse("./mnist").kind == "folder"


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("cifra10", "did you mean cifar10"),
        ("cifra10:test", "did you mean cifar10"),
        ("zzz", "known sets are digits, mnist"),
        ("", "known sets"),
        ("no/such/folder", "no file or folder 'no/such/folder'"),
        ("C:\\photos", "no file or folder"),
        ("a\0b/c", "no file or folder"),
    ],
)
def test_what_is_unknown_is_refused_in_one_line(ref: str, said: str):
    with pytest.raises(InputError, match=said) as caught:
        parse(ref)
    assert "\n" not in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"notes\.txt.*neither"):
        parse(str(tmp_path / "notes.txt"))


def test_every_pinned_revision_is_a_commit():
    for name, known in NAMED.items():
        assert known.revision is None or (len(known.revision) == 40 and int(known.revision, 16)), name
