"""How networks are taught: one page per method, in one table.

A method is a module whose forward runs one iteration's chains and returns its `Losses`; the loop around
it (`training/loop.py`) holds no mathematics. `base.py` is what the loop sees of it.
"""

from __future__ import annotations

from dualmcmc.methods import Method
from dualmcmc.teaching.abp import ABPTeaching, ShortRunABPTeaching
from dualmcmc.teaching.amortized import AmortizedTeaching
from dualmcmc.teaching.base import Teaching, Update
from dualmcmc.teaching.cooperative import CooperativeTeaching
from dualmcmc.teaching.divergence_triangle import DivergenceTriangleTeaching
from dualmcmc.teaching.dual_mcmc import DualMCMCTeaching
from dualmcmc.teaching.hat import HatTeaching
from dualmcmc.teaching.improved_cd import ImprovedCDTeaching
from dualmcmc.teaching.jem import JEMTeaching
from dualmcmc.teaching.losses import Losses, energy_loss, generator_loss, inference_loss
from dualmcmc.teaching.no_mcmc import NoMCMCTeaching
from dualmcmc.teaching.persistent import PersistentTeaching
from dualmcmc.teaching.rae import RAETeaching
from dualmcmc.teaching.recovery_likelihood import RecoveryLikelihoodTeaching
from dualmcmc.teaching.short_run import ShortRunTeaching
from dualmcmc.teaching.vae import VAETeaching
from dualmcmc.teaching.vaebm import VAEBMTeaching
from dualmcmc.teaching.wae import WAETeaching
from dualmcmc.trio import Trio

__all__ = [
    "PAGES",
    "DualMCMCTeaching",
    "Losses",
    "Teaching",
    "Update",
    "energy_loss",
    "generator_loss",
    "inference_loss",
    "teaching",
]

PAGES: dict[str, type[Teaching]] = {
    "dual_mcmc": DualMCMCTeaching,
    "cooperative": CooperativeTeaching,
    "amortized": AmortizedTeaching,
    "divergence_triangle": DivergenceTriangleTeaching,
    "no_mcmc": NoMCMCTeaching,
    "short_run": ShortRunTeaching,
    "persistent": PersistentTeaching,
    "improved_cd": ImprovedCDTeaching,
    "recovery_likelihood": RecoveryLikelihoodTeaching,
    "vaebm": VAEBMTeaching,
    "hat": HatTeaching,
    "abp": ABPTeaching,
    "short_run_abp": ShortRunABPTeaching,
    "vae": VAETeaching,
    "wae": WAETeaching,
    "rae": RAETeaching,
    "jem": JEMTeaching,
}
"""Each method's page."""


def teaching(trio: Trio, settings: Method) -> Teaching:
    """The module that teaches `trio` by the method of these settings."""
    return PAGES[settings.name](trio, settings)
