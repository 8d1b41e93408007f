"""A command of `dualmcmc` called in this process, and what it may not do whatever it is given.

It ends within 20 seconds: with 0, or with 2, one line on standard error and every file as it was (`doctor` ends
with 1 where it finds something bad, in one line, too). No exception gets out of it, and it takes no more than
`limits.MEMORY` beside what the process had.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from dualmcmc import limits
from dualmcmc.cli import main

SECONDS = 20
TINY = shlex.split(
    "--networks.latent-dim 4 --networks.energy-width 8 --networks.generator-width 8 --networks.inference-width 8 "
    "--method.data-chain.steps 3 --method.latent-chain.steps 2 --method.test-chain.steps 3 --optim.batch-size 16 "
    "--run.steps 4 --run.log-every 1 --run.sample-every 2 --run.evaluate-every 4 --run.evaluate-images 20 "
    "--run.checkpoint-every 2 --device cpu"
)
"""Flags by which a preset trains in a second."""

Listing = dict[str, tuple[Any, ...]]


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None
    """Its exit code; None if it did not get that far."""
    out: str
    err: str
    trouble: str
    """An exception that got out, or the alarm; empty if neither."""


class _Alarm(BaseException):
    """Time is up; no `except Exception` may swallow it."""


def call(arguments: Sequence[str], seconds: float = SECONDS) -> Ended:
    """Runs a command line; never raises what the command raises."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace", write_through=True)
    code, trouble = None, ""

    def ring(*_: Any) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        with redirect_stdout(out), redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = main(list(arguments))
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0
    except _Alarm:
        trouble = f"not done after {seconds:g} s"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever gets out is what is looked for
        trouble = _told(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return Ended(code, _text(out), _text(err), trouble)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "replace")


def _told(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "dualmcmc" in frame.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "elsewhere"
    return f"{type(error).__name__} at {where}: {' '.join(str(error).split())[:160]}"


def fault(ended: Ended, verb: str, before: Listing | None = None, after: Listing | None = None) -> str:
    """What a command did that it may not; empty if nothing."""
    if ended.trouble:
        return ended.trouble
    allowed = (0, 1, 2) if verb == "doctor" else (0, 2)
    if ended.code not in allowed:
        return f"exit code {ended.code}: {ended.err.strip()[-200:]}"
    if "Traceback" in ended.err + ended.out:
        return "a traceback is shown"
    if ended.code:
        lines = ended.err.splitlines()
        usage = ended.out.startswith("dualmcmc ") and not lines  # no verb at all
        if not usage and (len(lines) != 1 or not lines[0].startswith("dualmcmc: ")):
            return f"exit code {ended.code} with {len(lines)} lines: {ended.err[:200]!r}"
    if ended.code == 2 and before is not None and before != after:
        changed = sorted(name for name in {*before, *(after or {})} if before.get(name) != (after or {}).get(name))
        return f"exit code 2, but {', '.join(changed[:3])} changed"
    return ""


def listing(folder: Path) -> Listing:
    """Every path under a folder (links are not followed) with what would change if it did."""
    found: Listing = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)
            status = os.lstat(path)
            kind = status.st_mode
            stamp = (status.st_size, status.st_mtime_ns) if name in files else ()
            found[os.path.relpath(path, folder)] = (kind, *stamp)
    return found


@contextmanager
def place(folder: Path) -> Iterator[Path]:
    """A working folder with a cache of its own; no hub is asked. The caller's surroundings come back."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    kept = {name: os.environ.get(name) for name in ("DUALMCMC_CACHE", "HF_HUB_OFFLINE")}
    here = Path.cwd()
    os.environ |= {"DUALMCMC_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    os.chdir(work)
    try:
        yield work
    finally:
        os.chdir(here)
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def bounded(extra: int = limits.MEMORY) -> Iterator[None]:
    """Within, this process may take so many bytes of address space beyond what it has."""
    import resource  # no Windows has it

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    have = _status("VmSize")
    if have is None:
        yield
        return
    resource.setrlimit(resource.RLIMIT_AS, (have + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def peak() -> int | None:
    """Bytes that this process has held at most since `forget_peak`; None where the system does not tell."""
    return _status("VmHWM")


def forget_peak() -> int:
    """Begins to look for the peak anew; returns what is held now."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
    return _status("VmRSS") or 0


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.is_file():
        return None
    line = next((line for line in status.read_text().splitlines() if line.startswith(f"{name}:")), None)
    return None if line is None else int(line.split()[1]) * 1024


def trained(folder: Path) -> Path:
    """A finished tiny run at `folder`, trained if it is not there.

    Raises:
        RuntimeError: training failed.
    """
    if not (folder / "model").is_dir():
        ended = call(["train", "digits", *TINY, "--out", str(folder)], seconds=120)
        if ended.code != 0:
            raise RuntimeError(f"the run to be tried on could not be trained: {ended.trouble or ended.err}")
    return folder


def copy(run: Path, to: Path) -> Path:
    """A copy of a run to be spoilt."""
    return Path(shutil.copytree(run, to, symlinks=True))
