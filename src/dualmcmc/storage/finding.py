"""Which model folder a user means: a path, a bundled model, or a repository of the hub, in this order."""

from __future__ import annotations

from pathlib import Path

from dualmcmc.errors import InputError
from dualmcmc.storage import bundled

WEIGHTS = "model.safetensors"
FETCHED = (WEIGHTS, "config.json", "manifest.json", "metrics.json", "scores.json")
"""What is taken from the hub; the card and its picture are for its pages."""


def find(place: str | Path) -> Path:
    """The model folder at a path, of a run there, of a bundled model, or of a hub repository, fetched.

    Raises:
        InputError: there is no model.
    """
    path = Path(place)
    for folder in (path, path / "model") if path.is_dir() else ():
        if (folder / WEIGHTS).is_file():
            return folder
    if str(place) in bundled.NAMES:
        if path.exists():
            raise InputError(f"{path} here holds no model, and hides the bundled model of its name: rename it")
        return bundled.folder(str(place))
    if path.is_dir():
        raise InputError(f"{path} holds no {WEIGHTS}: is it a model folder or a run that has evaluated?")
    if path.exists() or str(place).count("/") != 1 or path.parent.is_dir() or str(place).startswith("."):
        raise InputError(
            f"no model at {path}: give a run, a model folder, a bundled model ({', '.join(bundled.NAMES)}) "
            "or a hub id (owner/name)"
        )
    return _download(str(place))


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repository, allow_patterns=[*FETCHED], etag_timeout=5))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"no folder {repository}, and the hub has no such model or is out of reach "
            f"({type(error).__name__}): check the path, or fetch the model where there is a network"
        ) from None
