"""Compiled, captured and plain chains are one chain: the same draws, the same weights, up to rounding.

The backend is `aot_eager`, which captures networks and their backward as the real one does and runs the operators
as they are: what is stated here is what capturing may break. What the real one makes is tried in `test_cuda.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny import tiny
from torch import Tensor
from torch._dynamo.utils import counters

from dualmcmc import cli, compiling, spectral
from dualmcmc.errors import InputError
from dualmcmc.graphs import Drawn, draw
from dualmcmc.langevin import langevin
from dualmcmc.methods import METHODS
from dualmcmc.noise import BatchNoise, Noise
from dualmcmc.settings import Chain, Config
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import Teaching, Update, teaching
from dualmcmc.training import optimisation

RESIDUAL = {"networks.family": "residual", "images.size": 16}
REDRAW = {"method.negatives": "redraw"}


@pytest.fixture(autouse=True)
def captured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The quick backend, and counters that begin at nothing."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def _module(config: Config, chains: str) -> Teaching:
    torch.manual_seed(0)
    module = teaching(build_trio(config), config.method)
    module.chains = chains
    return module


def _updates(module: Teaching, config: Config, steps: range) -> list[Tensor]:
    """The losses of some updates on random images."""
    optimiser = optimisation.build_optimiser(module.trio, config.optim)
    size, channels = config.images.size, config.images.channels
    found = []
    for step in steps:
        x = torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(step)) * 2 - 1
        losses = module(x, BatchNoise(0, range(4), path=("train", step)))
        losses.total().backward()
        optimiser.step()
        optimiser.zero_grad()
        found.append(torch.stack([*losses.named().values()]).detach())
    return found


@pytest.mark.parametrize("changes", [{}, RESIDUAL, REDRAW], ids=["simple", "residual", "redraw"])
def test_compiled_chains_teach_what_plain_ones_do(changes: dict[str, object]) -> None:
    """The same operators in the same order: a first update is equal to 1e-5 of each loss.

    Later ones are compared through a bound that grows with the steps of Adam, which divides by what is small.
    """
    config = tiny(changes)
    plain, compiled = (_updates(_module(config, how), config, range(3)) for how in ("plain", "compiled"))
    assert torch.allclose(plain[0], compiled[0], rtol=1e-5)
    for ours, theirs in zip(compiled, plain, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("changes", [{}, RESIDUAL], ids=["simple", "residual"])
def test_graphs_have_no_break_and_are_made_once(changes: dict[str, object]) -> None:
    """Weights move between updates and nothing is compiled again: the energy and the generator have
    a graph each for their gradients, the generator one more for its images.
    """
    config = tiny(changes)
    module = _module(config, "compiled")
    _updates(module, config, range(2))
    made = counters["stats"]["unique_graphs"]
    assert made == 3
    _updates(module, config, range(2, 5))
    assert counters["stats"]["unique_graphs"] == made
    assert not counters["graph_break"]


def test_compiled_networks_run_in_bfloat16_as_plain_ones_do() -> None:
    """Autocast is looked into by the capture: heads stay float32, and h is equal to 1e-5 of its size."""
    trio = build_trio(tiny()).frozen()
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    exact = trio.h(x)
    with torch.autocast("cpu", torch.bfloat16):
        plain = trio.h(x)
        compiling.make_ready(trio, "compiled")
        h = trio.h(x)
    assert h.dtype == torch.float32
    assert torch.allclose(h, plain, rtol=1e-5)
    assert not torch.allclose(plain, exact, rtol=1e-5)  # autocast was on at all


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_methods_chains_can_be_captured(method: str) -> None:
    """Whatever a method's chains follow: the first losses are those of plain chains, to 1e-4."""
    config = tiny({"method.classes": 10} if method == "jem" else {}, method)
    plain, compiled = (_module(config, how) for how in ("plain", "compiled"))
    update = Update(batch=4, total=40, images=torch.arange(4), labels=torch.arange(4))
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    ours, theirs = (module(x, BatchNoise(0, range(4)), None, update).named() for module in (compiled, plain))
    assert ours.keys() == theirs.keys()
    for name, loss in ours.items():
        assert torch.allclose(loss, theirs[name], rtol=1e-4)


@pytest.mark.parametrize("noise", [Noise(3, [5, 2, 9]), BatchNoise(3, range(3))], ids=["rows", "batch"])
def test_draws_made_in_advance_are_the_chains_own(noise: Noise) -> None:
    """A captured chain reads its draws from memory: bit for bit those of the plain chain, and the noise is left
    where the plain chain leaves it."""
    chain, x = Chain(steps=4, step=0.3), torch.linspace(-1, 1, 6).reshape(3, 2)
    density = lambda state: -state.square().sum(1)  # noqa: E731
    mine, theirs = noise.stream("a"), noise.stream("a")
    draws = torch.zeros(4, 3, 2)
    draw(draws, mine)
    assert torch.equal(langevin(density, x, chain, noise=Drawn(draws)), langevin(density, x, chain, noise=theirs))
    assert mine.draws == theirs.draws == 4


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_a_frozen_copys_weights_stay_where_they_lie(spectral_norm: bool) -> None:
    """A captured chain reads weights by address; after an update there are the new ones."""
    config = tiny()
    trio = build_trio(config, spectral_norm=spectral_norm)
    frozen = trio.frozen()
    places = [p.data_ptr() for p in frozen.parameters()]
    optimiser = optimisation.build_optimiser(trio, config.optim)
    for parameter in trio.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    spectral.power_iteration(trio.part("energy"))
    trio.refresh(frozen)
    assert [p.data_ptr() for p in frozen.parameters()] == places
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(frozen.h(x), trio.h(x), rtol=1e-5, atol=1e-7)
    assert torch.allclose(frozen.g(torch.ones(2, 4)), trio.g(torch.ones(2, 4)))


def test_graphs_without_a_gpu_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "digits", "--device", "cpu", "--run.chains", "graphed", "--out", str(tmp_path / "run")]
    assert cli.main(command) == 2
    assert "run.chains graphed needs a CUDA device" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_compiler_that_fails_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler\nand a trace")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: fails)
    with pytest.raises(InputError, match=r"cannot compile networks \(no compiler\): use --run.chains plain"):
        compiling.check("compiled", torch.device("cpu"))


def test_many_runs_in_one_process_compile() -> None:
    """torch counts graphs of a class, not of a network: twelve widths are more than it takes by default."""
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for width in range(2, 14):
        frozen = build_trio(tiny({"networks.energy_width": width})).frozen()
        plain = frozen.h(x)
        compiling.make_ready(frozen, "compiled")
        assert torch.allclose(frozen.h(x), plain, rtol=1e-5)
