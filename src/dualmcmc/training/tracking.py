"""Log lines and pictures to a tracking service as well: `run.track`, main process only.

log.jsonl, TensorBoard's events and samples/ are kept whatever is tracked. wandb is called directly: accelerate's
tracker counts rows by step and so would lose those after a roll-back, and it ends a failed run as a finished one.
Here `step` is a value of each row, and the axis of all others; after a roll-back rows of the same steps follow.
WANDB_MODE=offline keeps all on this disk. wandb's files are in ./wandb, or where WANDB_DIR says, not in the run:
they hold links that lead out of it, as no run may. WANDB_PROJECT names another project than `dualmcmc`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dualmcmc import config as configs
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.settings import Config
from dualmcmc.storage.run_folder import RunFolder


def check(settings: Config) -> None:
    """Refuses a service whose package is not there.

    Raises:
        InputError: naming what to install.
    """
    if settings.run.track == "none":
        return
    found = find_spec("wandb")
    if found is None or found.origin is None:  # the folder that wandb leaves where it runs is no package
        raise InputError("--run.track wandb: the package wandb is not installed: pip install 'dualmcmc[track]'")


@dataclass(frozen=True)
class Tracker:
    """A run at the service."""

    service: Any

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Figures by name, after `step` updates."""
        self.service.log({"step": step, **figures})

    def picture(self, step: int, name: str, path: Path) -> None:
        """A PNG of the run, drawn after `step` updates."""
        import wandb

        self.service.log({"step": step, name: wandb.Image(str(path))})


@contextmanager
def tracking(settings: Config, run: RunFolder, *, quiet: bool) -> Iterator[Tracker | None]:
    """The run at the service, closed whatever happens, as failed where it did; None where nothing is tracked.

    Each start of a run is one there; those of one run folder are a group with its name.

    Raises:
        TrainingError: the service did not take it.
    """
    if settings.run.track == "none":
        yield None
        return
    import wandb

    name = run.path.resolve().name
    try:
        service = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "dualmcmc",
            name=name,
            group=name,
            config=configs.to_dict(settings),
            settings={"console": "off", "silent": quiet},
        )
    except wandb.Error as error:
        raise TrainingError(
            f"wandb did not start ({error}): `wandb login` first, or WANDB_MODE=offline; nothing was trained, and "
            "--resume goes on (with --run.track none untracked)"
        ) from error
    code = 1
    try:
        service.define_metric("*", step_metric="step")
        yield Tracker(service)
        code = 0
    finally:
        service.finish(exit_code=code)
