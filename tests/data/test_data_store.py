"""The cache: decoded once, whole or not at all, rebuilt when the source or the entry has changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualmcmc.data import ImageSet, cache_folder, cache_size, clear_cache, decoding, load
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One element per picture that is decoded."""
    calls: list[int] = []
    decode = decoding.decode

    def counting(*arguments: object) -> np.ndarray:
        calls.append(1)
        return decode(*arguments)

    monkeypatch.setattr(decoding, "decode", counting)
    return calls


def entries(cache: Path) -> list[Path]:
    return list((cache / "images").iterdir())


def test_the_second_load_decodes_nothing_and_equals_the_first(photos: Path, decoded: list[int]):
    first, second = load(str(photos), RULE), load(str(photos), RULE)
    assert len(decoded) == 12
    assert isinstance(second.pixels, np.memmap)
    assert not second.pixels.flags.writeable
    assert np.array_equal(first.pixels, second.pixels)
    assert (list(first.names), first.fingerprint) == (list(second.names), second.fingerprint)
    assert (second.reference, second.split, second.skipped, len(second)) == (str(photos), "all", 0, 12)


def test_flip_shares_the_entry_and_every_other_part_of_the_rule_has_its_own(photos: Path, cache: Path):
    load(str(photos), RULE)
    load(str(photos), Images(size=8, channels=1, flip=True))
    assert len(entries(cache)) == 1
    load(str(photos), Images(size=8, channels=3))
    load(str(photos), Images(size=16, channels=1))
    load(str(photos), RULE, split="test")
    assert len(entries(cache)) == 4


def test_a_changed_file_is_seen(photos: Path):
    before = load(str(photos), RULE)
    Image.new("L", (8, 8), 200).save(photos / "03.png")
    after = load(str(photos), RULE)
    assert after.pixels[3, 0, 0, 0] == 200
    assert after.fingerprint != before.fingerprint


def test_the_fingerprint_is_the_pixels_wherever_they_lie(photos: Path, tmp_path: Path):
    np.save(tmp_path / "a.npy", np.arange(12, dtype=np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2))
    assert load(str(photos), RULE).fingerprint == load(str(tmp_path / "a.npy"), RULE).fingerprint


def test_verify_sees_a_change_that_sizes_and_times_hide(photos: Path, decoded: list[int]):
    path = photos / "03.png"
    status = path.stat()
    assert load(str(photos), RULE).fingerprint == load(str(photos), RULE, verify=True).fingerprint
    assert len(decoded) == 12
    content = (photos / "04.png").read_bytes()
    assert len(content) == status.st_size
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load(str(photos), RULE).pixels[3, 0, 0, 0] == 3
    assert load(str(photos), RULE, verify=True).pixels[3, 0, 0, 0] == 4


@pytest.mark.parametrize("file", ["pixels.u8", "names.jsonl", "entry.json"])
@pytest.mark.parametrize("harm", ["remove", "shorten"])
def test_a_damaged_entry_is_rebuilt(photos: Path, cache: Path, file: str, harm: str):
    expected = np.array(load(str(photos), RULE).pixels)
    (entry,) = entries(cache)
    if harm == "remove":
        (entry / file).unlink()
    else:
        (entry / file).write_bytes((entry / file).read_bytes()[:-5])
    again = load(str(photos), RULE)
    assert np.array_equal(again.pixels, expected)
    assert list(again.names)[-1] == "11.png"
    assert len(entries(cache)) == 1


def test_verify_sees_changed_pixels_in_the_cache(photos: Path, cache: Path):
    load(str(photos), RULE)
    (entry,) = entries(cache)
    pixels = bytearray((entry / "pixels.u8").read_bytes())
    pixels[0] ^= 255
    (entry / "pixels.u8").write_bytes(pixels)
    assert load(str(photos), RULE, verify=True).pixels[0, 0, 0, 0] == 0


def test_the_slower_of_two_that_decode_uses_the_faster_ones_entry(photos: Path, cache: Path):
    faster: list[ImageSet] = []

    def overtake(done: int, total: int | None) -> None:
        if done == 5:
            faster.append(load(str(photos), RULE))

    slower = load(str(photos), RULE, progress=overtake)
    assert slower.fingerprint == faster[0].fingerprint
    assert len(entries(cache)) == 1


def test_an_interrupted_decoding_leaves_nothing(photos: Path, cache: Path):
    def interrupt(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(str(photos), RULE, progress=interrupt)
    assert entries(cache) == []


def test_progress_counts_to_the_total(photos: Path):
    seen: list[tuple[int, int | None]] = []
    load(str(photos), RULE, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 12) for i in range(1, 13)]


def test_a_cache_that_cannot_be_written_is_refused(photos: Path, cache: Path):
    cache.touch()  # a file, where a folder is needed
    with pytest.raises(InputError, match="DUALMCMC_CACHE"):
        load(str(photos), RULE)


def test_the_place_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path):
    assert cache_folder() == cache
    monkeypatch.delenv("DUALMCMC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "dualmcmc"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "dualmcmc"


def test_clearing_frees_the_entries_and_nothing_else(photos: Path, cache: Path):
    assert clear_cache() == cache_size() == 0
    load(str(photos), RULE)
    (cache / "images" / "mine").mkdir()
    (cache / "images" / "mine" / "thesis.txt").write_text("x")
    size = cache_size()
    assert size > 12 * 64
    assert clear_cache() == size
    assert cache_size() == 0
    assert [path.name for path in entries(cache)] == ["mine"]


def test_memory_stays_flat_in_the_number_of_images(tmp_path: Path):
    """6,000 images of 64x64x3 are 74 MB decoded; a part of that may be held, never all."""
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(6000, 64, 64, 3))
    load("digits", RULE)  # imports what is imported late
    tracemalloc.start()
    load(str(path), Images(size=64, channels=3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


def test_importing_the_package_loads_no_heavy_library():
    code = (
        "import sys, dualmcmc.data; "
        "assert not {'datasets', 'pyarrow', 'sklearn', 'torchmetrics', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
