"""Tables 1 and 2: how near the samples of energy-based models, GANs and score-based models come to the data."""

from __future__ import annotations

from typing import Any

from dualmcmc.reproduce.sweeps.lines import SETTINGS, Line, Published, quoted, runs
from dualmcmc.reproduce.sweeps.parts import DISTANCE, Cell, OfUpdates, Row, Sweep

CHANGES: dict[str, dict[str, Any]] = {"vaebm": {"method.vae_steps": OfUpdates(0.5)}}
VAEBM = (
    "VAEBM's autoencoder is this library's, not NVAE, and is trained for the first half of the updates; the "
    "energy for the second."
)
QUOTED = "Lines without a run of ours are quoted: others' generators, which this library does not teach."

TABLE_1_DATA = {"CIFAR-10": "cifar10", "CelebA-64": "celeba64"}
# Method, name and reference as in the paper; IS and FID on CIFAR-10, FID on CelebA-64.
TABLE_1_LINES: tuple[tuple[str | None, str, int | None, float | None, float | None, float | None], ...] = (
    ("dual_mcmc", "Ours", None, 8.55, 9.26, 5.15),
    ("cooperative", "Cooperative EBM", 43, 6.55, 33.61, 16.65),
    ("amortized", "Amortized EBM", 44, 6.65, None, None),
    ("divergence_triangle", "Divergence Triangle", 15, 7.23, 30.10, 18.21),
    ("no_mcmc", "No MCMC EBM", 12, None, 27.5, None),
    ("short_run", "Short-run EBM", 29, 6.21, None, 23.02),
    ("persistent", "IGEBM", 5, 6.78, 38.2, None),
    ("improved_cd", "ImprovedCD EBM", 6, 7.85, 25.1, None),
    ("recovery_likelihood", "Diffusion EBM", 8, 8.30, 9.58, 5.98),
    ("vaebm", "VAEBM", 40, 8.43, 12.19, 5.31),
    (None, "NCP-VAE", 1, None, 24.08, 5.25),
    (None, "SNGAN", 27, 8.22, 21.7, 6.1),
    (None, "StyleGANv2 w/o ADA", 20, 8.99, 9.9, 2.32),
    (None, "NCSN", 35, 8.87, 25.32, 25.30),
    (None, "DDPM", 18, 9.46, 3.17, 3.93),
)
TABLE_2_DATA = {"CelebA-HQ-256": "celeba_hq256", "LSUN-Church-64": "lsun_church64"}
# FID on CelebA-HQ-256 and on LSUN-Church-64.
TABLE_2_LINES: tuple[tuple[str | None, str, int | None, float | None, float | None], ...] = (
    ("dual_mcmc", "Ours", None, 15.89, 4.56),
    ("recovery_likelihood", "Diffusion EBM", 8, None, 7.02),
    ("vaebm", "VAEBM", 40, 20.38, 13.51),
    (None, "NCP-VAE", 1, 27.79, None),
    (None, "GLOW", 22, 68.93, 59.35),
    (None, "PGGAN", 19, 21.7, 6.1),
)


def _cells(
    data: dict[str, str], method: str | None, name: str, reference: int | None, published: Published
) -> tuple[Cell, ...]:
    line = Line(name=name, reference=reference, published=published)
    return quoted(line) if method is None else runs(method, data, line, changes=CHANGES.get(method))


def _there(**figures: float | None) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


TABLE1 = Sweep(
    title="FID and IS on CIFAR-10 and CelebA-64",
    source="Table 1",
    preset="cifar10",
    updates={"digits": 1600, "fashion_mnist": 200},
    cells=tuple(
        cell
        for method, name, reference, score, distance, celeba in TABLE_1_LINES
        for cell in _cells(
            TABLE_1_DATA,
            method,
            name,
            reference,
            {"CIFAR-10": _there(IS=score, FID=distance), "CelebA-64": _there(FID=celeba)},
        )
    ),
    rows=(Row(name="IS", path="score.-1"), DISTANCE),
    tasks=("generation",),
    transposed=True,
    notes=(
        QUOTED,
        SETTINGS,
        VAEBM,
        "IS takes features that classify; those of pixels do not. The paper does not say in how many parts of the "
        "samples it was found; ours is in ten.",
    ),
)

TABLE2 = Sweep(
    title="FID on CelebA-HQ-256 and LSUN-Church-64",
    source="Table 2",
    preset="celeba_hq256",
    updates={"digits": 3000, "fashion_mnist": 500},
    cells=tuple(
        cell
        for method, name, reference, faces, churches in TABLE_2_LINES
        for cell in _cells(
            TABLE_2_DATA,
            method,
            name,
            reference,
            {"CelebA-HQ-256": _there(FID=faces), "LSUN-Church-64": _there(FID=churches)},
        )
    ),
    rows=(DISTANCE,),
    tasks=("generation",),
    transposed=True,
    notes=(
        QUOTED,
        SETTINGS,
        VAEBM,
        "The paper's numbers of PGGAN are those of SNGAN in its Table 1 (21.7 and 6.1, on other data): probably a "
        "slip.",
    ),
)
