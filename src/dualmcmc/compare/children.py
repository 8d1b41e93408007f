"""Processes for cells: each is given its request on standard input, which stays open as long as it may work.

When the parent closes it, or is no more, the child ends as by Ctrl-C, with what is safe on disk. Children are in
sessions of their own, so that Ctrl-C in a terminal reaches the parent alone and each is told once.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any


def start(module: str, request: Mapping[str, Any], said: Path, *, jobs: int) -> subprocess.Popen[bytes]:
    """Starts `python -m module` on a request; what it says goes to the file `said`.

    With several at once each takes its share of the cores, unless OMP_NUM_THREADS is given.
    """
    environment = dict(os.environ)
    if jobs > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    said.parent.mkdir(parents=True, exist_ok=True)
    with said.open("wb") as file:
        child = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
            env=environment,
            start_new_session=True,
        )
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it is dead already, and its error says why
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
    return child


def receive() -> dict[str, Any]:
    """In a child: its request. From now on the end of standard input is its Ctrl-C."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)  # not sys.stdin, whose lock the waiting thread would hold at exit
        if not piece:
            raise KeyboardInterrupt("the parent has gone")
        line += piece
    threading.Thread(target=_wait, daemon=True).start()
    request: dict[str, Any] = json.loads(line)
    return request


def _wait() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


def stop(children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ends children and waits until they have saved what they do; a Ctrl-C meanwhile kills them."""
    children = list(children)
    try:
        for child in children:
            _close(child)
        for child in children:
            child.wait()
    except BaseException:
        for child in children:
            child.kill()
            child.wait()
        raise


def _close(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):
        child.stdin.close()


def ended(child: subprocess.Popen[bytes]) -> bool:
    """Whether it has."""
    if child.poll() is None:
        return False
    _close(child)
    return True


def reason(child: subprocess.Popen[bytes], said: Path) -> str:
    """Why a child that ended badly did: the last line it said, or the signal that ended it."""
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        return f"its process was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    lines = said.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"exit code {child.returncode}")
