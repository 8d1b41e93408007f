"""Figures 2 to 5: one run each, and what a task draws of it."""

from __future__ import annotations

from dualmcmc.reproduce.sweeps.parts import Cell, Column, Row, Sweep
from dualmcmc.tasks.plan import Plan

FIGURE2 = Sweep(
    title="MCMC revision",
    source="Figure 2; FID from Section 5.2",
    preset="celeba64",
    updates={"digits": 1600, "fashion_mnist": 1200},
    cells=(
        Cell(
            name="run",
            changes={"method.test_chain.steps": 30},
            columns=(
                Column(name="at the start", at="0", published={"FID": 5.94}),
                Column(name="at the end", at="-1", published={"FID": 5.15}),
            ),
        ),
    ),
    rows=(
        Row(name="FID", path="distance.{at}"),
        Row(name="log-density, nats", path="revision.data_chain.log_density.{at}"),
        Row(name="MSE", path="revision.latent_chain.mse.{at}"),
    ),
    tasks=("generation", "revision"),
    drawing="revision",
    notes=(
        "FID and log-density (up to a constant) of the data chain, 30 steps as in Section 5.2 (the released code "
        "evaluates after 70); MSE of the latent chain on held-out images, per pixel in [-1, 1].",
    ),
)

FIGURE3 = Sweep(
    title="MSE, SSIM and PSNR over steps of the latent chain",
    source="Figure 3, whose values are not printed",
    preset="celeba64",
    updates={"digits": 1600, "fashion_mnist": 1200},
    cells=(
        Cell(
            name="run",
            columns=(
                Column(name="L=10", at="from_noise.10"),
                Column(name="L=20", at="from_noise.20"),
                Column(name="L=30", at="from_noise.30"),
                Column(name="Inf", at="inference"),
                Column(name="Inf+L=10", at="from_inference.10"),
            ),
        ),
    ),
    rows=tuple(Row(name=name.upper(), path=f"reconstruction.{{at}}.{name}") for name in ("mse", "ssim", "psnr")),
    tasks=("reconstruction",),
    plan=Plan(latent_steps=(10,), noise_steps=(10, 20, 30)),
    drawing="reconstruction",
    notes=(
        "One model, its latent chain started at noise (L) or at inference (Inf+L), on held-out images in [-1, 1]. "
        "The paper claims: longer is better, and Inf+L=10 better than L=30. It does not name the data set.",
    ),
)

FIGURE4 = Sweep(
    title="Interpolation on latent space",
    source="Figure 4",
    preset="celeba64",
    updates={"digits": 1600, "fashion_mnist": 1200},
    cells=(
        Cell(
            name="run",
            columns=(Column(name="linear", at="linear"), Column(name="spherical", at="spherical")),
        ),
    ),
    rows=(
        Row(name="log-density dips by, between prior draws", path="interpolation.prior.{at}.dip"),
        Row(name="log-density dips by, between images", path="interpolation.images.{at}.dip"),
    ),
    tasks=("interpolation",),
    drawing="interpolation",
    notes=("The paper shows linear paths and measures nothing. The dip is in nats, along 8 points of 64 paths.",),
)

STAGES = {"Inf+Gen": "inference", "Inf+T_z+Gen": "latent_chain", "Inf+T_z+Gen+T_x": "data_chain"}


def _mask(name: str, *stages: tuple[float, float]) -> Column:
    """PSNR and SSIM after each stage."""
    published: dict[str, float] = {}
    for stage, (psnr, ssim) in zip(STAGES, stages, strict=True):
        published |= {f"PSNR, {stage}": psnr, f"SSIM, {stage}": ssim}
    return Column(name=name, at=name, published=published)


FIGURE5 = Sweep(
    title="Image inpainting",
    source="Figure 5 and the table below it",
    preset="celeba64",
    updates={"digits": 1600, "fashion_mnist": 1200},
    cells=(
        Cell(
            name="run",
            columns=(
                _mask("M20", (21.035, 0.671), (24.976, 0.781), (25.132, 0.797)),
                _mask("M30", (18.375, 0.568), (23.085, 0.747), (23.276, 0.763)),
                _mask("M40", (16.484, 0.487), (19.733, 0.660), (19.959, 0.679)),
                _mask("R20", (18.174, 0.558), (25.273, 0.779), (25.666, 0.793)),
                _mask("R30", (17.092, 0.507), (25.108, 0.771), (25.409, 0.788)),
                _mask("R40", (16.348, 0.472), (24.923, 0.769), (25.171, 0.781)),
            ),
        ),
    ),
    rows=tuple(
        Row(name=f"{name}, {stage}", path=f"inpainting.masks.{{at}}.stages.{ours}.{name.lower()}")
        for stage, ours in STAGES.items()
        for name in ("PSNR", "SSIM")
    ),
    tasks=("inpainting",),
    drawing="inpainting",
    notes=(
        "Of the whole image, visible pixels not pasted back, as the paper's values suggest; masks are fractions "
        "of the side where images are not 64 pixels wide. The paper states neither the blocks of R nor the steps.",
    ),
)
