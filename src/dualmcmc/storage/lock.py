"""One process at a time writes a run, and one at a time its evaluations."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from dualmcmc import reading
from dualmcmc.errors import InputError
from dualmcmc.storage.files import write_json


class RunLock:
    """The operating system's lock on `RUN/.lock`, which ends with its process, however that ends: none gets stale.

    `RUN/owner.json` says who holds it, for the message; a killed process leaves it behind, which means nothing.
    Keep this object: the lock goes with it.

    Arguments:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self._lock = FileLock(run / ".lock", timeout=0, thread_local=False)

    @property
    def _owner(self) -> Path:
        return self.run / "owner.json"

    def acquire(self) -> None:
        """Takes it; the folder must exist.

        Raises:
            InputError: another process has it; which, and where.
        """
        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"{self.run} is being written by {self._who()}: wait for it, stop it, or name another folder"
            ) from None
        write_json(self._owner, {"process": os.getpid(), "host": socket.gethostname()})

    def _who(self) -> str:
        try:
            owner = reading.json_of(self._owner)
            return f"process {owner['process']} on {owner['host']}"
        except (OSError, ValueError, KeyError, TypeError):  # just begun, or written by hand
            return "another process"

    def release(self) -> None:
        """Gives it up, if it is held."""
        if self._lock.is_locked:
            self._owner.unlink(missing_ok=True)
            _give_up(self._lock)


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Waits for a turn at changing the file at `path`, which others may want to change at the same time."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
    lock.acquire()
    try:
        yield
    finally:
        _give_up(lock)


def _give_up(lock: BaseFileLock) -> None:
    if os.name == "posix":  # while it is held: whoever has it open finds it gone, and asks anew
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
