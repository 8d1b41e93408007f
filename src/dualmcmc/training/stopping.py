"""A run that is told to stop: SIGINT and SIGTERM, acted on where nothing is lost by it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PATIENCE = 2.0
"""Seconds after a first signal in which a Ctrl-C is its echo: launchers pass on what they and we both got."""


class Signals:
    """Notes SIGINT and SIGTERM, to be acted on between updates; a later Ctrl-C acts at once. A context manager.

    Outside the main thread, where Python allows no handlers, it notes nothing.
    """

    def __init__(self) -> None:
        self.came = 0
        self._when = 0.0
        self._waiting = True
        self._before: dict[int, object] = {}

    def __enter__(self) -> Signals:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        except ValueError:
            self._before.clear()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.came:
            if number == signal.SIGINT and time.monotonic() - self._when > PATIENCE:
                raise KeyboardInterrupt("stopped at once; the last checkpoint is intact")
            return
        self.came, self._when = number, time.monotonic()
        if not self._waiting:
            raise Interrupted

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a first signal does not wait for the end of what is being done, which writes nothing.

        Raises:
            Interrupted: one came, within or before.
        """
        if self.came:
            raise Interrupted
        self._waiting = False
        try:
            yield
        finally:
            self._waiting = True


class Interrupted(BaseException):
    """A signal came while something was looked at that can be looked at again."""
