"""torchmetrics, loaded where it is needed: it takes a second, and a broken torchvision takes it along."""

from __future__ import annotations

from typing import Any

from dualmcmc.errors import InputError


def import_torchmetrics() -> Any:
    """torchmetrics with the parts used here, or a clear line where a broken torchvision keeps it from importing.

    Raises:
        InputError: it cannot be imported.
    """
    try:
        import torchmetrics
        import torchmetrics.functional.image
        import torchmetrics.image.kid
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"torchmetrics cannot be imported ({error}): if torchvision or torch-fidelity is installed, "
            "uninstall it or install the one that matches torch"
        ) from None
    return torchmetrics
