"""Tensors on disk: safetensors files with a checksum, never pickle."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from dualmcmc import limits, reading
from dualmcmc.errors import InputError


def sha256(path: Path) -> str:
    """Checksum of a file, read in blocks.

    Raises:
        OSError: it is missing, no regular file, or larger than any that this library writes.
    """
    reading.check_size(path, limits.TENSORS)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes named tensors of any layout to `path`.

    Raises:
        OSError: it cannot be written, for instance on a full disk.
    """
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(plain, str(path))
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(f"{path}: {error}") from error
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(0o666 & ~mask)  # the library makes files that their owner alone may read


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The tensors' shapes by name; no more than the file's header is read.

    Raises:
        InputError: as `load`.
    """
    from safetensors import safe_open

    try:
        reading.check_size(path, limits.TENSORS)
        with safe_open(str(path), "pt") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (SafetensorError, OSError, MemoryError) as error:  # MemoryError: no room to map it
        raise InputError(f"{path} is no readable safetensors file ({error})") from None


def load(path: Path, limit: int = limits.TENSORS) -> dict[str, Tensor]:
    """The named tensors at `path`, on the CPU.

    Raises:
        InputError: the file is missing, cut short, larger than `limit` bytes or no safetensors file.
    """
    from safetensors.torch import load_file

    try:
        reading.check_size(path, limit)
        return load_file(str(path))
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (SafetensorError, OSError, MemoryError) as error:  # MemoryError: no room to map it
        raise InputError(f"{path} is no readable safetensors file ({error})") from None
