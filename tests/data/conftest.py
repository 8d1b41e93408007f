"""Every test has a cache of its own; a folder of pictures serves several."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("DUALMCMC_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve grey pictures whose value is their number."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        Image.new("L", (8, 8), i).save(folder / f"{i:02}.png")
    return folder
