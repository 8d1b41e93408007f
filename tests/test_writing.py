"""Results written while the next are computed: the same files, the same errors, no thread left, flat memory."""

from __future__ import annotations

import csv
import gc
import shutil
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tiny import listing
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from dualmcmc import Model, cli
from dualmcmc.cli import writing as module
from dualmcmc.cli.writing import writing

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere_and_no_thread_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("writing")] == []


def sample(run: Path, out: str, n: int = 9, *more: str) -> int:
    """Five batches, the last of one image, unless told otherwise."""
    words = ["-n", str(n), "--batch-size", "2", "--device", "cpu", "--out", out, *more]
    return cli.main(["sample", str(run), *words])


def before_each(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[int], object]) -> None:
    """`act` of the call's number, from 1, runs before each call of a method."""
    method, calls = getattr(owner, name), []

    def acting(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        act(len(calls))
        return method(*args, **kwargs)

    monkeypatch.setattr(owner, name, acting)


def go_through(write: Callable[[Any], None], results: Iterable[Any], waiting: int = 2) -> None:
    """All results as they are computed."""
    with writing(write, waiting) as hand_over:
        for result in results:
            hand_over(result)
            del result  # or it would be alive while the next is computed


# -- the mechanism ---------------------------------------------------------------------------------


def test_results_are_written_in_order_while_the_next_are_computed() -> None:
    """The first is not written before the second has been handed over: in turn, this would wait for ever."""
    second, written = threading.Event(), []

    def write(result: int) -> None:
        assert second.wait(60)
        written.append(result)

    with writing(write) as hand_over:
        hand_over(1)
        second.set()
        for result in range(2, 20):
            hand_over(result)
    assert written == list(range(1, 20))


@pytest.mark.parametrize("waiting", [1, 2, 3])
def test_no_more_than_those_that_wait_one_written_and_one_computed_are_alive(waiting: int) -> None:
    class Result:
        pass

    alive: weakref.WeakSet[Result] = weakref.WeakSet()
    most = []

    def compute() -> Result:
        result = Result()
        alive.add(result)
        most.append(len(alive))
        return result

    go_through(lambda _: time.sleep(0.002), (compute() for _ in range(30)), waiting)
    # All these, as writing is the slower; the thread may hold what it has just written a moment longer.
    assert waiting + 2 <= max(most) <= waiting + 3
    gc.collect()
    assert len(alive) == 0


def test_after_a_result_that_could_not_be_written_no_other_is_and_the_next_hand_over_says_so() -> None:
    """It fails when two wait behind it and a third is computed."""
    seen, computed, third = [], [], threading.Event()

    def write(result: int) -> None:
        seen.append(result)
        if result == 3:
            assert third.wait(60)
            raise OSError("full")

    def compute(result: int) -> int:
        computed.append(result)
        if result == 6:
            third.set()
        return result

    with pytest.raises(OSError, match="full"):
        go_through(write, map(compute, range(100)))
    assert seen == [0, 1, 2, 3]
    assert computed == [0, 1, 2, 3, 4, 5, 6]


def test_the_last_result_that_could_not_be_written_is_an_error_too() -> None:
    def write(_: int) -> None:
        time.sleep(0.01)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        go_through(write, [1])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_the_computing_comes_after_all_that_was_handed_over(error: type[BaseException]) -> None:
    written = []

    def write(result: int) -> None:
        time.sleep(0.005)
        written.append(result)

    def results() -> Iterator[int]:
        yield from range(3)
        raise error("mine")

    with pytest.raises(error, match="mine"):
        go_through(write, results())
    assert written == [0, 1, 2]


def test_the_error_that_would_have_come_first_in_turn_is_raised() -> None:
    failing = threading.Event()

    def write(_: int) -> None:
        failing.wait(60)
        raise OSError("full")

    def results() -> Iterator[int]:
        yield 1
        failing.set()
        raise RuntimeError("later")

    with pytest.raises(OSError, match="full"):
        go_through(write, results())


# -- the verb --------------------------------------------------------------------------------------


@contextmanager
def _in_turn(write: Callable[[Any], None], waiting: int = 2) -> Iterator[Callable[[Any], None]]:
    yield write


def test_files_are_those_written_in_turn_whatever_the_timing(trained: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "writing", _in_turn)
        assert sample(trained, "turn") == 0
    assert sample(trained, "together") == 0
    for owner, name in ((Model, "sample"), (Image.Image, "save")):
        with pytest.MonkeyPatch.context() as patch:
            before_each(patch, owner, name, lambda _: time.sleep(0.02))
            assert sample(trained, f"slow-{name}") == 0
    expected = listing(Path("turn"))
    assert len(expected) == 2 + 2 * 9 + 2
    assert listing(Path("together")) == listing(Path("slow-sample")) == listing(Path("slow-save")) == expected


def test_a_full_disk_ends_the_verb(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def full(number: int) -> None:
        if number == 3:
            raise OSError(28, "No space left on device")

    drawn: list[int] = []
    before_each(monkeypatch, Image.Image, "save", full)
    before_each(monkeypatch, Model, "sample", drawn.append)
    assert sample(trained, "out", 200) == 1
    captured = capsys.readouterr()
    assert captured.err == "dualmcmc: sample failed: [Errno 28] No space left on device\n"
    assert captured.out == ""
    assert len(drawn) < 2 * 20  # of 100 batches
    assert sorted(path.name for path in Path("out").rglob("*.png")) == ["00000.png", "00001.png"]
    assert not Path("out/grid.png").exists()


def test_a_folder_that_is_removed_ends_the_verb(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    drawn: list[int] = []
    before_each(monkeypatch, Model, "sample", drawn.append)
    before_each(monkeypatch, Image.Image, "save", lambda number: number == 2 and shutil.rmtree("out"))
    assert sample(trained, "out", 200) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dualmcmc: sample failed: [Errno 2] No such file or directory: 'out/generator/")
    assert len(drawn) < 2 * 20
    assert not Path("out").exists()


def test_ctrl_c_leaves_what_was_drawn_and_a_table_of_it(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    before_each(monkeypatch, Model, "sample", lambda number: number == 7 and signal.raise_signal(signal.SIGINT))
    assert sample(trained, "out") == 130
    assert capsys.readouterr().err == "dualmcmc: stopped\n"
    for kind in ("generator", "chain"):
        assert len(list(Path("out", kind).iterdir())) == 6  # three batches
    with Path("out/samples.csv").open(newline="") as file:
        assert [row["index"] for row in csv.DictReader(file)] == list("012345")


def test_images_that_are_none_leave_nothing_behind(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """Those written by then are removed, and the thread writes none after that."""
    log_density, calls = Model.log_density, []

    def damaged(self: Model, x: Tensor) -> Tensor:
        calls.append(1)
        return log_density(self, x) + (float("nan") if len(calls) == 6 else 0)

    monkeypatch.setattr(Model, "log_density", damaged)
    assert sample(trained, "far/out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "log-density (chain).0 is nan" in line
    assert list(Path.cwd().iterdir()) == []


def test_images_alive_do_not_grow_in_number_with_n(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is two tensors: of 60 at most one is drawn, two wait, one is written and one has just been."""
    draw, made, alive = Model.sample, [], []

    def counted(self: Model, *args: Any, **kwargs: Any) -> Tensor:
        x = draw(self, *args, **kwargs)
        made.append(StorageWeakRef(x.untyped_storage()))
        alive.append(sum(not each.expired() for each in made))
        return x

    monkeypatch.setattr(Model, "sample", counted)
    before_each(monkeypatch, Image.Image, "save", lambda number: time.sleep(0.001))
    assert sample(trained, "out", 120) == 0
    assert len(made) == 2 * 60
    assert max(alive) <= 2 * 5
