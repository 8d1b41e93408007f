"""Results written while the next are computed: one thread writes them in order, and only a few wait for it.

Whatever the timing, files hold what they would hold were each result written before the next is computed, and what
fails first is what is raised: nothing is written after a result that could not be, and an error of the computing
comes after all that was handed over before it. The thread has ended when `writing` is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def writing(write: Callable[[T], None], waiting: int = 2) -> Iterator[Callable[[T], None]]:
    """A function that hands a result over to `write`, which runs in a thread of its own.

    It returns at once, unless `waiting` results wait beside the one that is being written: memory does not grow
    with their number. An error of `write` is raised by the next call, or on leaving.
    """
    handed: deque[Future[None]] = deque()

    def in_turn(before: Future[None] | None, result: T) -> None:
        if before is not None:
            before.result()  # raises, if that could not be written
        write(result)

    def settle(most: int) -> None:
        while handed and (len(handed) > most or handed[0].done()):
            handed.popleft().result()

    def hand_over(result: T) -> None:
        settle(waiting)
        handed.append(thread.submit(in_turn, handed[-1] if handed else None, result))

    with ThreadPoolExecutor(1, "writing") as thread:
        try:
            yield hand_over
        except Exception:  # Ctrl-C is raised as it is, after what was handed over
            settle(0)
            raise
        settle(0)
