"""What runs, operator by operator, and what each asks of a machine: on any device, the meta device too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Work(NamedTuple):
    """What a piece of an iteration asks of a machine."""

    flops: int = 0
    moved: int = 0
    """Bytes."""
    operators: int = 0
    """Those that are started one after the other; views are none. A device's own layouts may add a few copies."""


def total(works: Iterable[Work]) -> Work:
    """Their sum."""
    return Work(*(sum(numbers) for numbers in zip(Work(), *works, strict=True)))


class _Counter(TorchDispatchMode):
    """Adds up torch's own counts; its FlopCounterMode cannot count an `autograd.grad` of a module's input."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        flops = 0
        if count := flop_registry.get(func._overloadpacket):
            flops = count(*args, **(kwargs or {}), out_val=out)
        self.total += flops
        self.saw(func, (args, kwargs), out, flops)
        return out

    def saw(self, func: Any, taken: Any, given: Any, flops: int) -> None:
        """An operator ran."""


class Operator(NamedTuple):
    """One that ran: the number of its node in autograd's graph, None if it has none; its work."""

    node: int | None
    work: Work


class Trace(_Counter):
    """Keeps what ran until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.ran: list[Operator] = []

    def take(self) -> list[Operator]:
        """What ran since the last call."""
        ran, self.ran = self.ran, []
        return ran

    def saw(self, func: Any, taken: Any, given: Any, flops: int) -> None:
        """Notes it, unless it computes nothing: a view, an allocation, a question about types."""
        name, read, written = func._schema.name, list(_tensors(taken)), list(_tensors(given))
        if func.is_view or "empty" in name or name == "aten::_unsafe_view" or not written:
            return
        moved = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *written))
        self.ran.append(Operator(_node(read), Work(flops, moved, 1)))


def _tensors(values: Any) -> Iterator[Tensor]:
    """All there are in nested arguments, or results."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _tensors(value)


def _node(read: Iterable[Tensor]) -> int | None:
    """The number of the node that an operator on these tensors has made, or that it runs for in a backward."""
    running = torch._C._current_autograd_node()
    if running is not None:
        return running._sequence_nr()
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in read):
        return torch.autograd._get_sequence_nr() - 1
    return None


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs of the convolutions and matrix products that `work` runs, forward and backward."""
    with _Counter() as counter:
        work()
    return counter.total
