"""How well scores tell two sets of images apart, by scikit-learn: AUROC, AUPR and FPR at 95 %.

    auroc   the chance that an image of the inside set scores higher than one outside (ties count half)
    aupr    average precision with the inside set as positives; its chance level is n / (n + m)
    fpr95   share of the outside set that passes the highest threshold which 95 % of the inside set passes

They depend on the order of scores alone. torchmetrics' curves do not: it maps scores outside [0, 1] through a
sigmoid, where all large log-densities become 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def ranking(inside: Tensor | np.ndarray, outside: Tensor | np.ndarray) -> dict[str, float]:
    """AUROC, AUPR and FPR at 95 % of scores; higher means inside.

    Arguments:
        inside: scores (n,) of images like those the model was trained on.
        outside: scores (m,) of others.

    Returns:
        "auroc", "aupr" and "fpr95", each in [0, 1].

    Raises:
        InputError: no scores, or some that are not finite.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    parts = [torch.as_tensor(scores).detach().cpu().double().reshape(-1).numpy() for scores in (inside, outside)]
    if not all(len(part) for part in parts):
        raise InputError(f"{len(parts[0])} scores inside and {len(parts[1])} outside: a ranking takes both")
    if not all(np.isfinite(part).all() for part in parts):
        raise InputError("some scores are not finite: nothing can be ranked by them")
    scores = np.concatenate(parts)
    label = np.repeat([1, 0], [len(part) for part in parts])
    fpr, tpr, _ = roc_curve(label, scores, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(label, scores)),
        "aupr": float(average_precision_score(label, scores)),
        "fpr95": float(fpr[np.searchsorted(tpr, 0.95)]),
    }
