"""Table 8: telling other images apart by the log-density."""

from __future__ import annotations

from dualmcmc.reproduce.sweeps.generation import CHANGES, VAEBM
from dualmcmc.reproduce.sweeps.lines import SETTINGS
from dualmcmc.reproduce.sweeps.parts import Cell, Column, Row, Sweep
from dualmcmc.tasks.plan import Plan

PAPERS = {"SVHN": "svhn:test", "CIFAR-100": "cifar100:test", "CelebA": "celeba64:test"}
"""What we call the paper's sets."""
BUILT_IN = ("shuffled", "means", "blurred")
# Method, name and reference as in the paper; AUROC against SVHN, CIFAR-100 and CelebA.
LINES: tuple[tuple[str | None, str, int | None, float | None, float | None, float | None], ...] = (
    ("dual_mcmc", "Ours", None, 0.94, 0.64, 0.85),
    ("divergence_triangle", "Divergence Triangle", 15, 0.68, None, 0.56),
    ("no_mcmc", "No MCMC EBM", 12, 0.83, 0.73, 0.33),
    ("persistent", "IGEBM", 5, 0.63, 0.50, 0.70),
    ("improved_cd", "ImprovedCD EBM", 6, 0.91, 0.83, None),
    ("vaebm", "VAEBM", 40, 0.83, 0.62, 0.77),
    ("jem", "JEM", 11, 0.67, 0.67, 0.75),
    (None, "HDGE", None, 0.96, 0.91, 0.80),
    (None, "OOD EBM", None, 0.91, 0.87, 0.78),
    (None, "OOD EBM (fine-tuned)", None, 0.99, 0.94, 1.00),
)


def _cell(method: str | None, name: str, reference: int | None, *published: float | None) -> Cell:
    figures = {row: value for row, value in zip(PAPERS, published, strict=True) if value is not None}
    column = Column(name=name, reference=reference, published=figures)
    return Cell(name=method or name, method=method, columns=(column,), changes=CHANGES.get(method or "", {}))


TABLE8 = Sweep(
    title="AUROC for OOD detection",
    source="Table 8",
    preset="cifar10",
    updates={"digits": 2000, "fashion_mnist": 250},
    cells=tuple(_cell(*line) for line in LINES),
    rows=(
        *(
            Row(name=name, path=f"ood.sets.{ours}.log_density.auroc", only="paper")
            for name, ours in PAPERS.items()
        ),
        *(Row(name=name, path=f"ood.sets.{name}.log_density.auroc", only="small") for name in BUILT_IN),
    ),
    tasks=("ood",),
    plan=Plan(ood=("table8",)),
    small_plan={"ood": BUILT_IN},
    transposed=True,
    notes=(
        "The score is the log-density h(x) / T of one forward pass; JEM's h is the log-sum-exp of its logits, "
        "VAEBM's corrects its autoencoder, whose own density is left out. Held-out images are the positives.",
        "JEM, HDGE and OOD EBM see labels, the others do not. HDGE and OOD EBM are quoted, and the paper cites "
        "neither: Liu & Abbeel, Hybrid discriminative-generative training via contrastive learning, 2020; Liu et "
        "al., Energy-based out-of-distribution detection, 2020.",
        "At small scale the others are made from held-out images: pixels shuffled, means of two, blurred.",
        SETTINGS,
        VAEBM,
    ),
)
