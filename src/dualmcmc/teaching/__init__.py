"""How networks are taught: one page per method, in one table.

A method is a module whose forward runs one iteration's chains and returns its `Losses`; the loop around
it (`training/loop.py`) holds no mathematics. `base.py` is what the loop sees of it.
"""

from __future__ import annotations

from importlib import import_module

from dualmcmc.methods import Method
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.dual_mcmc import DualMCMCTeaching
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss, inference_loss
from dualmcmc.trio import Trio

__all__ = [
    "DualMCMCTeaching",
    "Losses",
    "Teaching",
    "Update",
    "energy_loss",
    "generator_loss",
    "inference_loss",
    "teaching",
]

PAGES = {
    "dual_mcmc": ("dual_mcmc", "DualMCMCTeaching"),
    "cooperative": ("cooperative", "CooperativeTeaching"),
    "amortized": ("amortized", "AmortizedTeaching"),
    "divergence_triangle": ("divergence_triangle", "DivergenceTriangleTeaching"),
    "no_mcmc": ("no_mcmc", "NoMCMCTeaching"),
    "short_run": ("short_run", "ShortRunTeaching"),
    "persistent": ("persistent", "PersistentTeaching"),
    "improved_cd": ("improved_cd", "ImprovedCDTeaching"),
    "recovery_likelihood": ("recovery_likelihood", "RecoveryLikelihoodTeaching"),
    "vaebm": ("vaebm", "VAEBMTeaching"),
    "hat": ("hat", "HatTeaching"),
    "abp": ("abp", "ABPTeaching"),
    "short_run_abp": ("abp", "ShortRunABPTeaching"),
    "vae": ("vae", "VAETeaching"),
    "wae": ("wae", "WAETeaching"),
    "rae": ("rae", "RAETeaching"),
    "jem": ("jem", "JEMTeaching"),
}
"""Each method's page here, and its class there."""


def teaching(trio: Trio, settings: Method) -> Teaching:
    """The module that teaches `trio` by the method of these settings."""
    page, kind = PAGES[settings.name]
    found: Teaching = getattr(import_module(f"dualmcmc.teaching.{page}"), kind)(trio, settings)
    return found
