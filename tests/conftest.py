"""One thread per test process, a cache of their own, and the linear-Gaussian trio with known answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALMCMC_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def run_path(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run: 6 updates, pictures, evaluations, checkpoints 2, 4, 6; do not change it."""
    from tiny import train

    out = tmp_path_factory.mktemp("trained") / "run"
    train(out, {"run.sample_every": 3, "run.evaluate_every": 2})
    return out
