"""What a training run shows and keeps: a bar (plain lines where there is no terminal), JSONL, TensorBoard."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.training.tracking import Tracker


class Reporter:
    """Writes log lines to the run and shows them on standard error; a context manager.

    Arguments:
        run: the run's folder; log lines after `done` are dropped, as they will be written anew.
        done: updates already made.
        total: updates in all.
        quiet: keep the log, show nothing.
        tracker: gets the figures and pictures, too.
    """

    def __init__(
        self, run: RunFolder, *, done: int, total: int, quiet: bool = False, tracker: Tracker | None = None
    ) -> None:
        self.run, self.quiet, self.total, self.tracker = run, quiet, total, tracker
        self.began, self.done_before = time.monotonic(), done
        self._open(done)
        self._console = Console(stderr=True)
        self._live = None if quiet or not self._console.is_terminal else self._bar(done)

    def _open(self, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.run.cut_log(done)
        self._file = self.run.log.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=done + 1)

    def rewind(self, done: int) -> None:
        """The run has gone back to `done` updates: lines after it go."""
        self._file.close()
        self._board.close()
        self._open(done)

    def _bar(self, done: int) -> Progress:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[gist]}", table_column=Column()),  # wraps where the terminal is narrow
            console=self._console,
        )
        self._task = bar.add_task("training", total=self.total, completed=done, speed="", gist="")
        return bar

    def __enter__(self) -> Reporter:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()
        self._file.close()
        self._board.close()

    def step(self, done: int) -> None:
        """An update is done."""
        if self._live:
            speed = (done - self.done_before) / max(time.monotonic() - self.began, 1e-9)
            self._live.update(self._task, completed=done, speed=f"{speed:.2f} it/s")

    def log(self, line: dict[str, Any]) -> None:
        """Keeps a log line (`step`, `kind` and figures) and shows its gist."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        figures = {f"{line['kind']}/{name}": value for name, value in line.items() if isinstance(value, float)}
        for name, value in figures.items():
            self._board.add_scalar(name, value, line["step"])
        if self.tracker:
            self.tracker.log(line["step"], figures)
        if line["kind"] == "train" and self._live:
            self._live.update(self._task, gist=_gist(line))
        elif line["kind"] == "train":
            self.say(f"step {line['step']}/{self.total}  {line['seconds_per_step']:.3f} s/it  {_gist(line)}")

    def picture(self, done: int, name: str, path: Path) -> None:
        """A picture of the run is on disk."""
        if self.tracker:
            self.tracker.picture(done, name, path)

    def say(self, text: str) -> None:
        """One plain line on standard error."""
        if self.quiet:
            return
        if self._live:
            self._console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _gist(line: dict[str, Any]) -> str:
    """What there is of: speed, the energy gap the data chain closes, and how far each chain moved."""
    shown = {
        "energy_gap": "gap {:+.3g} nats",
        "data_chain_moved": "x moved {:.3g}",
        "latent_chain_moved": "z moved {:.3g}",
    }
    told = [text.format(line[name]) for name, text in shown.items() if name in line]
    if "convolution_share" in line:
        told.insert(0, f"{100 * line['convolution_share']:.0f} % of this machine's convolution rate")
    return ", ".join(told)


def decoding(every: float = 5.0) -> Callable[[int, int | None], None]:
    """A callback for `data.load` that says how far decoding is, every so many seconds, on standard error."""
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            print(f"decoding images: {done}{f' of {total}' if total else ''}", file=sys.stderr, flush=True)

    return tell
