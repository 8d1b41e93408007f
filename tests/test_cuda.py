"""The same facts on a GPU, where there is one: chains that never wait for the host, training, sampling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import tiny

from dualmcmc import Model, Trainer, cli, features
from dualmcmc.langevin import Trace, langevin
from dualmcmc.noise import BatchNoise
from dualmcmc.presets import preset
from dualmcmc.sampling import explain, synthesise
from dualmcmc.settings import Chain
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import teaching
from dualmcmc.training import optimisation

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_chains_do_not_wait_for_the_host() -> None:
    config = preset("digits")
    frozen = build_trio(config).to("cuda").frozen()
    x, noise = torch.rand(8, 1, 8, 8, device="cuda") * 2 - 1, BatchNoise(0, range(8))
    synthesise(frozen, 8, Chain(steps=1, step=0.1), "draw", noise=noise)  # loads kernels, which may wait
    explain(frozen, x, Chain(steps=1, step=0.1), noise=noise)
    torch.cuda.set_sync_debug_mode("error")
    try:
        synthesise(frozen, 8, config.method.data_chain, "draw", noise=noise)
        explain(frozen, x, config.method.latent_chain, noise=noise)
        langevin(frozen.h, x, Chain(steps=3, step=0.1), noise=noise, trace=Trace(at=range(4)))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_trains_resumes_and_samples(tmp_path: Path, precision: str) -> None:
    """Row i of any batch is the same image: 1e-4, with TensorFloat-32 off."""
    changes = {"precision": precision, "run.evaluate_every": 3}
    Trainer(tiny(changes), tmp_path / "run", device="cuda", quiet=True).train()
    Trainer(tiny({**changes, "run.steps": 8}), tmp_path / "run", device="cuda", resume=True, quiet=True).train()
    model = Model.from_pretrained(tmp_path / "run", device="cuda")
    x = model.sample(12)
    assert x.device.type == "cuda"
    assert (x - model.sample(12, batch_size=5)).abs().max() < 1e-4


def test_reconstructions_and_pixel_features_are_the_cpus(trained: Path) -> None:
    """What draws no noise does not depend on the device: 1e-4 after convolutions in float32."""
    here, there = Model.from_pretrained(trained), Model.from_pretrained(trained, device="cuda")
    x = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert (here.reconstruct(x, steps=0) - there.reconstruct(x, steps=0).cpu()).abs().max() < 1e-4
    network = features.load("pixels", device="cuda")
    assert torch.allclose(network(x.cuda()).features.cpu(), features.load("pixels")(x).features, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_is_evaluated_in_either_precision(trained: Path, tmp_path: Path, precision: str) -> None:
    arguments = [
        "--device",
        "cuda",
        "--precision",
        precision,
        "--features",
        "pixels",
        "-n",
        "40",
        "--held-out",
        "20",
    ]
    out = ["--out", str(tmp_path / "figures"), "--json", str(tmp_path / "e.json")]
    assert cli.main(["evaluate", str(trained / "model"), *arguments, *out]) == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["generation"]["protocol"]["device"] == "cuda"
    assert found["generation"]["protocol"]["precision"] == precision


@pytest.mark.parametrize("chains", ["compiled", "graphed"])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_compiled_and_captured_chains_teach_what_plain_ones_do(chains: str, precision: torch.dtype) -> None:
    """The same draws and weights, moved between updates: first losses to 1e-4 (kernels fuse and round otherwise;
    in bfloat16 2e-2), and no break, nor a compilation after the first updates."""
    from torch._dynamo.utils import counters

    config = tiny()
    found = {}
    for how in ("plain", chains):
        torch.manual_seed(0)
        trio = build_trio(config).to("cuda")
        module, optimiser = teaching(trio, config.method), optimisation.build_optimiser(trio, config.optim)
        module.chains = how
        torch._dynamo.reset()
        counters.clear()
        found[how] = []
        for step in range(6):
            if step == 3:
                made = counters["stats"]["unique_graphs"]
            x = (torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(step)) * 2 - 1).to("cuda")
            with torch.autocast("cuda", precision, enabled=precision != torch.float32):
                losses = module(x, BatchNoise(0, range(8), path=("train", step)))
            losses.total().backward()
            optimiser.step()
            optimiser.zero_grad()
            found[how].append(torch.stack([*losses.named().values()]).detach())
        assert counters["stats"]["unique_graphs"] == made
        assert not counters["graph_break"]
    close = 1e-4 if precision == torch.float32 else 2e-2
    assert torch.allclose(found["plain"][0], found[chains][0], rtol=close)
    assert torch.allclose(found["plain"][5], found[chains][5], rtol=100 * close)


@pytest.mark.parametrize("chains", ["plain", "compiled", "graphed"])
def test_an_update_does_not_wait_for_the_host(chains: str) -> None:
    """From the images on the device to the moved weights; the guard's one look at the figures comes after."""
    config = tiny()
    trio = build_trio(config).to("cuda")
    module, optimiser = teaching(trio, config.method), optimisation.build_optimiser(trio, config.optim)
    module.chains = chains
    x = torch.rand(8, 1, 8, 8, device="cuda") * 2 - 1
    for step in range(4):
        torch.cuda.set_sync_debug_mode("error" if step == 3 else "default")
        try:
            losses = module(x, BatchNoise(0, range(8), path=("train", step)))
            losses.total().backward()
            optimisation.clip(trio, config.optim)
            optimiser.step()
            optimiser.zero_grad()
        finally:
            torch.cuda.set_sync_debug_mode("default")
