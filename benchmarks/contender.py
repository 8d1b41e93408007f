"""One contender of `iteration.py` in a process of its own, with torch's default settings but for its threads.

It is started with a case as JSON on its command line, says when it is ready, and then runs one iteration for
each line that it reads, answering with a line of JSON: seconds, and the most memory held since it was built.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

OURS, BOOK, RELEASED = "ours", "textbook", "released order"


@dataclass(frozen=True)
class Contender:
    """Who computes, and how."""

    kind: str
    """`OURS`, `BOOK` or `RELEASED`."""
    precision: str = "fp32"
    micro_batch: int = 0
    chains: str = "plain"

    @property
    def name(self) -> str:
        cut = f", {self.micro_batch} at a time" if self.micro_batch else ""
        how = f", {self.chains}" if self.chains != "plain" else ""
        return f"{self.kind}{', bf16' if self.precision == 'bf16' else ''}{cut}{how}"


class Child:
    """A contender's process."""

    def __init__(self, contender: Contender, config: dict[str, Any], threads: int, device: str) -> None:
        asked = {"contender": asdict(contender), "config": config, "threads": threads, "device": device}
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.base: int = self._answer()["resting"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a contender ended with {self.process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found

    def iteration(self) -> dict[str, Any]:
        """Seconds and peak bytes of one iteration."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def main(words: str) -> None:
    """Builds, and answers until standard input ends."""
    import agreement
    import torch
    from iteration import Ours
    from textbook import Textbook

    from dualmcmc import config as configs
    from dualmcmc.allocator import keep_freed_memory
    from dualmcmc.devices import peak_memory
    from dualmcmc.stopwatch import Clock

    asked = json.loads(words)
    contender, device = Contender(**asked["contender"]), asked["device"]
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    config, where = configs.from_dict(asked["config"]), torch.device(device)
    torch.manual_seed(0)
    x = agreement.images(config, device=device)
    resting = peak_memory(where)
    autocast: Callable[[], Any] = nullcontext
    if contender.precision == "bf16":
        autocast = partial(torch.autocast, where.type, torch.bfloat16)
    if contender.kind == OURS and where.type == "cpu":  # as training does
        keep_freed_memory()
    ours = Ours(config, device)
    ours.trio.at_once, ours.teaching.chains = contender.micro_batch, contender.chains
    work = lambda: ours.iteration(x, autocast)  # noqa: E731
    if contender.kind != OURS:
        book = Textbook(config, "algorithm1" if contender.kind == BOOK else "released", device)
        agreement.copy_weights(ours.trio, book)
        del ours, work

        def work() -> None:
            with autocast():
                book.iteration(x)

    _forget_peak()
    print(json.dumps({"resting": resting}), flush=True)
    clock = Clock(device)
    for _ in sys.stdin:
        print(json.dumps({"seconds": clock.seconds(work), "peak": peak_memory(where)}), flush=True)


def _forget_peak() -> None:
    """Linux begins to look for the process's peak anew; elsewhere building the networks counts, too."""
    place = Path("/proc/self/clear_refs")
    if place.is_file():
        place.write_text("5")


if __name__ == "__main__":
    main(sys.argv[1])
