"""What `make demo` must reach, checked by training the preset: minutes, so `make test-slow` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dualmcmc.cli import main

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_draws_all_digits_and_its_chain_explains_them(tmp_path: Path) -> None:
    run = tmp_path / "demo"
    assert main(["train", "digits", "--out", str(run)]) == 0
    subprocess.run([sys.executable, str(DEMO), str(run)], check=True)
    figures = json.loads((run / "metrics.json").read_text())["demo"][-1]
    assert min(figures["digit_shares"]) >= 0.03
    mse = figures["mse"]
    assert mse["inference, then the latent chain"] <= 0.65 * mse["inference alone"]
    assert mse["inference, then the latent chain"] < mse["30 steps from noise"] < mse["10 steps from noise"]
    assert (run / "demo.png").is_file()


def test_the_demo_says_what_is_wrong_with_a_run_that_is_none(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(DEMO), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds no model.safetensors" in done.stderr
