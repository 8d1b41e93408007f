"""What is freed is kept where glibc allocates, unless the user has said otherwise."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from dualmcmc.allocator import keep_freed_memory

told = keep_freed_memory() if sys.argv[1] == "keep" else None
faults = []
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(10_000_000) for _ in range(4)]
    del held
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(told, faults[-1])
"""
PAGES = 4 * 40_000_000 // 4096
"""Of what is allocated in a round."""


def run(how: str, **environment: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, env=clean | environment, check=True
    )
    told, faults = done.stdout.split()
    return told, int(faults)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_memory_that_was_freed_is_not_faulted_in_again() -> None:
    """Blocks of 40 MB, larger than any that glibc keeps: without it each page is a fault, with it next to none."""
    told, faults = run("keep")
    assert told == "True"
    assert faults < PAGES / 20
    assert run("leave")[1] > PAGES / 2


def test_what_the_environment_says_stands() -> None:
    assert run("keep", MALLOC_ARENA_MAX="2")[0] == "False"
