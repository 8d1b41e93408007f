"""Tables 6 and 9: simple networks, and what the methods cost."""

from __future__ import annotations

from dualmcmc.reproduce.sweeps.lines import SETTINGS
from dualmcmc.reproduce.sweeps.parts import (
    DISTANCE,
    PAPERS_TIMES,
    SECONDS,
    Cell,
    Column,
    Row,
    Sweep,
    Times,
)

SIMPLE = (
    "Simple networks are those of Divergence Triangle; the chains and weights that go with them are not published."
)

TABLE6 = Sweep(
    title="FID for simple network structure",
    source="Table 6",
    preset="cifar10_simple",
    updates={"digits": 3000, "fashion_mnist": 500},
    cells=tuple(
        Cell(
            name=method,
            method=method,
            columns=(Column(name=name, reference=reference, published={"FID": distance}),),
        )
        for method, name, reference, distance in (
            ("cooperative", "Cooperative EBM", 43, 33.61),
            ("divergence_triangle", "Divergence Triangle", 15, 30.10),
            ("no_mcmc", "No MCMC EBM", 12, 27.50),
            ("dual_mcmc", "Ours", None, 19.35),
        )
    ),
    rows=(DISTANCE,),
    tasks=("generation",),
    notes=(
        SIMPLE,
        "The paper's numbers of others are those of its Table 1; No MCMC EBM is taught without labels here.",
        SETTINGS,
    ),
)

# Of Divergence Triangle, of ours with its networks (1) and with residual ones (2). Parameters are in millions.
TABLE_9: tuple[tuple[Row, float, float, float], ...] = (
    (DISTANCE, 30.10, 19.35, 9.26),
    (SECONDS, 0.092, 0.201, 1.594),
    (Row(name="# Generator (M)", path="millions.generator"), 8, 8, 16),
    (Row(name="# Inference (M)", path="millions.inference"), 5, 5, 15),
    (Row(name="# EBM (M)", path="millions.energy"), 2, 2, 16),
    (Row(name="Langevin steps on x", path="steps.data"), 0, 30, 30),
    (Row(name="Langevin steps on z", path="steps.latent"), 0, 10, 10),
)


def _column(name: str, place: int, reference: int | None = None) -> tuple[Column]:
    published = {row.name: values[place] for row, *values in TABLE_9}
    return (Column(name=name, reference=reference, published=published),)


TABLE9 = Sweep(
    title="Sample quality, wall-clock training time and parameters",
    source="Table 9",
    preset="cifar10_simple",
    updates={"digits": 2000, "fashion_mnist": 400},
    cells=(
        Cell(
            name="divergence_triangle",
            method="divergence_triangle",
            columns=_column("Divergence Triangle", 0, reference=15),
        ),
        Cell(name="simple", columns=_column("Ours 1", 1)),
        Cell(
            name="residual",
            preset="cifar10",
            small={
                "networks.family": "residual",
                "networks.energy_width": Times(2),
                "networks.generator_width": Times(2),
            },
            columns=_column("Ours 2", 2),
        ),
    ),
    rows=tuple(row for row, *_ in TABLE_9),
    tasks=("generation",),
    notes=(
        "Ours 1 has the simple networks of Divergence Triangle, Ours 2 residual ones (at small scale of twice the "
        "preset's widths). The chains and weights that the paper trained the former with are not published.",
        "Time is of an update, steps are those of training, parameters are learned numbers in millions.",
        PAPERS_TIMES,
    ),
)
