"""What we would publish, installed where nothing else is: `make package-check`.

A new environment outside the checkout gets the wheel with the pins of constraints.txt; then `pip check`, a picture
drawn by the command that it brought, its page, and a script under mypy --strict against the installed types.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """\
from dualmcmc import Model, presets
from torch import Tensor

model = Model.from_pretrained("digits")
x: Tensor = model.sample(4, seed=1)
name: str = presets.preset("digits").preset
"""


def main(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "env", with_pip=True)
        programs = home / "env" / ("Scripts" if os.name == "nt" else "bin")
        python = programs / ("python.exe" if os.name == "nt" else "python")
        say(f"installing {wheel.name} with the pins")
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), f"{wheel}[app]"], home)
        run([*pip, "check"], home)
        command = str(programs / "dualmcmc")
        run([command, "--version"], home)
        run([command, "sample", "digits", "-n", "4", "--out", "drawn"], home)
        assert (home / "drawn" / "grid.png").stat().st_size > 0
        page(command, home)
        types(python, home)
    say("package-check passed")


def page(command: str, home: Path) -> None:
    """`dualmcmc app` says where it is, and answers there."""
    with subprocess.Popen(
        [command, "app", "--device", "cpu"], cwd=home, env=environment(), stdout=subprocess.PIPE, text=True
    ) as app:
        try:
            assert app.stdout is not None
            lines = iter(app.stdout.readline, "")
            address = next(found[1] for line in lines if (found := re.search(r"page is at (\S+)", line)))
            with urlopen(address) as answer:
                assert b"dualmcmc" in answer.read()
        finally:
            app.terminate()
    say("app: a page with the bundled models")


def types(python: Path, home: Path) -> None:
    """The script is right; with 4 in quotes it is not, and mypy must say so."""
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(python),
        "--cache-dir",
        str(home / "mypy"),
    ]
    (home / "right.py").write_text(SCRIPT, encoding="utf-8")
    run([*mypy, "right.py"], home)
    (home / "wrong.py").write_text(SCRIPT.replace("sample(4", 'sample("4"'), encoding="utf-8")
    told = subprocess.run([*mypy, "wrong.py"], cwd=home, env=environment(), capture_output=True, text=True)
    assert told.returncode == 1, told.stdout + told.stderr
    assert "wrong.py:5: error: Argument 1" in told.stdout, told.stdout
    say("types: a right script passes mypy --strict, a wrong one is told")


def run(command: list[str], folder: Path) -> None:
    say(" ".join(Path(word).name if i == 0 else word for i, word in enumerate(command)))
    subprocess.run(command, cwd=folder, check=True, env=environment())


def environment() -> dict[str, str]:
    """Without what points at a checkout; the cache of data is a new one by its folder."""
    return {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MYPYPATH", "VIRTUAL_ENV")
    }


def say(line: str) -> None:
    print(f"package-check: {line}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
