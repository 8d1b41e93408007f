"""The benchmark times two programs that compute the same, and it runs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import ablation
import agreement
import chains
import fits
import iteration
import memory
import network
import overheads
import quality
import sampling
import scaling
import streaming
from textbook import Order, Textbook

from dualmcmc.counting import flops_of
from dualmcmc.langevin import score
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Config
from dualmcmc.toys import energy_distance
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
        counted = flops_of(lambda: book.iteration(x))
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
        assert set(result["flops"]) == {"ours", "textbook", "released order"}
        assert set(result["seconds"]) - {"ours, bf16"} == set(result["flops"])
        assert set(result["peak_bytes"]) == set(result["seconds"])
        assert set(result["layouts"]) == {"energy", "generator", "inference"}
        assert result["flops"]["ours"] <= 1.01 * result["flops"]["textbook"] < result["flops"]["released order"]
    assert "slower than the textbook" in capsys.readouterr().out


def test_what_is_held_is_measured_in_processes_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    assert memory.main(["--quick", "--threads", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert list(report) == ["textbook", "ours", "ours, 4 at a time"]
    for found in report.values():
        assert 10**8 < found["resting"] < found["peak"] < 10**10


def test_an_iterations_shares_make_up_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "overheads.json"
    assert overheads.main(["--quick", "--cases", "digits", "--threads", "1", "--json", str(file)]) == 0
    found = json.loads(file.read_text())["digits"]
    parts = [found[name] for name in ("arithmetic", "other", "dispatch", "python")]
    assert all(part >= 0 for part in parts)
    assert sum(parts) == pytest.approx(1, abs=0.05)
    assert overheads.kind("aten::convolution_backward") == overheads.kind("aten::mm") == "arithmetic"
    assert overheads.kind("aten::convolution") == overheads.kind("autograd::engine::evaluate") == "dispatch"


def test_unknown_cases_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert iteration.main(["--cases", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_sampling_is_timed_beside_writing_in_turn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "sampling.json"
    assert sampling.main(["--quick", "--threads", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert {way: len(taken) for way, taken in report["seconds"].items()} == {
        "together": 1,
        "in turn": 1,
        "drawing": 1,
    }
    assert report["same_files"]
    assert set(report["peak_bytes"]) == {"8", "32"}
    assert "the same files together and in turn: yes" in capsys.readouterr().out
    assert sampling.main(["--preset", "nonsense"]) == 2
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


def test_chains_run_and_write_what_they_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "chains.json"
    assert chains.main(["--quick", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert set(report["seconds"]) == {"automatic", "closed form"}
    assert len(report["law"]) == 4 + 6
    assert all(row["same"] for row in report["law"])
    assert "the same law" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [chains.AUTOMATIC, chains.CLOSED])
def test_torchebm_and_we_step_alike(kind: str) -> None:
    """Less the drift of (L1), one step of either leaves s times standard normal noise."""
    x = torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))
    _, slope = score(chains.MIXTURE.log_density, x)
    for sampler in (chains.ours(kind, 1), chains.theirs(kind, 1)):
        noise = (sampler(x, 3) - x - chains.STEP**2 / 2 * slope) / chains.STEP
        assert abs(noise.mean().item()) < 5 / noise.numel() ** 0.5
        assert abs(noise.var().item() - 1) < 5 * (2 / noise.numel()) ** 0.5


def test_a_sampler_of_another_law_is_seen() -> None:
    """Steps of half the size settle at 1.08 instead of 1.45 times the variance, a bias one might call small."""
    start = torch.randn(4096, 2, generator=torch.Generator().manual_seed(0))
    good = chains.ours(chains.CLOSED, 100)(start, 1)
    bad = chains.ours(chains.CLOSED, 300, step=chains.STEP / 2)(start, 2)
    right, wrong, between = chains.compare({"good": good, "bad": bad})
    assert right["same"]
    assert not wrong["same"]
    assert not between["same"]


def test_an_energy_test_of_one_law_has_any_p_and_of_two_the_least() -> None:
    """Its statistic is `toys.energy_distance`."""
    source = torch.Generator().manual_seed(0)
    x, y = torch.randn(300, 2, generator=source), torch.randn(300, 2, generator=source)
    distance, p = chains.energy_test(x, y)
    assert distance == pytest.approx(energy_distance(x.double(), y.double()), rel=1e-9)
    assert p > 0.001
    assert chains.energy_test(x, y + 1)[1] == 1 / (chains.PERMUTATIONS + 1)


def test_lines_and_powers_are_found_again() -> None:
    xs = [1.0, 2.0, 5.0, 20.0]
    line = fits.line(xs, [3 + 0.5 * x for x in xs])
    assert line == pytest.approx((3, 0.5, 1, 0), abs=1e-12)
    assert fits.power(xs, [3 * x**1.7 for x in xs]) == pytest.approx((3, 1.7))
    exact = fits.line(xs, [3 + 0.5 * x for x in xs], relative=True)
    assert exact == pytest.approx((3, 0.5, 1, 0), abs=1e-12)
    off = fits.line([0.0, 1.0, 2.0], [1.0, 4.0, 1.0])  # the line is 2, residuals -1, 2, -1
    assert off == pytest.approx((2, 0, 0, 1), abs=1e-12)


def _row(axis: str, x: int, seconds: float, **more: float) -> dict[str, object]:
    held = {"peak": 1e9, "anonymous": 8e8, "predicted": 1e8, "flops": 1e9}
    return {axis: x, "seconds": [seconds], "median": seconds, **held, **more}


def test_a_growth_is_as_expected_or_is_not() -> None:
    """Chains: linear, flat; sizes: as the arithmetic and the prediction; data sets: flat, their order apart."""
    xs = [5, 10, 20, 40]
    good = [_row("kx", x, 1 + 0.1 * x) for x in xs]
    assert all(v.holds for v in scaling.judge_chain("kx", good).verdicts)
    square = [_row("kx", x, 1 + 0.1 * x**2, peak=1e9 + 1e7 * x) for x in xs]  # as if every state were kept
    assert not any(v.holds for v in scaling.judge_chain("kx", square).verdicts)

    width = [_row("width", x, 2 + x**1.9, flops=1e9 * x**1.9, predicted=x**2, peak=7 + 1.2 * x**2) for x in xs]
    assert all(v.holds for v in scaling.judge_power("width", width).verdicts)
    steep = [_row("width", x, x**3.0, flops=1e9 * x**1.9, predicted=x**2, peak=7 + 9 * x**2) for x in xs]
    assert not any(v.holds for v in scaling.judge_power("width", steep).verdicts)

    counts = [10**3, 10**4, 10**5, 10**6]
    flat = [_row("images", n, 0.04, anonymous=2e8 + 16 * n, decoding=0.1 + 3e-5 * n) for n in counts]
    assert all(v.holds for v in scaling.judge_images("images", flat).verdicts)
    held = [_row("images", n, 1e-3 * n**0.3, anonymous=2e8 + 256 * n, decoding=1e-9 * n**2) for n in counts]
    assert not any(v.holds for v in scaling.judge_images("images", held).verdicts)

    two = [{"processes": n, "seconds": [1 / n**0.9], "median": 1 / n**0.9, "batch": 64} for n in (1, 2)]
    (ratio,) = scaling.judge_processes("processes", two).verdicts
    assert ratio.holds
    assert ratio.seen.startswith("1.87")


def test_scaling_runs_draws_and_writes_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data sets, processes, and one of the sweeps of an iteration."""
    file, sweeps = tmp_path / "scaling.json", ["kx", "images", "processes"]
    words = ["--quick", "--json", str(file), "--plots", str(tmp_path / "plots")]
    assert scaling.main([*words, "--sweeps", *sweeps]) == 0
    report = json.loads(file.read_text())["sweeps"]
    assert list(report) == sweeps
    for axis in sweeps:
        assert [row[axis] for row in report[axis]["rows"]] == list(scaling.QUICK[axis])
        assert all(row["median"] > 0 and row["peak"] > 0 for row in report[axis]["rows"])
        assert (tmp_path / "plots" / f"{axis}.png").stat().st_size > 0
    assert "every growth is explained" in capsys.readouterr().out


def test_unknown_sweeps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(["--sweeps", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_images_written_in_pieces_are_an_npy(tmp_path: Path) -> None:
    scaling.make_images(tmp_path / "images.npy", 10_001, 4, 1)
    assert np.load(tmp_path / "images.npy").shape == (10_001, 4, 4, 1)


def test_time_to_quality_is_read_between_evaluations(tmp_path: Path) -> None:
    """On the line from (10 s, 4) to (20 s, 2), 3 is reached at 15 s; before the first one nothing is known."""
    points = [quality.Point(seconds, 0, d, d + 1) for seconds, d in ((10.0, 4.0), (20.0, 2.0), (30.0, 2.5))]
    assert quality.reached(points, 3.0) == 15
    assert quality.reached(points, 5.0) == 10
    assert quality.reached(points, 1.9) is None


def test_both_contenders_for_quality_are_trained_and_measured(tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    assert quality.main(["--quick", "--json", str(file), "--plot", str(tmp_path / "curves.png")]) == 0
    (report,) = json.loads(file.read_text())
    for name in ("textbook", "ours"):
        seconds = [point["seconds"] for point in report[name]]
        updates = [point["updates"] for point in report[name]]
        assert seconds == sorted(seconds)
        assert seconds[-1] >= 2
        assert 0 < updates[0] < updates[-1]
    assert report["target"] == min(min(p["generator"], p["chain"]) for p in report["textbook"])
    assert (tmp_path / "curves.png").stat().st_size > 0
