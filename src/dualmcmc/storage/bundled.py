"""The models that come with the library: `Model.from_pretrained("digits")` needs no network and no cache.

Each is a model folder under `dualmcmc/bundled/`, made by `release/bundle.py` from a run of this library; its card
names the command. A path in the working folder of the same name comes first: whoever trained into `digits/` means
that one. If no model is in it, that is an error, and never silently the bundled one.
"""

from __future__ import annotations

from pathlib import Path

NAMES: tuple[str, ...] = ("digits", "fashion_mnist")
"""What they are called."""
HOME = Path(__file__).parent.parent / "bundled"
LARGEST = 3_000_000
"""Bytes of the weights of each, at most."""


def folder(name: str) -> Path:
    """The model folder of a bundled model; `name` is one of `NAMES`."""
    return HOME / name
