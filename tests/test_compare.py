"""Methods see the same images under the same budget, a bad cell is a row, and what is done is not done again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import TINY, assert_same, checkpoint, listing, log

from dualmcmc import cli
from dualmcmc.compare import budget, changes, children, running, table
from dualmcmc.compare.budget import Budget
from dualmcmc.compare.folder import CompareFolder
from dualmcmc.compare.job import Cell, Job
from dualmcmc.compare.table import Estimate, Row, estimate
from dualmcmc.errors import InputError
from dualmcmc.methods import METHODS
from dualmcmc.training.loop import Trainer

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import family

UPDATES = 5
SETTINGS = [f"{path}={value}" for path, value in TINY.items() if not path.startswith("run.")]
RUNNING = ["run.log_every=1", "run.checkpoint_every=2"]
BROKEN = "vae:optim.generator.rate=1e30"
METHODS_SEEN = ("dual_mcmc", "vae", "jem")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 images without labels, every tenth held out."""
    path = tmp_path_factory.mktemp("data") / "images.npy"
    levels = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
    np.save(path, levels)
    return path


def _job(out: Path, images: Path | None = None, **options: Any) -> Job:
    given: dict[str, Any] = {
        "preset": "digits",
        "methods": METHODS_SEEN,
        "budget": Budget(updates=UPDATES),
        "seeds": 1,
        "seed": 3,
        "changes": changes.parse([*SETTINGS, *RUNNING, BROKEN]),
        "n": 40,
        "ood": ("uniform", "inverted"),
        "device": "cpu",
    }
    return Job(out=out, data=images and str(images), **{**given, **options})


def _quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """Three cells: one is done, one diverges, one cannot use the data."""
    out = tmp_path_factory.mktemp("compared") / "out"
    assert running.carry_out(_job(out, images), say=_quiet).crashed == {}
    return out


def _outcome(out: Path, method: str) -> dict[str, Any]:
    found = CompareFolder(out).read(Cell(method, 3))
    assert found is not None
    return found


# -- before any work -----------------------------------------------------------------------------


@pytest.mark.parametrize("of", [Budget(updates=7), Budget(minutes=0.5)])
def test_cells_of_a_seed_differ_by_the_method_alone(tmp_path: Path, of: Budget) -> None:
    """So data order, batches, networks, optimiser, budget and occasions are the same for all."""
    job = _job(tmp_path, methods=tuple(METHODS), budget=of, changes=changes.parse(SETTINGS))
    ours = job.settings(Cell("dual_mcmc", 3))
    for method in METHODS:
        theirs = job.settings(Cell(method, 3))
        assert theirs.method.name == method
        assert replace(theirs, method=ours.method) == ours
    assert replace(job.settings(Cell("vae", 4)), seed=3) == job.settings(Cell("vae", 3))


def test_settings_reach_the_methods_that_have_them(tmp_path: Path) -> None:
    words = ["method.data_chain.steps=7", "optim.batch_size=8", "vae:method.kl_weight=0.5", "data_x=1"]
    job = _job(tmp_path, methods=("dual_mcmc", "vae", "rae"), changes=changes.parse(words[:3]))
    ours, vae, rae = (job.settings(Cell(method, 0)) for method in job.methods)
    assert ours.method.data_chain.steps == 7
    assert (vae.method.kl_weight, vae.optim.batch_size) == (0.5, 8)
    assert rae.optim.batch_size == 8
    assert job.absent == {"method.data_chain.steps=7": ["vae", "rae"]}
    with pytest.raises(InputError, match="no method has a setting data_x"):
        _job(tmp_path, changes=changes.parse(words[3:]))
    with pytest.raises(InputError, match="method rae has no setting"):
        _job(tmp_path, methods=("rae",), changes=changes.parse(["rae:method.kl_weight=1"]))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("images.size", "give path=value"),
        ("nothing:optim.ema=0", "unknown method"),
        ("run.steps=3", "--budget"),
        ("seed=1", "--seed"),
        ("method.name=vae", "--methods"),
    ],
)
def test_settings_that_are_none_are_refused(word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        changes.parse([word])


def test_budgets() -> None:
    assert budget.parse("2000it") == Budget(updates=2000)
    assert budget.parse("10m") == Budget(minutes=10)
    assert budget.parse("90s") == Budget(minutes=1.5)
    assert budget.parse("1.5h") == Budget(minutes=90)
    for bad in ("", "10", "m", "0m", "0it", "-3m", "1.5it", "10 m", "9999999999it", "infm"):
        with pytest.raises(InputError, match="--budget"):
            budget.parse(bad)


def test_a_schedule_towards_a_last_update_needs_a_budget_of_updates(tmp_path: Path) -> None:
    falling = changes.parse(["optim.schedule=cosine"])
    _job(tmp_path, changes=falling)
    with pytest.raises(InputError, match="schedule"):
        _job(tmp_path, changes=falling, budget=Budget(minutes=1))


# -- after it ------------------------------------------------------------------------------------


def test_a_cell_is_an_ordinary_run(compared: Path, images: Path, tmp_path: Path) -> None:
    """Bit for bit what a training in this process gives."""
    settings = _job(tmp_path / "x", images).settings(Cell("dual_mcmc", 3))
    Trainer(settings, tmp_path / "run", device="cpu", quiet=True).train()
    cell = compared / "cells" / "dual_mcmc" / "seed-3"
    assert_same(checkpoint(cell, UPDATES), checkpoint(tmp_path / "run", UPDATES))
    metrics = json.loads((cell / "metrics.json").read_text())
    assert set(metrics) == {"generation", "reconstruction", "ood"}
    found = _outcome(compared, "dual_mcmc")
    assert found["updates"] == UPDATES
    assert found["figures"]["mse_inference"] == metrics["reconstruction"][0]["inference"]["mse"]
    assert found["figures"]["distance_start"] == metrics["generation"][0]["figures"]["fd_pixels_40"]["0"]
    # Its own peak, which getrusage (the log's) does not know: the kernel starts it at the parent's.
    assert 50e6 < max(line["peak_memory_bytes"] for line in log(cell)) == found["peak_memory_bytes"]
    assert set(found["auroc"]["log_density"]) == {"uniform", "inverted"}


def test_what_went_wrong_is_a_row(compared: Path) -> None:
    diverged, refused = _outcome(compared, "vae"), _outcome(compared, "jem")
    assert diverged["status"] == "diverged"
    assert 1 <= diverged["step"] <= UPDATES
    assert diverged["reason"].startswith(f"training diverged at step {diverged['step']}: ")
    assert refused["status"] == "refused"
    assert "needs labels" in refused["reason"]
    assert not (compared / "cells" / "jem" / "seed-3").exists()
    rows = {row["method"]: row for row in json.loads((compared / "table.json").read_text())["methods"]}
    assert rows["dual_mcmc"]["seeds"] == [3]
    assert rows["vae"]["seeds"] == rows["jem"]["seeds"] == []
    assert rows["vae"]["remarks"] == [f"seed 3: {diverged['reason']}"]
    text = (compared / "table.md").read_text()
    assert text.count("\n| ") == 2 + 1 + 3  # head and rule, held-out images, methods
    assert "method.data_chain.steps=3 is no setting of vae." in text
    assert (compared / "samples.png").stat().st_size > 0


def test_the_reference_row_is_the_distance_of_held_out_images(compared: Path) -> None:
    with (compared / "table.csv").open() as file:
        first = next(iter(csv.DictReader(file)))
    about = json.loads((compared / "compare.json").read_text())
    assert first["method"] == "held-out images"
    assert about["floor"]["n"] == 30  # every tenth of 300
    assert float(first["distance_chain"]) == about["floor"]["distance"] > 0


def test_what_is_done_is_not_done_again(compared: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "start", None)
    before = listing(compared)
    running.carry_out(_job(compared, images), say=_quiet)
    assert listing(compared) == before


def test_another_comparison_is_refused(compared: Path, images: Path, tmp_path: Path) -> None:
    before = listing(compared)
    others: dict[str, dict[str, Any]] = {
        "budget": {"budget": Budget(updates=6)},
        "set": {"changes": changes.parse([*SETTINGS, *RUNNING])},
        "n 40": {"n": 50},
    }
    for said, other in others.items():
        with pytest.raises(InputError, match=f"begun with {said}"):
            running.carry_out(_job(compared, images, **other), say=_quiet)
    with pytest.raises(InputError, match="other settings: data"):
        running.carry_out(_job(compared), say=_quiet)
    (tmp_path / "thing").touch()
    with pytest.raises(InputError, match="is no comparison"):
        running.carry_out(_job(tmp_path, images), say=_quiet)
    assert listing(compared) == before


def test_a_process_that_dies_is_named_and_tried_again(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = children.start
    with monkeypatch.context() as patch:
        patch.setattr(children, "start", lambda module, *rest, **how: start("dualmcmc.nothing", *rest, **how))
        outcome = running.carry_out(_job(tmp_path / "out", images, methods=("vae", "abp")), say=_quiet)
    assert set(outcome.crashed) == {Cell("vae", 3), Cell("abp", 3)}
    for row in outcome.table.rows:
        assert "failed" in row.remarks[0]
        assert "No module named dualmcmc.nothing" in row.remarks[0]
    assert CompareFolder(tmp_path / "out").read(Cell("vae", 3)) is None


def test_ctrl_c_saves_and_the_same_command_goes_on(images: Path, tmp_path: Path) -> None:
    """The parent alone is told; its cell saves the update it is at, and the time it has spent counts."""
    out = tmp_path / "out"
    words = ["digits", "--methods", "dual_mcmc", "--seeds", "1", "--budget", "3s", "--data", str(images)]
    words += ["-n", "20", "--ood", "uniform", "--out", str(out), "--device", "cpu", "--set", *SETTINGS, *RUNNING]
    parent = subprocess.Popen([sys.executable, "-m", "dualmcmc", "compare", *words], stderr=subprocess.PIPE)
    run, deadline = out / "cells" / "dual_mcmc" / "seed-0", time.monotonic() + 120
    while not ((run / "log.jsonl").is_file() and len(log(run)) >= 2):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(parent.pid, signal.SIGINT)
    _, said = parent.communicate(timeout=120)
    assert parent.returncode == 130, said
    assert b"the same command goes on" in said
    saved = log(run)[-1]["step"]
    checkpoint(run, saved)  # whole
    assert not (out / "cells" / "dual_mcmc" / "seed-0.json").exists()
    assert cli.main(["compare", *words]) == 0
    entry = CompareFolder(out).read(Cell("dual_mcmc", 0))
    assert entry is not None
    assert entry["updates"] > saved
    steps = [line["step"] for line in log(run)]
    assert steps == list(range(1, entry["updates"] + 1))  # none twice
    last = entry["seconds"] / entry["updates"]
    assert 3 <= entry["seconds"] < 3 + 100 * last


# -- the table -----------------------------------------------------------------------------------


def test_the_standard_error_is_the_deviation_over_the_root_of_the_number() -> None:
    """Of 1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7, error sqrt(7 / 3)."""
    found = table.estimate([1.0, 2.0, 6.0])
    assert found.mean == 3
    assert found.standard_error == pytest.approx((7 / 3) ** 0.5, rel=1e-12)
    assert table.estimate([4.0]) == Estimate(4, None, [4.0])


def test_seeds_are_averaged_and_those_that_failed_named(compared: Path, tmp_path: Path) -> None:
    """Of outcomes made from a real one, with known figures."""
    folder, job = CompareFolder(tmp_path), _job(tmp_path, methods=("dual_mcmc",), seeds=4)
    folder.begin(json.loads((compared / "compare.json").read_text()))
    real = _outcome(compared, "dual_mcmc")
    for seed, value in ((3, 1.0), (4, 2.0), (5, 6.0)):
        made = {**real, "figures": {**real["figures"], "distance_chain": value}}
        place = folder.outcome(Cell("dual_mcmc", seed))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(made))
    (row,) = table.read(job, folder, {}).rows
    assert row.figures["distance_chain"] == table.estimate([1.0, 2.0, 6.0])
    assert row.figures["mse_inference"].standard_error == 0
    assert row.seeds == [3, 4, 5]
    assert row.remarks == ["seed 6: not done yet"]


# -- the command ---------------------------------------------------------------------------------


def test_every_occurrence_of_set_counts() -> None:
    from dualmcmc.cli.compare import together

    words = ["digits", "--set", "a=1", "b=2", "--seeds", "2", "--set=c=3", "--set", "d=4"]
    assert together(words, "--set") == ["digits", "--seeds", "2", "--set", "a=1", "b=2", "c=3", "d=4"]
    assert together(["digits"], "--set") == ["digits"]


def test_the_dry_run_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "digits", "--methods", "dual_mcmc", "vae", "jem", "--budget", "10m", "--dry-run"]
    assert cli.main([*words, "--out", str(tmp_path / "out"), "--json", "-", "--set", *SETTINGS]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["method"] for entry in found["methods"]] == ["dual_mcmc", "vae", "jem"]
    ours, vae, _ = found["methods"]
    assert vae["parameters"]["energy"] == 0
    assert vae["parameters"]["generator"] == ours["parameters"]["generator"]
    assert "method.data_chain.steps=3" in vae["without"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["digits", "--methods", "nothing"],
        ["digits", "--methods", "vae", "vae"],
        ["digits", "--budget", "soon"],
        ["digits", "--seeds", "0"],
        ["digits", "--set", "images.size=17"],
        ["digits", "--features", "nothing"],
        ["digits", "--ood", "/nowhere"],
        ["digits", "--held-out", "100000"],
        ["digits", "--data", "/nowhere"],
    ],
)
def test_bad_input_is_one_line_and_nothing_written(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert cli.main(["compare", *words, "--out", str(out), "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not out.exists()


# -- the benchmark -------------------------------------------------------------------------------


def _row(method: str, distance: float, mse: float, error: float | None = 0.1) -> Row:
    figures = {"distance_chain": Estimate(distance, error, [distance]), "mse_chain": Estimate(mse, error, [mse])}
    return Row(method, figures, [0, 1], [])


def test_the_benchmark_judges_by_two_standard_errors() -> None:
    """Errors of 0.1 each: of a difference sqrt(0.02) = 0.141, twice that is 0.283."""
    order = [_row(name, 4.0 - i, 4.0 - i) for i, name in enumerate(family.TABLE_6)]
    rows = {row.method: row for row in order}
    assert all(held for held, _ in family.checks(rows))
    rows["no_mcmc"] = _row("no_mcmc", 1.28, 1.29)
    fails = [line for held, line in family.checks(rows) if not held]
    assert [line.partition(":")[0] for line in fails] == ["distance", "Table 6"]
    rows["no_mcmc"] = _row("no_mcmc", 1.5, 1.5, None)  # one seed beside several: undecided
    fails = [line for held, line in family.checks(rows) if not held]
    assert len(fails) == 4
    assert all("undecided" in line for line in fails)
    alone = {name: _row(name, 4.0 - i, 4.0 - i, None) for i, name in enumerate(family.TABLE_6)}
    assert all(held for held, _ in family.checks(alone))  # one seed each: by sign
    rows["no_mcmc"] = Row("no_mcmc", {}, [], ["seed 0: diverged"])
    fails = [line for held, line in family.checks(rows) if not held]
    assert fails == ["Table 6: no_mcmc < divergence_triangle: the first has no figures"]


def test_the_benchmark_shows_differences_seed_by_seed() -> None:
    """Distances 1, 2 and 2, 4: means differ by 1.5 of error sqrt(0.25 + 1), seed by seed of error 0.5."""
    ours, theirs = estimate([1.0, 2.0]), estimate([2.0, 4.0])
    held, line = family.below("x", ours, theirs, paired=True)
    assert not held
    assert family.below("x", ours, theirs) == (False, "x: 1.5, 3, +1.3 standard errors")  # of other seeds
    assert line == "x: 1.5, 3, +1.3 standard errors (+3.0 of the differences seed by seed)"


def test_the_benchmarks_settings_are_settings(tmp_path: Path) -> None:
    for preset in family.SETTINGS:
        options = family.arguments(["--preset", preset, "--out", str(tmp_path), "--budget", "15m"])
        job = family.job(options)
        assert job.methods == tuple(METHODS)
        assert {job.settings(cell).images.size for cell in job.cells} == {16}
