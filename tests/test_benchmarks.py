"""The benchmark times two programs that compute the same, and it runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import ablation
import agreement
import iteration
import network
import streaming
from textbook import Order, Textbook

from dualmcmc import cost
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Config
from dualmcmc.training import processes
from dualmcmc.training.loop import Trainer


def _narrow(preset: str, width: int, batch: int = 2) -> Config:
    """The preset's networks at this width, with short chains."""
    config = PRESETS[preset]
    networks = replace(config.networks, latent_dim=8, energy_width=width, generator_width=width, inference_width=8)
    method = replace(config.method, data_chain=replace(config.method.data_chain, steps=6))
    method = replace(method, latent_chain=replace(method.latent_chain, steps=4))
    return replace(config, networks=networks, method=method, optim=replace(config.optim, batch_size=batch))


@pytest.mark.parametrize(
    ("preset", "width"),
    [("digits", 8), ("mnist", 8), ("cifar10_simple", 8), ("cifar10", 16), ("celeba64", 32)],
)
def test_ours_and_the_textbook_compute_the_same(preset: str, width: int) -> None:
    """Networks, both chains' ends, the three losses and every gradient, on equal weights and noise."""
    deviations = agreement.check(_narrow(preset, width))
    assert len(deviations) == 11
    assert not agreement.beyond_tolerance(deviations), deviations


def test_the_check_sees_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual slip, a Gaussian without its factor 1/2, is far beyond the tolerance."""
    halved = Textbook.squared_error
    monkeypatch.setattr(Textbook, "squared_error", lambda self, x, z: 2 * halved(self, x, z))
    wrong = agreement.beyond_tolerance(agreement.check(_narrow("digits", 8)))
    assert wrong == ["latent chain", "generator loss", "generator gradient"]


def test_the_released_order_costs_a_second_data_chain() -> None:
    config = _narrow("digits", 8)
    x = agreement.images(config)

    def flops(order: Order, steps: int) -> int:
        chain = replace(config.method.data_chain, steps=steps)
        book = Textbook(replace(config, method=replace(config.method, data_chain=chain)), order)
        counted = cost.flops_of(lambda: book.iteration(x))
        assert all(p.isfinite().all() for net in book.networks for p in net.parameters())
        return counted

    one_chain = flops("algorithm1", 6) - flops("algorithm1", 0)
    assert flops("released", 6) - flops("released", 0) == 2 * one_chain > 0


def test_it_runs_and_writes_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "iteration.json"
    cases = ["digits", "residual_32"]
    assert iteration.main(["--quick", "--cases", *cases, "--threads", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert list(report["results"]) == cases
    for result in report["results"].values():
        assert set(result["seconds"]) == set(result["flops"]) == {"ours", "textbook", "released order"}
        assert set(result["layouts"]) == {"energy", "generator", "inference"}
        assert result["flops"]["ours"] <= 1.01 * result["flops"]["textbook"] < result["flops"]["released order"]
    assert "slower than the textbook" in capsys.readouterr().out


def test_unknown_cases_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert iteration.main(["--cases", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_an_ablation_changes_one_thing_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each variant is the base but for its own settings; the table has a row for each."""
    pixels = np.random.default_rng(0).integers(0, 256, (200, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    words = ["--data", str(tmp_path / "images.npy"), "--out", str(tmp_path / "out"), "--quick"]
    words += ["--variants", "mixed-reinferred", "--set", "optim.batch_size=8", "method.buffer=16"]
    assert ablation.main(words) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| base", "| mixed-reinferred"]
    kinds = {"base": ("reuse", "prior"), "mixed-reinferred": ("mixed", "reinferred")}
    configs = {
        name: json.loads((tmp_path / "out" / name / "cells/dual_mcmc/seed-0/config.json").read_text())["config"]
        for name in kinds
    }
    for name, config in configs.items():
        assert (config["method"].pop("negatives"), config["method"].pop("pair")) == kinds[name]
    assert configs["base"] == configs["mixed-reinferred"]


def test_what_a_stream_reads_is_what_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch of 180 of 200 pictures as a stream, whose view is all of them, and as an image set."""
    monkeypatch.setenv("DUALMCMC_CACHE", "")  # `go_through` sets it
    streaming.make(tmp_path / "set", 200)
    streamed, decoded = (
        streaming.go_through(f"{prefix}{tmp_path / 'set'}:train", str(tmp_path / f"cache{prefix}"))
        for prefix in ("stream:", "")
    )
    assert streamed[3] == pytest.approx(decoded[3], rel=1e-3)
    assert decoded[3] > 180 * 64 * 64 * 3 / 1e6


def test_a_ring_sends_what_all_but_one_share_of_the_numbers_are_twice() -> None:
    """Reduce-scatter and all-gather, P - 1 steps each, in a step a P-th of the numbers: counted step by step."""
    for count, numbers in ((2, 1000), (4, 1000), (8, 4096)):
        steps = [numbers // count * 4 for _ in range(count - 1)] * 2
        assert network.ring_bytes(count, numbers) == sum(steps)
    assert network.predicted_bytes(1, 1000) == 0
    assert network.predicted_bytes(2, 1000) == 2 * (1000 + network.FIGURES) * 4


def test_an_update_reduces_so_many_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    means = processes.means
    monkeypatch.setattr(processes, "means", lambda by, row: seen.append(len(row)) or means(by, row))
    Trainer(network.settings(network.TINY, 1), tmp_path / "run", device="cpu", quiet=True).train()
    assert seen[0] == network.FIGURES


def test_on_paper_time_is_arithmetic_starts_of_operators_or_the_network() -> None:
    w = network.Work(weights=10**6, flops=1e9, operators=100, draws=1000, alone=2e9, kept=0.0, hashed=0.0)
    a = network.Assumed(rate=1e12, rate_alone=1e12, launch=1e-5, normals=1e12, bandwidth=1e9, latency=1e-6)
    one, two = (network.update_time(w, p, 64, a) for p in (1, 2))
    assert one.compute == pytest.approx(0.064, rel=1e-5)
    assert one.reduce == 0
    assert one.alone == two.alone == pytest.approx(0.002)
    assert two.reduce == pytest.approx(4e6 / 1e9 + 3 * 2 * 1e-6)
    single = network.update_time(w, 64, 1, a)
    assert single.compute == pytest.approx(1e-3 + 32 * 1000 / 1e12)
    assert [network.drawn(share) for share in (1, 16, 32, 96, 20)] == [32, 32, 32, 96, 64]


def test_the_scaling_documents_tables_are_what_the_program_prints() -> None:
    document = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert network.paper("cifar10", network.Assumed()) in document
