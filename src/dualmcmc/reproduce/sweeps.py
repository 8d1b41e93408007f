"""Tables 3, 4, 5, 7 and Figures 2 to 5 of Cui & Han (2023) as data; nothing here imports torch.

A sweep is made of cells, one run each: the base preset with a few settings changed. Rows say where in a cell's
measurements their figure lies, by a dotted path in which `{at}` stands for the column's place:

    generation, reconstruction, ...   the tasks' entries, as in metrics.json
    distance                          to the training images: of the generator, after the test chain
    seconds                           of an update, the median over the log's lines

At paper scale the base is the paper's data set, at small scale a preset that a CPU trains in minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dualmcmc.tasks.plan import Plan, Task

Scale = Literal["small", "paper"]
SmallPreset = Literal["digits", "fashion_mnist"]
TableName = Literal["table3", "table4", "table5", "table7", "figure2", "figure3", "figure4", "figure5"]

SAMPLES: Mapping[Scale, int] = {"small": 1500, "paper": 50_000}
"""Of each distance."""
FEATURES: Mapping[Scale, str] = {"small": "pixels", "paper": "inception"}
"""Their feature network, unless another is asked for."""
SMALL: Mapping[SmallPreset, Mapping[str, Any]] = {
    "digits": {"run.evaluate_every": 0, "run.checkpoint_every": 200},
    "fashion_mnist": {
        "images.size": 16,
        "run.sample_every": 200,
        "run.evaluate_every": 0,
        "run.checkpoint_every": 100,
    },
}
"""What the small scale changes in its presets, beside the number of updates. Without evaluations, a run's model is
that of its last update; the best by a small evaluation has had more updates in one cell than in another."""


@dataclass(frozen=True)
class Times:
    """A change to so many times what the preset has."""

    factor: float


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table."""

    name: str
    at: str = ""
    """Stands for `{at}` in the rows' paths."""
    published: Mapping[str, float] = field(default_factory=dict)
    """The paper's figures, by row."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run."""

    name: str
    columns: tuple[Column, ...]
    """What it fills in."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings by path, as "method.data_chain.steps"."""
    preset: str | None = None
    """The base at paper scale; None: the sweep's."""
    only: Scale | None = None
    """It is run at this scale alone; at small scale, others' columns show the paper's figures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table."""

    name: str
    """As in the paper."""
    path: str
    """Where our figure lies; see above."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A table or figure."""

    title: str
    source: str
    """Where in the paper."""
    preset: str
    """The base at paper scale."""
    updates: Mapping[SmallPreset, int]
    """Of each cell at small scale: as many as end within 20 minutes or so on two cores."""
    cells: tuple[Cell, ...]
    rows: tuple[Row, ...]
    tasks: tuple[Task, ...]
    plan: Plan = field(default_factory=Plan)
    drawing: Task | None = None
    """The task whose drawing is the figure."""
    notes: tuple[str, ...] = ()


def _cell(name: str, changes: Mapping[str, Any], published: Mapping[str, float], at: str = "") -> Cell:
    """A cell that is a column."""
    return Cell(name=name, changes=changes, columns=(Column(name=name, at=at, published=published),))


def _data_chain(steps: int) -> dict[str, int]:
    return {"method.data_chain.steps": steps, "method.test_chain.steps": steps}


DISTANCE = Row(name="FID", path="distance.-1")
SECONDS = Row(name="Time (s)", path="seconds")
PAPERS_TIMES = "The paper's times are of an NVIDIA A100 (40 GB)."

TABLE3 = Sweep(
    title="Comparison of MSE",
    source="Table 3, the paper's own rows",
    preset="cifar10",
    updates={"digits": 1600, "fashion_mnist": 1200},
    cells=(
        Cell(
            name="CIFAR-10",
            columns=(Column(name="CIFAR-10", published={"MSE, Inf": 0.0214, "MSE, Inf+L=10": 0.0072}),),
            preset="cifar10",
            only="paper",
        ),
        Cell(
            name="CelebA-64",
            columns=(Column(name="CelebA-64", published={"MSE, Inf": 0.0227, "MSE, Inf+L=10": 0.0164}),),
            preset="celeba64",
            only="paper",
        ),
        Cell(name="small", columns=(Column(name="{preset}"),), only="small"),
    ),
    rows=(
        Row(name="MSE, Inf", path="reconstruction.inference.mse"),
        Row(name="MSE, Inf+L=10", path="reconstruction.from_inference.10.mse"),
        Row(name="MSE, PCA", path="reconstruction.pca.mse"),
    ),
    tasks=("reconstruction",),
    plan=Plan(latent_steps=(10,)),
    notes=(
        "MSE is per pixel and channel in [-1, 1], of held-out images; the paper states neither range nor split.",
        "PCA of training images with as many dimensions as a code has is the best that a linear model can do. The "
        "paper's 0.0072 on CIFAR-10 is below that of 128 dimensions (0.019).",
    ),
)

TABLE4 = Sweep(
    title="Increasing MCMC steps of the latent chain",
    source="Table 4",
    preset="cifar10",
    updates={"digits": 2000, "fashion_mnist": 400},
    cells=(
        _cell(
            "L=10",
            {"method.latent_start": "prior", "method.latent_chain.steps": 10},
            {"FID": 17.32, "MSE": 0.0214, "Time (s)": 1.576},
            at="from_noise.10",
        ),
        _cell(
            "L=30",
            {"method.latent_start": "prior", "method.latent_chain.steps": 30},
            {"FID": 14.51, "MSE": 0.0164, "Time (s)": 2.034},
            at="from_noise.30",
        ),
        _cell(
            "Inf+L=10",
            {"method.latent_chain.steps": 10},
            {"FID": 9.26, "MSE": 0.0072, "Time (s)": 1.594},
            at="from_inference.10",
        ),
        _cell(
            "Inf+L=30",
            {"method.latent_chain.steps": 30},
            {"FID": 9.18, "MSE": 0.0068, "Time (s)": 2.112},
            at="from_inference.30",
        ),
    ),
    rows=(DISTANCE, Row(name="MSE", path="reconstruction.{at}.mse"), SECONDS),
    tasks=("generation", "reconstruction"),
    plan=Plan(latent_steps=(10, 30), noise_steps=(10, 30)),
    notes=(
        "L: the latent chain starts at noise, in training and for the MSE; Inf+L: it starts at inference. MSE is "
        "per pixel and channel in [-1, 1], of held-out images.",
        "The paper's MSE of L=10 and L=30 are not to be relied on: the same 0.0214 and 0.0164 stand in its Table "
        "3 for other things (CIFAR-10 by inference alone, CelebA-64 by Inf+L=10).",
        PAPERS_TIMES,
    ),
)

TABLE5 = Sweep(
    title="Increasing MCMC steps of the data chain",
    source="Table 5",
    preset="cifar10",
    updates={"digits": 3000, "fashion_mnist": 500},
    cells=(
        _cell("L=10", _data_chain(10), {"FID": 14.78, "Time (s)": 0.861}),
        _cell("L=20", _data_chain(20), {"FID": 11.51, "Time (s)": 1.241}),
        _cell("L=30", _data_chain(30), {"FID": 9.26, "Time (s)": 1.594}),
        _cell("L=50", _data_chain(50), {"FID": 9.07, "Time (s)": 2.454}),
    ),
    rows=(DISTANCE, SECONDS),
    tasks=("generation",),
    notes=(
        "L is the length of the data chain in training and of the test chain behind the distance; the paper does "
        "not state the latter.",
        PAPERS_TIMES,
    ),
)

TABLE7 = Sweep(
    title="FID for increasing nef",
    source="Table 7",
    preset="cifar10",
    updates={"digits": 3000, "fashion_mnist": 500},
    cells=(
        _cell("nef=256", {"networks.energy_width": Times(0.5)}, {"FID": 11.19}),
        _cell("nef=512", {"networks.energy_width": Times(1)}, {"FID": 9.26}),
        _cell("nef=1024", {"networks.energy_width": Times(2)}, {"FID": 8.45}),
    ),
    rows=(DISTANCE,),
    tasks=("generation",),
    notes=("nef is the energy network's width: half, once and twice the preset's.",),
)

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

SWEEPS: Mapping[TableName, Sweep] = {
    "table3": TABLE3,
    "table4": TABLE4,
    "table5": TABLE5,
    "table7": TABLE7,
    "figure2": FIGURE2,
    "figure3": FIGURE3,
    "figure4": FIGURE4,
    "figure5": FIGURE5,
}
