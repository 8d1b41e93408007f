"""The public release of FID's Inception-v3: fetched once, then kept as safetensors in the library's cache."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from dualmcmc import limits
from dualmcmc.data.place import cache_folder
from dualmcmc.errors import InputError
from dualmcmc.features.weights import RELEASE, Weights, read, unpacked

NAME = "pt_inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{NAME}"
_PATIENCE = 10.0  # seconds of silence


def place() -> Path:
    """Where the converted copy lies, once there is one."""
    return cache_folder() / "features" / "inception-2015-12-05.safetensors"


def release() -> Weights:
    """The weights from the cache, or else from the public release, which is tried once.

    Raises:
        InputError: neither has them, or the cached copy is damaged.
    """
    path = place()
    if path.is_file():
        weights = read(path)
        if weights.file != RELEASE:
            raise InputError(f"{path} is damaged: delete it, and bring {NAME} again as --feature-weights FILE")
        return weights
    weights = unpacked(_download(), Path(NAME))
    keep(weights)
    return weights


def keep(weights: Weights) -> None:
    """Writes the release's arrays into the cache, whole or not at all."""
    from safetensors.torch import save

    path = place()
    if path.is_file():
        return
    about = {"converted_from_sha256": RELEASE, "content_sha256": weights.content, "source": URL}
    content = save({name: array.contiguous() for name, array in weights.arrays.items()}, metadata=about)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:  # a full disk must not stop an evaluation whose weights are at hand
        print(f"{NAME} could not be kept in {path.parent} ({error})", file=sys.stderr)
    finally:
        with suppress(OSError):
            temporary.unlink()


def _download() -> bytes:
    """The bytes of the public release."""
    problem = "offline mode is on"
    if os.environ.get("HF_HUB_OFFLINE", "").upper() not in ("1", "ON", "YES", "TRUE"):
        print(f"fetching {URL} (96 MB)", file=sys.stderr, flush=True)
        try:
            with urlopen(URL, timeout=_PATIENCE) as answer:
                return bytes(answer.read(limits.FEATURES))
        except (OSError, HTTPException) as error:  # no route, no name, refused, too slow, cut short
            problem = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    raise InputError(
        f"the weights of FID's Inception-v3 are not in {place().parent} and cannot be fetched ({problem}): "
        f"bring {NAME} (release fid_weights of github.com/mseitzer/pytorch-fid) and give it as "
        "--feature-weights FILE; --features pixels needs none"
    )
