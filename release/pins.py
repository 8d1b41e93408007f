"""Do the pins resolve wherever we say that we run? `make pins` asks uv's resolver, which installs nothing.

Each Python on each system: everything, all extras, wheels only, under constraints.txt. A pin whose release does
not support one of them needs a marker there. Prints what no pin holds, and says which pins nothing needs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = {"Linux": "x86_64-manylinux_2_28", "macOS": "aarch64-apple-darwin", "Windows": "x86_64-pc-windows-msvc"}
"""What torch has wheels for: macOS is 14 and newer, on Apple's processors."""


def main() -> int:
    pins = _names((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    used: set[str] = set()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        programs = Path(folder) / ("Scripts" if os.name == "nt" else "bin")
        quiet = ["--quiet", "--disable-pip-version-check"]
        subprocess.run([str(programs / "python"), "-m", "pip", "install", *quiet, "uv"], check=True)
        for system, platform in SYSTEMS.items():
            for python in PYTHONS:
                done = _resolve(str(programs / "uv"), python, platform)
                found = _names(done.stdout)
                used |= found
                failed |= done.returncode != 0
                free = ", ".join(sorted(found - pins)) if done.returncode == 0 else done.stderr
                print(f"{system} {python}: {len(found)} packages; not pinned: {free}", flush=True)
    unused = sorted(pins - used) if not failed else []
    if unused:
        print(f"pins that nothing needs: {', '.join(unused)}")
    return int(failed or bool(unused))


def _resolve(uv: str, python: str, platform: str) -> subprocess.CompletedProcess[str]:
    command = [uv, "pip", "compile", "--no-config", "--quiet", "--all-extras", "--only-binary", ":all:"]
    command += ["-c", "constraints.txt", "--python-version", python, "--python-platform", platform]
    command += ["--no-annotate", "--no-header", "pyproject.toml"]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def _names(lines: str) -> set[str]:
    """Of each `name==version` its name, as registries compare names."""
    return {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"(?m)^([\w.-]+)==", lines)}


if __name__ == "__main__":
    sys.exit(main())
