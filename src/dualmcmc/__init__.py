"""Dual-MCMC teaching: an energy-based model of images, its generator and its inference network.

`Model` is a trained model, `Trainer` trains one, `presets` has whole configurations. Heavy imports wait
until a name is used, so that the command line's help starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["InputError", "Model", "Trainer", "TrainingError", "presets"]

_HOMES = {
    "InputError": "dualmcmc.errors",
    "Model": "dualmcmc.model",
    "Trainer": "dualmcmc.training.loop",
    "TrainingError": "dualmcmc.errors",
}

if TYPE_CHECKING:
    from dualmcmc import presets
    from dualmcmc.errors import InputError, TrainingError
    from dualmcmc.model import Model
    from dualmcmc.training.loop import Trainer


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name == "presets":
        return import_module("dualmcmc.presets")
    raise AttributeError(f"module 'dualmcmc' has no attribute {name!r}")
