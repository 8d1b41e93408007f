"""Tables 4, 5 and 7: what the lengths of both chains and the energy network's width do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualmcmc.reproduce.sweeps.parts import DISTANCE, PAPERS_TIMES, SECONDS, Cell, Column, Row, Sweep, Times
from dualmcmc.tasks.plan import Plan


def _cell(name: str, changes: Mapping[str, Any], published: Mapping[str, float], at: str = "") -> Cell:
    """A cell that is a column."""
    return Cell(name=name, changes=changes, columns=(Column(name=name, at=at, published=published),))


def _data_chain(steps: int) -> dict[str, int]:
    return {"method.data_chain.steps": steps, "method.test_chain.steps": steps}


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
