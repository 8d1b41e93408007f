"""What we would publish: the wheel's exact files, the sdist that builds it, the types that users' checkers see."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "dualmcmc"
EXTRAS = {"app", "track", "docs", "dev"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `dist` (the sdist, the wheel made from it) and `direct` (the wheel made from the checkout)."""
    folder = tmp_path_factory.mktemp("built")
    for out, what in (("dist", []), ("direct", ["--wheel"])):
        command = [
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            *what,
            "--outdir",
            str(folder / out),
            str(ROOT),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(built: Path) -> Mapping[str, bytes]:
    return _files(next((built / "direct").glob("*.whl")))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Mapping[str, bytes]) -> None:
    """Every file under src/dualmcmc byte for byte: modules, py.typed, the report's page, the bundled models."""
    ours = {path for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {"dualmcmc/" + path.relative_to(SOURCE).as_posix(): path.read_bytes() for path in ours}
    assert {"dualmcmc/py.typed", "dualmcmc/report/page.html.jinja", "dualmcmc/report/page.css"} <= set(expected)
    assert {name: text for name, text in wheel.items() if ".dist-info/" not in name} == expected


def test_the_wheel_is_small_enough_to_download_over_a_phone(built: Path) -> None:
    """Two bundled models of at most 3 MB each, and half a megabyte of everything else."""
    assert next((built / "direct").glob("*.whl")).stat().st_size < 6.5e6


def test_the_sdist_builds_the_same_wheel(built: Path, wheel: Mapping[str, bytes]) -> None:
    assert _files(next((built / "dist").glob("*.whl"))) == wheel


def test_the_sdist_holds_what_its_tests_need_and_nothing_private(built: Path) -> None:
    with tarfile.open(next((built / "dist").glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "Makefile",
        "constraints.txt",
        "CITATION.cff",
        "CONTRIBUTING.md",
        ".ci/run",
        ".github/workflows/ci.yml",
    }
    assert needed <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")} <= names
    assert not {name for name in names if name.split("/")[0] in ("runs", "dist", "build", ".git", ".venv")}
    assert not {name for name in names if "__pycache__" in name}


def test_the_metadata_says_what_is_needed(wheel: Mapping[str, bytes]) -> None:
    (text,) = (text for name, text in wheel.items() if name.endswith(".dist-info/METADATA"))
    said = Parser().parsestr(text.decode())
    assert set(said.get_all("Provides-Extra") or []) == EXTRAS
    assert said["Requires-Python"] == ">=3.10"
    always = [line for line in said.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert not [
        line for line in always if line.split(">")[0] in ("gradio", "wandb", "sphinx", "pytest", "torchvision")
    ]
    (points,) = (text for name, text in wheel.items() if name.endswith(".dist-info/entry_points.txt"))
    assert b"dualmcmc = dualmcmc.cli:main" in points


RIGHT = """\
from dualmcmc import Model, presets
config = presets.preset("digits")
steps: int = config.run.steps
model = Model.from_pretrained("digits")
model.sample(4, seed=1)
"""
WRONG = RIGHT.replace("int = config.run.steps", "str = config.run.steps").replace("sample(4", 'sample("four"')


def test_a_users_type_checker_sees_our_types(built: Path, tmp_path: Path) -> None:
    """The wheel, unpacked as pip does, in an environment that holds nothing else: a right script passes
    mypy --strict, a wrong one is told both mistakes. (`make package-check` repeats it beside a real torch.)"""
    venv.create(tmp_path / "env", with_pip=False)
    bin_folder, name = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    python = str(tmp_path / "env" / bin_folder / name)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    zipfile.ZipFile(next((built / "direct").glob("*.whl"))).extractall(site)
    (tmp_path / "right.py").write_text(RIGHT, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")

    def told(script: str) -> str:
        options = [
            "--strict",
            "--config-file=",
            "--python-executable",
            python,
            "--cache-dir",
            str(tmp_path / "cache"),
        ]
        command = [sys.executable, "-m", "mypy", *options, script]
        alone = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH")}
        return subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True).stdout

    assert told("right.py") == "Success: no issues found in 1 source file\n"
    errors = [line for line in told("wrong.py").splitlines() if ": error: " in line]
    assert [line.split(" ")[0] for line in errors] == ["wrong.py:3:", "wrong.py:5:"]
    assert '"int"' in errors[0]
    assert '"sample" of "Model"' in errors[1]
