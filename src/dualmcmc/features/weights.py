"""Files of weights: what is read, what is refused, and whether the arrays are those of a known network.

Read are .safetensors, .npz of plain arrays, and one .pth: the public release of FID's Inception-v3, recognised by
its SHA-256 before torch's restricted reader sees it. No other file that may hold pickled code is opened.

Arrays are recognised by their content, the SHA-256 over names, shapes and float32 values, so that a copy in
another format is still the known network; anything else is the user's own and is never printed as FID.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dualmcmc import limits, npy, reading
from dualmcmc.errors import InputError
from dualmcmc.storage.tensors import sha256

RELEASE = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""SHA-256 of pt_inception-2015-12-05-6726825d.pth of pytorch-fid; torch-fidelity's release is the same file."""
FRONT = "c5e21a2384bd06bd4a4c98fd0dfecc831939265a23cbb9a7acd846aefb1d3857"
"""SHA-256 of an .npz of the same network's layers up to Mixed_6e, batch norm folded in, kernels in float16."""
RESNET20 = "7db2ed048755c815689e055b0e68e2d53db7f9f6e0f9b3bc9b6f837ab168774e"
"""SHA-256 of an .npz of resnet20-12fca82f.th of akamaster/pytorch_resnet_cifar10 (91.73 % on CIFAR-10)."""
CONTENTS = {
    "47d1e63fe5873054c39421f490dff369444e6cbe2fe05c6bf99eea847576f6f8": FRONT,
    "ce853affe34660fb4de339cd8423137dd11cc0bc9ee95fbc8aee17513b81df29": RESNET20,
}
"""Content of the arrays to the known file that has it."""


class Weights(NamedTuple):
    """Named float32 arrays on the CPU and where they come from."""

    arrays: dict[str, Tensor]
    source: Path
    content: str
    """SHA-256 of the arrays' names, shapes and values."""
    file: str
    """SHA-256 of the known file with this content, or else of the file that was read."""

    @property
    def known(self) -> bool:
        """Whether the arrays are those of a known file."""
        return self.file in (RELEASE, FRONT, RESNET20)


def read(path: Path) -> Weights:
    """The weights in a file.

    Raises:
        InputError: no such file, a format that is not read, pickled objects, arrays that are not finite numbers.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}: give a .safetensors or .npz file")
    suffix = path.suffix.lower()
    try:
        reading.check_size(path, limits.FEATURES)
    except OSError as error:
        raise InputError(f"weights {path}: {error.strerror}: they are no feature network's") from None
    if suffix == ".safetensors":
        arrays, about = _safetensors(path)
        content = content_hash(_checked(path, arrays))
        # What `release.keep` wrote; the content's own hash tells whether it is still that.
        if about.get("converted_from_sha256") == RELEASE and about.get("content_sha256") == content:
            return Weights(arrays, path, content, RELEASE)
        return Weights(arrays, path, content, CONTENTS.get(content) or sha256(path))
    if suffix == ".npz":
        arrays = _checked(path, _npz(path))
        content = content_hash(arrays)
        return Weights(arrays, path, content, CONTENTS.get(content) or sha256(path))
    if suffix in (".pth", ".pt") and sha256(path) == RELEASE:
        return unpacked(path.read_bytes(), path)
    raise InputError(f"{path} is not opened, it may hold pickled code: never pickle, convert it to safetensors")


def unpacked(release: bytes, source: Path) -> Weights:
    """The weights in the bytes of the public release.

    Raises:
        InputError: the bytes are not those of the release.
    """
    if hashlib.sha256(release).hexdigest() != RELEASE:
        raise InputError(f"{source} is another file than the release with SHA-256 {RELEASE}: bring it again")
    state = torch.load(io.BytesIO(release), map_location="cpu", weights_only=True)
    arrays = _checked(source, dict(state))
    return Weights(arrays, source, content_hash(arrays), RELEASE)


def content_hash(arrays: dict[str, Tensor]) -> str:
    """SHA-256 of names, shapes and little-endian float32 values, by name: the same for every file format."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {tuple(arrays[name].shape)}\n".encode())
        digest.update(arrays[name].contiguous().numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def _checked(path: Path, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """Makes the arrays float32, in place; drops the counters of batch norm."""
    for name, array in list(arrays.items()):
        if name.endswith("num_batches_tracked"):
            del arrays[name]
            continue
        if not isinstance(array, Tensor) or not array.is_floating_point():
            kind = array.dtype if isinstance(array, Tensor) else type(array).__name__
            raise InputError(f"{path}: array {name} is {kind}: floating-point numbers are expected")
        arrays[name] = array.float()
        if not arrays[name].isfinite().all():
            raise InputError(f"{path}: array {name} holds NaN or infinity in float32; the file is damaged")
    return arrays


def _safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(str(path), "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error})") from None


def _npz(path: Path) -> dict[str, Tensor]:
    name, arrays, left = "", {}, limits.FEATURES
    try:
        with npy.archive_of(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                array = npy.member_array(archive, member, left)
                left -= array.nbytes
                arrays[name] = torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    except (*npy.BAD_ZIP, TypeError) as error:  # TypeError: numbers that torch has not
        where = f"array {name} of {path}" if name else str(path)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where} is no plain array ({reason}): never pickle, save numbers with numpy.savez"
        ) from None
    return arrays
