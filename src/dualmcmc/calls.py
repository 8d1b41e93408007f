"""What every call on a model sees to: the mode torch is in, lengths and batches, and noise by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.langevin import fresh
from dualmcmc.noise import Noise
from dualmcmc.settings import Chain

if TYPE_CHECKING:
    from dualmcmc.model import Model

P = ParamSpec("P")
R = TypeVar("R")


def inferring(function: Callable[P, R]) -> Callable[P, R]:
    """Runs under inference mode, which chains leave by themselves, and returns tensors that autograd may save."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode():
            found = function(*args, **kwargs)
        return _fresh(found)

    return wrapped


def on_model(method: Callable[Concatenate[Model, P], R]) -> Callable[Concatenate[Model, P], R]:
    """`inferring` in the model's precision, whatever the caller's."""
    inferred = inferring(method)

    @wraps(method)
    def wrapped(self: Model, *args: P.args, **kwargs: P.kwargs) -> R:
        device = self.device.type
        with (
            torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"),
            torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
        ):
            return inferred(self, *args, **kwargs)

    return wrapped


def _fresh(found: Any) -> Any:
    """The same with every tensor in it `fresh`."""
    if isinstance(found, Tensor):
        return fresh(found)
    if isinstance(found, dict):
        return {name: _fresh(value) for name, value in found.items()}
    if isinstance(found, tuple | list):
        parts = map(_fresh, found)
        return type(found)(*parts) if hasattr(found, "_fields") else type(found)(parts)
    return found


def of_length(chain: Chain, steps: int | None) -> Chain:
    """The chain with another number of steps; None: as it is."""
    if steps is not None and steps < 0:
        raise InputError(f"a chain of {steps} steps: expected 0 or more")
    return chain if steps is None else replace(chain, steps=steps)


def positive(batch_size: int) -> int:
    """The batch size, checked."""
    if batch_size < 1:
        raise InputError(f"batches of {batch_size} images: expected 1 or more")
    return batch_size


def noise_of(n: int, seed: int, keys: Sequence[int] | None) -> Noise:
    """The noise of n rows, one key each; None: row i has key i."""
    if n < 0:
        raise InputError(f"{n} images: expected 0 or more")
    if keys is not None and len(keys) != n:
        raise InputError(f"{len(keys)} keys for {n} images: give one key per image")
    return Noise(seed, range(n) if keys is None else keys)


def batches(n: int, seed: int, keys: Sequence[int] | None, batch_size: int) -> Iterator[tuple[slice, Noise]]:
    """Consecutive parts of n rows, each with the noise of its keys; None: row i has key i."""
    noise = noise_of(n, seed, keys)
    for first in range(0, n, positive(batch_size)):
        part = slice(first, min(first + batch_size, n))
        yield part, noise.part(part, n)
