"""How networks are taught: one page per method, in one table.

A method is a module whose forward runs one iteration's chains and returns its `Losses`; the loop around
it (`training/loop.py`) holds no mathematics.
"""

from __future__ import annotations

from dualmcmc.settings import DualMCMC
from dualmcmc.teaching.dual_mcmc import DualMCMCTeaching
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss, inference_loss
from dualmcmc.trio import Trio

__all__ = ["DualMCMCTeaching", "Losses", "energy_loss", "generator_loss", "inference_loss", "teaching"]


def teaching(trio: Trio, settings: DualMCMC) -> DualMCMCTeaching:
    """The module that teaches `trio` by the method of these settings."""
    return DualMCMCTeaching(trio, settings)
