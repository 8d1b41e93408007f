"""Where autocast must not reach: in bfloat16 an energy would have three digits, and so would its gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def without_autocast(x: Tensor) -> Iterator[None]:
    """Inside, operators on x's device run in the types they are given."""
    device = "cpu" if x.is_meta else x.device.type  # autocast does not know the meta device
    if not torch.is_autocast_enabled(device):  # entering a context takes as long as a small operator
        yield
        return
    with torch.autocast(device, enabled=False):
        yield
