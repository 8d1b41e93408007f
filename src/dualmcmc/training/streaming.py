"""Training on a stream: the positions of all processes, and what config.json says of it.

stream.state()         of all processes, for state.json; they must call it together
stream.restore(state)  goes back, or on, to there, between two updates; each process does so for itself
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dualmcmc import data, methods
from dualmcmc.errors import InputError
from dualmcmc.settings import Config
from dualmcmc.training.setup import Sets

if TYPE_CHECKING:
    from accelerate import Accelerator


class Streaming:
    """The stream of a run, of which this process reads its part.

    Arguments:
        settings: the run's; their classes, if any, are known.
        accelerator: which process this is, of how many.
        skip_bad: pass over pictures that cannot be read.

    Raises:
        InputError: the data cannot be streamed, or are fewer images than a batch.
    """

    def __init__(self, settings: Config, accelerator: Accelerator, *, skip_bad: bool = False) -> None:
        self._skipped = self._told = 0
        method = settings.method
        self.stream = data.open_stream(
            settings.data,
            settings.images,
            seed=settings.seed,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
            skip_bad=skip_bad,
            classes=method.classes if isinstance(method, methods.JEM) else 0,
        )
        count, batch = self.stream.split.count, settings.optim.batch_size
        if count is not None and batch > count:
            raise InputError(f"a batch of {batch} exceeds the {count} images there are: lower --optim.batch-size")

    def take(self, mirrored: np.ndarray | None, count: int) -> tuple[Tensor, Tensor | None]:
        """The next images, (count, C, S, S) in [-1, 1], those `mirrored` left to right, and their classes, if any.

        Raises:
            StreamError: the stream cannot go on.
        """
        batch = self.stream.take(count)
        labels = None if batch.labels is None else torch.from_numpy(batch.labels)
        return data.tensor(batch.pixels, mirrored), labels

    def state(self) -> dict[str, Any]:
        """Where all processes are, as JSON; they must call it together."""
        from accelerate.utils import gather_object

        gathered = gather_object([(self.stream.position(), self.stream.skipped)])
        self._skipped = sum(skipped for _, skipped in gathered)
        return {"shards": len(self.stream.split.shards), "positions": [position for position, _ in gathered]}

    def news(self) -> list[str]:
        """A line to show if pictures were passed over since it was asked last, as of the last `state`."""
        if self._skipped == self._told:
            return []
        self._told = self._skipped
        return [f"{self._skipped} unreadable images of the stream were skipped so far, again in each epoch"]

    def restore(self, state: Any) -> list[str]:
        """Goes to where a run was; nothing that was handed out since counts.

        Returns:
            A line to show if it is not exactly there, since other processes were.

        Raises:
            InputError: the data are in other shards than then.
        """
        shards = len(self.stream.split.shards)
        if not isinstance(state, dict) or not isinstance(state.get("positions"), list):
            raise InputError("--resume: the checkpoint does not say where the stream was: resume from another")
        if state.get("shards") != shards:
            raise InputError(
                f"--resume: the stream has {shards} shards, and had {state.get('shards')} when it was stopped: "
                "restore its files, or fine-tune on the new ones with --init in a new folder"
            )
        if self.stream.restore(state["positions"]):
            return []
        then, now = len(state["positions"]), self.stream.processes
        return [
            f"the stream was read by {then} processes and is by {now} now: it goes on at epoch "
            f"{self.stream.epoch}, and what was left of the one before is passed over"
        ]

    def about(self) -> dict[str, Any]:
        """What config.json says of the data: how many images, None where nobody knows, and how they are read."""
        stream = self.stream
        how = {
            "shards": len(stream.split.shards),
            "dealt": "rows" if stream.by_rows else "shards",
            "processes": stream.processes,
            "block": stream.block,
            "view": data.VIEW,
        }
        return {"images": stream.split.count, "stream": how}

    def notes(self, sets: Sets) -> list[str]:
        """Lines that say what is read, and what stands for it where images are needed again."""
        stream = self.stream
        count = "" if stream.split.count is None else f"{stream.split.count} "
        dealt = "rows" if stream.by_rows else "shards"
        several = f", {dealt} dealt out to {stream.processes} processes" if stream.processes > 1 else ""
        views = f"{len(sets.train)} of {sets.train.title} and {len(sets.heldout)} of {sets.heldout.title}"
        return [f"streaming {count}images in {len(stream.split.shards)} shards{several}; evaluations use {views}"]
