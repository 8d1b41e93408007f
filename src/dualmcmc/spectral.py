"""Spectral normalisation that stands still, and plain copies of networks for chains.

Every weight W of the energy network is used as W / sigma(W), sigma its largest singular value (of the
kernel reshaped to a matrix; Miyato et al., 2018), tracked by power iteration. The released code iterates
at every evaluation, so its energy drifts within a chain. Here one iteration runs per update, when
`power_iteration` says so, and never otherwise: the parametrisation stays in its frozen state.

A chain follows a `frozen_copy`: the same network with W / sigma written out as plain weights that need
no gradient. It shares storage with the live network where it can, so that `refresh` copies nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize


def attach(net: nn.Module) -> None:
    """Spectral norm on every weight matrix and kernel of `net`, in place, in its frozen state."""
    for module in list(net.modules()):
        weight = module._parameters.get("weight")
        if weight is not None and weight.ndim > 1:
            parametrizations.spectral_norm(module)
    _set_live(net, False)


def _normalised(net: nn.Module) -> list[nn.Module]:
    return [m for m in net.modules() if parametrize.is_parametrized(m, "weight")]


def _set_live(net: nn.Module, live: bool) -> None:
    for module in _normalised(net):
        for part in module.parametrizations.weight:  # type: ignore[union-attr]
            part.train(live)


@torch.no_grad()
def power_iteration(net: nn.Module, times: int = 1) -> None:
    """Moves every estimate of a largest singular value `times` iterations on; a network without any is left."""
    _set_live(net, True)
    with torch.autocast("cuda" if _on_cuda(net) else "cpu", enabled=False):
        for module in _normalised(net):
            for _ in range(times):
                module.weight  # noqa: B018  reading it in the live state is what iterates
    _set_live(net, False)


@contextmanager
def estimates_kept(net: nn.Module) -> Iterator[None]:
    """On leaving, the estimates of singular values are as they were: looking at a network changes nothing."""
    parts = [part for module in _normalised(net) for part in module.parametrizations.weight]  # type: ignore[union-attr]
    kept = [[buffer.clone() for buffer in part.buffers()] for part in parts]
    try:
        yield
    finally:
        for part, before in zip(parts, kept, strict=True):
            for buffer, value in zip(part.buffers(), before, strict=True):
                buffer.copy_(value)


def _on_cuda(net: nn.Module) -> bool:
    return next(net.parameters()).is_cuda


@contextmanager
def weights_once(net: nn.Module) -> Iterator[None]:
    """Inside, W / sigma is computed once, in float32, and carries gradients to W; for the live losses."""
    with parametrize.cached():
        with torch.autocast("cuda" if _on_cuda(net) else "cpu", enabled=False):
            for module in _normalised(net):
                module.weight  # noqa: B018  fills the cache
        yield


@torch.no_grad()
def frozen_copy(net: nn.Module) -> nn.Module:
    """The same function with plain weights: no parametrisation, no gradient, evaluation mode."""
    plain = copy.deepcopy(net)
    for module in _normalised(plain):
        # Not `remove_parametrizations`: copies share the parametrised class, and it edits that class.
        weight = torch.as_tensor(module.weight).detach()
        module.__class__ = type(module).__bases__[0]
        del module.parametrizations
        module.weight = nn.Parameter(weight)
    plain.eval().requires_grad_(False)
    refresh(plain, net)
    return plain


@torch.no_grad()
def refresh(plain: nn.Module, net: nn.Module) -> None:
    """Makes a `frozen_copy` the function that `net` is now; unnormalised weights share their storage.

    Weights stay where they lie in memory, as long as those of `net` do.
    """
    for name, parameter in plain.named_parameters():
        owner, _, leaf = name.rpartition(".")
        module = net.get_submodule(owner)
        weight = getattr(module, leaf).detach()
        if parametrize.is_parametrized(module, leaf):
            parameter.copy_(weight)
        else:
            parameter.data = weight
    for module_name, module in plain.named_modules():
        live = net.get_submodule(module_name)
        for name in module._buffers:
            module._buffers[name] = live._buffers[name]


@torch.no_grad()
def assign(net: nn.Module, plain: nn.Module) -> None:
    """The inverse of `frozen_copy`: `net` takes over the weights and buffers of a plain network."""
    for name, parameter in plain.named_parameters():
        owner, _, leaf = name.rpartition(".")
        module = net.get_submodule(owner)
        if parametrize.is_parametrized(module, leaf):
            parametrizations_of = module.get_submodule("parametrizations").get_submodule(leaf)
            parametrizations_of.get_parameter("original").copy_(parameter)
        else:
            module.get_parameter(leaf).copy_(parameter)
    for name, buffer in plain.named_buffers():
        net.get_buffer(name).copy_(buffer)
