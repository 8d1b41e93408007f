"""A stream shows every image once an epoch over all processes, in the pixels of the set, and goes on exactly."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import numpy as np
import pytest
from PIL import Image
from shards import numbers, parquet, picture

from dualmcmc import InputError
from dualmcmc.data import (
    Stream,
    StreamError,
    folders,
    holdout,
    hub,
    hub_stream,
    load,
    open_stream,
    parse,
    store,
    stream,
)
from dualmcmc.data import parquet as parquets
from dualmcmc.data.source import Item, Shard, Split, of_shards
from dualmcmc.data.sources import open_source
from dualmcmc.settings import Images

RULE = Images(size=8, channels=1)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards and blocks so small that 130 pictures make several."""
    monkeypatch.setattr(stream, "BLOCK", 7)
    monkeypatch.setattr(parquets, "_PER_SHARD", 10)
    monkeypatch.setattr(folders, "_PER_SHARD", 10)


@pytest.fixture
def files(tmp_path: Path) -> str:
    """130 pictures in files of 40, none, 57, 3 and 30, in row groups of 8."""
    return str(parquet(tmp_path / "files", [40, 0, 57, 3, 30], 8, classes=3))


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    for i in range(130):
        place = tmp_path / "pictures" / f"{i % 3}" / f"{i:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(i))
    return str(tmp_path / "pictures")


def rows(first: int, last: int) -> datasets.Dataset:
    images = [{"bytes": picture(i), "path": f"{i}.png"} for i in range(first, last)]
    features = datasets.Features({"picture": datasets.Image(), "label": datasets.Value("int64")})
    labels = [i % 3 for i in range(first, last)]
    return datasets.Dataset.from_dict({"picture": images, "label": labels}, features=features)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A hub of one set, `some/set`, of 130 pictures in 4 shards; records what was asked for."""
    asked: list[dict[str, Any]] = []

    def load_dataset(repo: str, config: str | None, **how: Any) -> dict[str, Any]:
        asked.append(how)
        sets = {"train": rows(0, 130).to_iterable_dataset(num_shards=4)}
        return sets if repo == "some/set" else {**sets, "test": rows(200, 210).to_iterable_dataset()}

    class About:
        sha = "c" * 40

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr(huggingface_hub, "dataset_info", lambda *_, **__: About)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.fixture(params=["files", "pictures", "hub"])
def ref(request: pytest.FixtureRequest) -> str:
    if request.param == "hub":
        request.getfixturevalue("served")
        return "stream:hf:some/set"
    return f"stream:{request.getfixturevalue(request.param)}"


def epochs(streamed: Stream, count: int) -> Iterator[list[int]]:
    """The numbers of the pictures of each of the first epochs."""
    seen: list[list[int]] = [[] for _ in range(count + 1)]
    while streamed.epoch < count:
        (number,) = numbers(streamed.take(1).pixels)
        seen[streamed.epoch].append(number)
    streamed.close()
    yield from seen[:count]


# -- once an epoch ---------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 3, 14])  # 14: by rows
def test_every_training_image_comes_once_an_epoch_over_all_processes(ref: str, processes: int) -> None:
    held = holdout(ref, RULE)
    assert held is not None
    wanted = set(range(130)) - set(numbers(held.pixels))
    assert len(wanted) in (117, 118)  # of the hub's 4 shards, 3 pictures each are held out
    over_all: list[Counter[int]] = [Counter(), Counter()]
    for rank in range(processes):
        part = open_stream(ref, RULE, seed=1, rank=rank, processes=processes)
        assert part.by_rows == (processes > len(part.split.shards))
        for seen, more in zip(over_all, epochs(part, 2), strict=True):
            seen.update(more)
    assert over_all == [Counter(wanted)] * 2


def test_the_order_is_of_the_seed_and_the_epoch(ref: str) -> None:
    first, second = epochs(open_stream(ref, RULE, seed=1), 2)
    assert [first] == list(epochs(open_stream(ref, RULE, seed=1), 1))
    (other,) = epochs(open_stream(ref, RULE, seed=2), 1)
    assert len({tuple(order) for order in (first, second, other, sorted(first))}) == 4


@pytest.mark.parametrize("kind", ["files", "pictures"])
def test_what_is_streamed_is_what_is_loaded(kind: str, request: pytest.FixtureRequest) -> None:
    """Images, their classes, and which of them are held out."""
    place = request.getfixturevalue(kind)
    whole, held = load(place, RULE, split="train"), holdout(place, RULE)
    batch = open_stream(f"stream:{place}", RULE, seed=0, classes=3).take(len(whole))
    assert whole.labels is not None
    assert batch.labels is not None
    loaded = sorted((image.tobytes(), int(label)) for image, label in zip(whole.pixels, whole.labels, strict=True))
    assert loaded == sorted((i.tobytes(), int(label)) for i, label in zip(batch.pixels, batch.labels, strict=True))
    again = holdout(f"stream:{place}", RULE)
    assert held is not None
    assert again is not None
    assert held.fingerprint == again.fingerprint


def test_pictures_become_images_by_the_one_rule(tmp_path: Path) -> None:
    """Colours, any sides, transparency and rotation: equal pixels, streamed and loaded."""
    rng = np.random.default_rng(0)
    (tmp_path / "odd").mkdir()
    for i, (width, height, mode) in enumerate(
        [(9, 31, "RGB"), (40, 12, "RGBA"), (16, 16, "L"), (33, 20, "P")] * 3
    ):
        pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        image = (
            Image.fromarray(pixels, "RGBA") if mode == "RGBA" else Image.fromarray(pixels[..., :3]).convert(mode)
        )
        exif = Image.Exif()
        exif[274] = 1 + i % 8
        image.save(tmp_path / "odd" / f"{i}.png", exif=exif)
    rule = Images(size=16, channels=3)
    loaded = load(f"{tmp_path}/odd:all", rule)
    streamed = open_stream(f"stream:{tmp_path}/odd:all", rule, seed=0).take(12)
    assert sorted(i.tobytes() for i in loaded.pixels) == sorted(i.tobytes() for i in streamed.pixels)


def test_of_its_own_splits_a_stream_trains_on_train_alone(tmp_path: Path) -> None:
    for name, first in (("train", 0), ("validation", 100)):
        (tmp_path / name).mkdir()
        for i in range(first, first + 12):
            (tmp_path / name / f"{i}.png").write_bytes(picture(i))
    ref = f"stream:{tmp_path}"
    assert [sorted(seen) for seen in epochs(open_stream(ref, RULE, seed=0), 1)] == [list(range(12))]
    held = holdout(ref, RULE)
    assert held is not None
    assert sorted(numbers(held.pixels)) == list(range(100, 112))
    assert holdout(f"{ref}:validation", RULE) is None


def test_a_view_is_the_streams_first_images(files: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "VIEW", 27)
    train, held = load(f"stream:{files}", RULE, split="train"), holdout(f"stream:{files}:train", RULE)
    assert numbers(train.pixels) == [i for i in range(29) if i % 10 != 9]
    assert held is not None
    assert numbers(held.pixels) == [9, 19, 29]  # of the same rows, and the next
    assert train.title == f"stream:{files}:train[:27]"
    assert held.title == f"stream:{files}:train:test[:3]"
    assert load(f"stream:{files}:train", RULE).title == train.title


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rank", "processes"), [(0, 1), (1, 2), (5, 14)])
def test_a_stream_goes_on_exactly_from_any_position(ref: str, rank: int, processes: int) -> None:
    """The next 30 images are the same; a position is small JSON, and to ask for it moves nothing."""

    def opened() -> Stream:
        return open_stream(ref, RULE, seed=3, rank=rank, processes=processes)

    whole = numbers(opened().take(90).pixels)
    going, taken = opened(), 0
    for done in (0, 1, 7, 8, 38, 59):
        if done:
            going.take(done - taken)
        taken = done
        position = json.loads(json.dumps(going.position()))
        assert len(json.dumps(position)) < 100
        again = opened()
        assert again.restore([position] * processes)
        assert numbers(again.take(30).pixels) == whole[done : done + 30]
        again.close()


def test_a_stream_can_be_put_back(ref: str) -> None:
    """What was read ahead by then is forgotten."""
    going = open_stream(ref, RULE, seed=3)
    going.take(20)
    there, after = going.position(), numbers(going.take(40).pixels)
    assert going.restore([there])
    assert going.position() == there
    assert numbers(going.take(40).pixels) == after


@pytest.mark.parametrize("now", [1, 3, 14])
def test_other_processes_go_on_at_an_epoch_that_none_has_begun(files: str, now: int) -> None:
    ref = f"stream:{files}"
    before = [open_stream(ref, RULE, seed=3, rank=rank, processes=2) for rank in range(2)]
    for part, taken in zip(before, (20, 200), strict=True):
        part.take(taken)
    positions = [part.position() for part in before]
    epoch = 1 + max(part.epoch for part in before)
    over_all: Counter[int] = Counter()
    for rank in range(now):
        part = open_stream(ref, RULE, seed=3, rank=rank, processes=now)
        assert not part.restore(positions)
        assert part.epoch == epoch
        seen = list(epochs(part, epoch + 1))
        assert not any(seen[:epoch])
        over_all.update(seen[epoch])
    assert over_all == Counter(i for i in range(130) if i % 10 != 9)


def test_a_shard_is_read_from_any_row_on(ref: str) -> None:
    (split,) = (s for name, s in open_source(parse(ref)).splits.items() if name == "all")
    assert len(split.shards) > 3
    for shard in (split.shards[0], split.shards[-1]):
        names = [item.name for item in shard.items(0)]
        for row in range(len(names) + 2):
            assert [item.name for item in shard.items(row)] == names[row:]


# -- what cannot be read ---------------------------------------------------------------------------


def test_a_bad_picture_is_named_or_skipped_and_counted(tmp_path: Path) -> None:
    ref = f"stream:{parquet(tmp_path / 'some', [40, 40], 8, bad=[3, 57])}"
    with pytest.raises(
        StreamError, match=r"part-[01].parquet, row (3|17): not a picture .*; --skip-bad skips"
    ) as error:
        open_stream(ref, RULE, seed=0).take(70)
    assert "\n" not in str(error.value)
    going = open_stream(ref, RULE, seed=0, skip_bad=True)
    seen = numbers(going.take(70).pixels)
    assert sorted(seen) == [i for i in range(80) if i % 10 != 9 and i not in (3, 57)]
    assert (going.skipped, going.epoch) == (2, 0)
    going.take(70)
    assert (going.skipped, going.epoch) == (4, 1)
    again = open_stream(ref, RULE, seed=0, skip_bad=True)
    assert again.restore([going.position()])
    assert numbers(again.take(9).pixels) == numbers(going.take(9).pixels)
    assert again.skipped == going.skipped


def test_a_picture_without_a_known_class_stops_a_stream_of_classes(files: str) -> None:
    with pytest.raises(StreamError, match=r"row \d+ is of class 2, but training is on classes 0 to 1"):
        open_stream(f"stream:{files}", RULE, seed=0, classes=2).take(100)


def of(*shards: list[int]) -> Split:
    """A split of shards of these pictures; negative ones are none."""

    def items(numbers: list[int]) -> Callable[[int], Iterator[Item]]:
        def read(first: int) -> Iterator[Item]:
            return (Item(str(i), str(i), lambda i=i: b"" if i < 0 else picture(i)) for i in numbers[first:])  # type: ignore[misc]

        return read

    return of_shards([Shard(items(numbers)) for numbers in shards])


def test_a_process_whose_shard_is_empty_is_in_the_next_epoch_sooner() -> None:
    for rank in range(2):
        part = Stream(of([], [1, 2, 3]), RULE, seed=0, rank=rank, processes=2)
        assert sorted(numbers(part.take(3).pixels)) == [1, 2, 3]


def test_a_set_smaller_than_a_batch_goes_round() -> None:
    assert Counter(numbers(Stream(of([1], [2, 3]), RULE, seed=0).take(9).pixels)) == {1: 3, 2: 3, 3: 3}


def test_the_rows_of_one_picture_are_dealt_to_everybody_in_turn() -> None:
    parts = [Stream(of([5], []), RULE, seed=0, rank=rank, processes=3) for rank in range(3)]
    assert [numbers(part.take(2).pixels) for part in parts] == [[5, 5]] * 3
    assert sorted(part.position()["epoch"] for part in parts) == [3, 4, 5]


@pytest.mark.parametrize("split", [of([], []), of([-1], [-2, -3])], ids=["none", "bad"])
def test_a_process_without_any_picture_says_so_soon(split: Split) -> None:
    with pytest.raises(StreamError, match="process 1 of 3 finds no picture of its own"):
        Stream(split, RULE, seed=0, rank=1, processes=3, skip_bad=True).take(1)


# -- the hub ---------------------------------------------------------------------------------------


def test_a_hub_stream_is_of_one_commit(served: list[dict[str, Any]]) -> None:
    open_stream("stream:hf:some/set", RULE, seed=0)
    open_stream(f"stream:hf:some/set@{'d' * 40}", RULE, seed=0)
    open_stream("stream:hf:some/set@main:train", RULE, seed=0)
    assert [how["revision"] for how in served] == ["c" * 40, "d" * 40, "c" * 40]
    assert all(how["streaming"] for how in served)


def test_a_named_set_streams_under_our_names(served: list[dict[str, Any]]) -> None:
    assert sorted(numbers(open_stream("stream:mnist:test", RULE, seed=0).take(10).pixels)) == list(range(200, 210))
    with pytest.raises(InputError, match=r"celeba_hq256.*has no split 'validation' any more: it has train, test"):
        open_stream("stream:celeba_hq256", RULE, seed=0)


def test_a_hub_stream_without_a_hub_says_what_else_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "reachable", lambda: False)
    with pytest.raises(InputError, match="a stream needs the hub, which cannot be reached: leave `stream:` out"):
        open_stream("stream:hf:some/set", RULE, seed=0)


def test_a_connection_that_breaks_stops_the_stream(monkeypatch: pytest.MonkeyPatch, served: list[Any]) -> None:
    def breaking() -> Iterator[dict[str, Any]]:
        for i in range(10):
            yield {"picture": {"bytes": picture(i), "path": None}}
        raise ConnectionError("the line\nis dead")

    features = datasets.Features({"picture": datasets.Image()})
    whole = datasets.IterableDataset.from_generator(breaking, features=features)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": whole, "test": whole})
    going = open_stream("stream:hf:some/set", RULE, seed=0)
    assert sorted(numbers(going.take(7).pixels)) == list(range(7))
    with pytest.raises(StreamError, match=r"shard 0, row 10 cannot be read.*ConnectionError: the line is dead"):
        going.take(7)


def test_pictures_that_a_hub_set_keeps_as_files_are_fetched(
    monkeypatch: pytest.MonkeyPatch, served: list[Any], pictures: str
) -> None:
    files = datasets.Features({"picture": datasets.Image(decode=False)})
    found = [{"picture": {"bytes": None, "path": str(path)}} for path in sorted(Path(pictures).rglob("*.png"))]
    streamed = datasets.IterableDataset.from_generator(lambda: iter(found), features=files)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: {"train": streamed})
    with pytest.raises((InputError, StreamError), match="Hugging Face cache"):  # no other file is read
        open_stream("stream:hf:some/set:all", RULE, seed=0).take(130)
    monkeypatch.setattr(hub, "_fetched", lambda: [Path(pictures)])
    assert sorted(numbers(open_stream("stream:hf:some/set:all", RULE, seed=0).take(130).pixels)) == list(
        range(130)
    )


@pytest.mark.parametrize(
    "place",
    ["/etc/hostname", "file:///etc/hostname", "zip://a.png::/etc/hostname", "zip://a::https://x.example/a.zip"],
)
def test_a_streamed_row_names_no_file_outside_the_hub(place: str) -> None:
    with pytest.raises(PermissionError):
        hub_stream._bytes(None, place)


def test_an_empty_row_is_one_bad_picture() -> None:
    assert hub.contents(*hub.picture_of(None)) == b""


# -- references ------------------------------------------------------------------------------------


def test_a_stream_reference_is_of_what_follows(files: str) -> None:
    assert (parse(f"stream:{files}:test").kind, parse(f"stream:{files}:test").split) == ("parquet", "test")
    assert parse(f"stream:{files}").stream
    assert not parse(files).stream


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("stream:digits", "this kind is not streamed; leave stream: out"),
        ("stream:images.npy", "this kind is not streamed; leave stream: out"),
        ("stream:stream:files", "write stream: once"),
        ("stream:nowhere/at/all", "there is no file or folder"),
        ("stream:", "neither a known set nor a path"),
    ],
)
def test_what_cannot_be_streamed_is_refused_in_one_line(
    ref: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match=said) as error:
        open_stream(ref, RULE, seed=0)
    assert "\n" not in str(error.value)
