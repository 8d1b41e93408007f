"""Versions, devices, threads, disk."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from dualmcmc import __version__, data
from dualmcmc.devices import best_device
from dualmcmc.doctor.finding import Finding

LITTLE, TOO_LITTLE = 2e9, 2e8
"""Bytes of free disk: a run's checkpoints may not fit; one may not."""

PATIENCE = 120
"""Seconds for an import."""


def examine_machine() -> Iterator[Finding]:
    """What the library runs on, a finding at a time."""
    yield Finding("ok", "python", f"{platform.python_version()}, {platform.platform()}")
    yield libraries()
    yield torchvision()
    yield devices()
    yield threads()
    for name, place in {"working folder": Path.cwd(), "cache": data.cache_folder()}.items():
        yield disk(name, place)


def libraries() -> Finding:
    """Whether what is installed is what the package asks for."""
    try:
        wanted = [Requirement(line) for line in metadata.requires("dualmcmc") or ()]
    except metadata.PackageNotFoundError:
        sources = f"dualmcmc {__version__} runs from its sources: what it asks for is not known here"
        return Finding("note", "libraries", sources, "pip install -c constraints.txt -e .")
    wrong, seen = [], [f"dualmcmc {__version__}"]
    for one in wanted:
        if one.marker is not None and not one.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(one.name)
        except metadata.PackageNotFoundError:
            version = "missing"
        seen.append(f"{one.name} {version}")
        if version == "missing" or not one.specifier.contains(version, prereleases=True):
            wrong.append(f"'{one.name}{one.specifier}'")
    if wrong:
        return Finding("bad", "libraries", ", ".join(seen), f"pip install {' '.join(wrong)}")
    return Finding("ok", "libraries", ", ".join(seen))


def torchvision() -> Finding:
    """Whether libraries that look for torchvision would stumble over it; found out in another process."""
    if importlib.util.find_spec("torchvision") is None:
        return Finding("ok", "torchvision", "not installed, and not needed")
    remedy = "pip uninstall torchvision: it belongs to another torch, and libraries that find it fail with it"
    command = [sys.executable, "-c", "import torchvision; print(torchvision.__version__)"]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Finding("bad", "torchvision", f"its import does not end within {PATIENCE} s", remedy)
    if child.returncode == 0:
        return Finding("ok", "torchvision", f"{child.stdout.strip()}, imports; not needed")
    said = child.stderr.strip().splitlines()[-1:] or ["no reason given"]
    return Finding("bad", "torchvision", f"does not import beside torch {torch.__version__}: {said[0]}", remedy)


def devices() -> Finding:
    """What there is to compute on, and what training takes by itself."""
    seen = ["cpu"]
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        bf16 = "bf16" if torch.cuda.get_device_capability(i) >= (8, 0) else "no bf16"
        name = torch.cuda.get_device_name(i)
        seen.append(f"cuda:{i} {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free, {bf16}")
    if torch.backends.mps.is_available():
        seen.append("mps")
    return Finding("ok", "devices", f"{'; '.join(seen)}; by itself training takes {best_device()}")


def threads() -> Finding:
    """Threads against cores: too many wait for one another."""
    cores = _cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    seen = f"{torch.get_num_threads()} of torch, {cores} cores, load {load:.1f}"
    if torch.get_num_threads() > cores:
        return Finding("bad", "threads", seen, f"set OMP_NUM_THREADS={cores}")
    if load > cores / 2 and torch.get_num_threads() > 1:
        remedy = "beside other work one thread can be much faster than several: OMP_NUM_THREADS=1"
        return Finding("note", "threads", seen, remedy)
    return Finding("ok", "threads", seen)


def _cores() -> int:
    """Those this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def disk(name: str, place: Path) -> Finding:
    """Free bytes where `place` is, or will be."""
    there = place.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    seen = f"{free / 1e9:.1f} GB free at {place}"
    if not os.access(there, os.W_OK):
        return Finding("bad", name, f"{there} cannot be written", "choose another, or mend its permissions")
    if free < LITTLE:
        remedy = "make room: checkpoints of a run may not fit"
        return Finding("bad" if free < TOO_LITTLE else "note", name, seen, remedy)
    return Finding("ok", name, seen)
