"""Sweeps are what the paper says, each cell is carried out once, and tables hold what was measured."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import assert_same, at_update, checkpoint, listing, log, tiny

from dualmcmc import config, presets
from dualmcmc.cli.reproduce import reproduce
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.reproduce import running, sweeps
from dualmcmc.reproduce.job import Job, changed
from dualmcmc.reproduce.sweeps import SWEEPS, OfUpdates, Times
from dualmcmc.tasks import running as tasks
from dualmcmc.tasks.plan import Plan
from dualmcmc.teaching import DualMCMCTeaching
from dualmcmc.training import rollback
from dualmcmc.training.loop import Trainer

UPDATES = 6
TABLE_9_ROWS = (
    "FID",
    "Time (s)",
    "# Generator (M)",
    "# Inference (M)",
    "# EBM (M)",
    *(f"Langevin steps on {x}" for x in "xz"),
)
# The paper's figures, column by column, typed from its tables a second time; tables of methods are in
# test_reproduce_family.py.
PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "table4": {
        "L=10": {"FID": 17.32, "MSE": 0.0214, "Time (s)": 1.576},
        "L=30": {"FID": 14.51, "MSE": 0.0164, "Time (s)": 2.034},
        "Inf+L=10": {"FID": 9.26, "MSE": 0.0072, "Time (s)": 1.594},
        "Inf+L=30": {"FID": 9.18, "MSE": 0.0068, "Time (s)": 2.112},
    },
    "table5": {
        "L=10": {"FID": 14.78, "Time (s)": 0.861},
        "L=20": {"FID": 11.51, "Time (s)": 1.241},
        "L=30": {"FID": 9.26, "Time (s)": 1.594},
        "L=50": {"FID": 9.07, "Time (s)": 2.454},
    },
    "table6": {
        "Cooperative EBM": {"FID": 33.61},
        "Divergence Triangle": {"FID": 30.10},
        "No MCMC EBM": {"FID": 27.50},
        "Ours": {"FID": 19.35},
    },
    "table9": {
        "Divergence Triangle": dict(zip(TABLE_9_ROWS, (30.10, 0.092, 8, 5, 2, 0, 0), strict=True)),
        "Ours 1": dict(zip(TABLE_9_ROWS, (19.35, 0.201, 8, 5, 2, 30, 10), strict=True)),
        "Ours 2": dict(zip(TABLE_9_ROWS, (9.26, 1.594, 16, 15, 16, 30, 10), strict=True)),
    },
    "table7": {"nef=256": {"FID": 11.19}, "nef=512": {"FID": 9.26}, "nef=1024": {"FID": 8.45}},
    "figure2": {"at the start": {"FID": 5.94}, "at the end": {"FID": 5.15}},
    "figure3": {name: {} for name in ("L=10", "L=20", "L=30", "Inf", "Inf+L=10")},
    "figure4": {"linear": {}, "spherical": {}},
}
INPAINTING = """
M20 M30 M40
21.035 0.671 18.375 0.568 16.484 0.487
24.976 0.781 23.085 0.747 19.733 0.660
25.132 0.797 23.276 0.763 19.959 0.679
R20 R30 R40
18.174 0.558 17.092 0.507 16.348 0.472
25.273 0.779 25.108 0.771 24.923 0.769
25.666 0.793 25.409 0.788 25.171 0.781
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps at small scale that take a second: the tiny preset, 6 updates, 40 samples, 20 held-out images."""
    monkeypatch.setattr(tasks, "HELD_OUT", 20)
    monkeypatch.setitem(presets.PRESETS, "digits", tiny({"run.checkpoint_every": 0}))
    monkeypatch.setitem(sweeps.SMALL, "digits", {"run.checkpoint_every": 2})
    monkeypatch.setitem(sweeps.SAMPLES, "small", 40)
    for name, sweep in SWEEPS.items():
        short = replace(sweep, updates={"digits": UPDATES}, plan=replace(sweep.plan, chains=20, pairs=4))
        monkeypatch.setitem(SWEEPS, name, short)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Grows by one with every update of any cell."""
    forward, calls = DualMCMCTeaching.forward, []

    def counted(self: DualMCMCTeaching, *args: Any) -> Any:
        calls.append(1)
        return forward(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(DualMCMCTeaching, "forward", counted)
        yield calls


def again(table: str, out: Path, *more: str) -> None:
    reproduce([table, "--out", str(out), "--device", "cpu", *more])


def table_of(out: Path) -> dict[tuple[str, str], dict[str, str]]:
    """table.csv by (of, figure) and column."""
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        return {(row.pop("of"), row.pop("figure")): row for row in csv.DictReader(file)}


def metrics(out: Path, cell: str, task: str) -> Any:
    return json.loads((out / "cells" / cell / "metrics.json").read_text())[task][-1]


# -- the data --------------------------------------------------------------------------------------


def test_the_papers_figures_are_the_papers() -> None:
    lines = [line.split() for line in INPAINTING.split("\n") if line]
    stages = ("Inf+Gen", "Inf+T_z+Gen", "Inf+T_z+Gen+T_x")
    figure5 = {
        mask: {
            f"{kind}, {stage}": float(block[1 + row][2 * column + kinds])
            for row, stage in enumerate(stages)
            for kinds, kind in enumerate(("PSNR", "SSIM"))
        }
        for block in (lines[:4], lines[4:])
        for column, mask in enumerate(block[0])
    }
    assert {**PUBLISHED, "figure5": figure5} == {
        name: {column.name: dict(column.published) for cell in sweep.cells for column in cell.columns}
        for name, sweep in SWEEPS.items()
        if not sweep.transposed
    }


@pytest.mark.parametrize("table", SWEEPS)
@pytest.mark.parametrize(
    ("scale", "preset"), [("small", "digits"), ("small", "fashion_mnist"), ("paper", "digits")]
)
def test_every_cell_is_its_preset_but_for_what_it_changes(table: Any, scale: Any, preset: Any) -> None:
    job = Job(table=table, scale=scale, out=Path("nowhere"), small=preset, seed=3)
    assert job.cells
    for cell in job.cells:
        settings = job.settings(cell)
        assert cell.method is not None
        base = presets.preset(job.base(cell), cell.method)
        changes = {**cell.changes, **(cell.small if scale == "small" else {})}
        assert config.check(settings) == settings
        assert (settings.method.name, settings.seed) == (cell.method, 3)
        seen = {line.split(" is ")[0] for line in config.differences(settings, base)} - {"seed"}
        if scale == "small":
            assert settings.run.steps == SWEEPS[table].updates[preset]
            assert settings.run.evaluate_every == 0  # so that every cell is measured after equally many updates
            seen = {name for name in seen if not name.startswith("run.")} - {"images.size"}
        assert seen <= set(changes)
        for path, value in changes.items():
            found: Any = settings
            start: Any = base
            for name in path.split("."):
                found, start = getattr(found, name), getattr(start, name)
            if isinstance(value, Times):
                value = start * value.factor
            elif isinstance(value, OfUpdates):
                value = round(settings.run.steps * value.part)
            assert found == value
        assert {name for column in cell.columns for name in column.published} <= {r.name for r in job.sweep.rows}
        n = 30_000 if job.base(cell) == "celeba_hq256" else 50_000
        assert job.plan(cell).n == (n if scale == "paper" else 1500)
    ours = (*job.sweep.tasks, "seconds", "distance", "score", "millions", "steps")
    assert {row.path.split(".")[0] for row in job.rows} <= set(ours)
    assert len({cell.name for cell in job.cells}) == len(job.cells)


def test_the_swept_settings_are_the_papers() -> None:
    def sweep(table: Any, look: Callable[[Any], Any], scale: Any = "paper", small: Any = "digits") -> list[Any]:
        job = Job(table=table, scale=scale, out=Path("nowhere"), small=small)
        return [look(job.settings(cell)) for cell in job.cells]

    chains = [(steps, steps) for steps in (10, 20, 30, 50)]
    assert sweep("table5", lambda c: (c.method.data_chain.steps, c.method.test_chain.steps)) == chains
    starts = [("prior", 10), ("prior", 30), ("draw", 10), ("draw", 30)]
    assert sweep("table4", lambda c: (c.method.latent_start, c.method.latent_chain.steps)) == starts
    assert sweep("table7", lambda c: c.networks.energy_width) == [256, 512, 1024]
    assert sweep("table7", lambda c: c.networks.energy_width, "small") == [8, 16, 32]
    assert sweep("table7", lambda c: c.networks.energy_width, "small", "fashion_mnist") == [16, 32, 64]
    assert sweep("table3", lambda c: c.data) == ["cifar10", "celeba64"] * 8
    assert sweep("table9", lambda c: c.preset) == ["cifar10_simple"] * 2 + ["cifar10"]
    assert sweep("table9", lambda c: c.networks.family, "small") == ["simple"] * 2 + ["residual"]
    assert sweep("figure5", lambda c: (c.data, c.images.size)) == [("celeba64", 64)]
    assert sweep("table5", lambda c: c.images.size, "small", "fashion_mnist") == [16] * 4


def test_a_setting_that_does_not_exist_cannot_be_changed() -> None:
    with pytest.raises(KeyError, match="stepz"):
        changed(presets.preset("digits"), {"method.data_chain.stepz": 3})


# -- carried out -----------------------------------------------------------------------------------


def test_table_5_holds_what_was_measured(small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    again("table5", out, "--json", str(tmp_path / "out.json"))
    said = capsys.readouterr()
    rows = table_of(out)
    cells = [f"L={steps}" for steps in (10, 20, 30, 50)]
    assert list(rows) == [
        ("paper", "FID"), ("ours", "fd_pixels_40"), ("paper", "Time (s)"), ("ours", "Time (s)")
    ]  # fmt: skip
    assert list(rows["paper", "FID"].values()) == ["14.78", "11.51", "9.26", "9.07"]
    told = json.loads((tmp_path / "out.json").read_text())
    for cell, entry in zip(cells, told["cells"], strict=True):
        steps = cell.removeprefix("L=")
        generation = metrics(out, cell, "generation")
        assert generation["steps"] == [0, int(steps)]
        distance = generation["figures"]["fd_pixels_40"][steps]
        seconds = median(line["seconds_per_step"] for line in log(out / "cells" / cell))
        assert float(rows["ours", "fd_pixels_40"][cell]) == distance
        assert float(rows["ours", "Time (s)"][cell]) == seconds
        assert entry["name"] == cell
        assert entry["figures"] == {"FID": {cell: distance}, "Time (s)": {cell: seconds}}
        assert entry["published"]["FID"] == {cell: PUBLISHED["table5"][cell]["FID"]}
    text = (out / "table.md").read_text()
    assert text == said.out.removesuffix("\n")
    assert "| paper: FID | 14.78 | 11.51 | 9.26 | 9.07 |" in text
    shown = " | ".join(f"{float(v):.4g}" for v in rows["ours", "fd_pixels_40"].values())
    assert f"| ours: fd\\_pixels\\_40 | {shown} |" in text
    assert "6 updates of 16 images" in text
    assert "weights ema of update 6, seed 0: fd_pixels_40: 40 samples to 1,500 images of digits:train" in text
    assert "not the paper's setting" in text
    assert said.err.splitlines()[0] == "cell 1 of 4: L=10, training 6 updates"
    assert all(line.startswith("cell ") for line in said.err.splitlines())


def test_table_4_measures_each_cell_from_where_its_chain_starts(small: None, tmp_path: Path) -> None:
    again("table4", tmp_path / "out")
    ours = table_of(tmp_path / "out")["ours", "MSE"]
    for cell, (start, steps) in {
        "L=10": ("from_noise", "10"),
        "L=30": ("from_noise", "30"),
        "Inf+L=10": ("from_inference", "10"),
        "Inf+L=30": ("from_inference", "30"),
    }.items():
        assert float(ours[cell]) == metrics(tmp_path / "out", cell, "reconstruction")[start][steps]["mse"]
    assert "are not to be relied on" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.parametrize(
    ("table", "task"),
    [
        ("figure2", "revision"),
        ("figure3", "reconstruction"),
        ("figure4", "interpolation"),
        ("figure5", "inpainting"),
    ],
)
def test_a_figure_is_drawn_beside_its_table(table: str, task: str, small: None, tmp_path: Path) -> None:
    again(table, tmp_path)
    drawing = tmp_path / f"{table}.png"
    with Image.open(drawing) as picture:
        assert min(picture.size) > 300
    rows, entry = table_of(tmp_path), metrics(tmp_path, "run", task)
    if table == "figure2":
        distance = entry["distance"]
        assert [*map(float, rows["ours", "fd_pixels_40"].values())] == [distance["0"], distance["30"]]
        mse = entry["latent_chain"]["mse"]
        assert [*map(float, rows["ours", "MSE"].values())] == [mse[0], mse[-1]]
    elif table == "figure3":
        assert float(rows["ours", "PSNR"]["L=20"]) == entry["from_noise"]["20"]["psnr"]
        assert float(rows["ours", "SSIM"]["Inf"]) == entry["inference"]["ssim"]
        assert ("paper", "MSE") not in rows
    elif table == "figure4":
        spherical = rows["ours", "log-density dips by, between images"]["spherical"]
        assert float(spherical) == entry["images"]["spherical"]["dip"]
    else:
        stages = entry["masks"]["R30"]["stages"]
        assert float(rows["ours", "SSIM, Inf+T_z+Gen"]["R30"]) == stages["latent_chain"]["ssim"]
        assert rows["paper", "PSNR, Inf+T_z+Gen+T_x"]["M40"] == "19.959"
    drawing.unlink()
    again(table, tmp_path)
    assert drawing.is_file()


def test_a_stopped_sweep_goes_on_with_what_is_not_done(
    small: None, made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped while the second of three cells is measured: its updates and the first cell are not made again."""
    measure, calls = running._measure, []

    def stopped(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*args)

    monkeypatch.setattr(running, "_measure", stopped)
    with pytest.raises(KeyboardInterrupt, match="same command goes on"):
        again("table7", tmp_path)
    assert len(made) == 2 * UPDATES
    ours = table_of(tmp_path)["ours", "fd_pixels_40"]
    assert ours["nef=256"]
    assert ours["nef=512"] == ours["nef=1024"] == ""
    first = listing(tmp_path / "cells" / "nef=256")
    again("table7", tmp_path)
    assert len(made) == 3 * UPDATES
    assert listing(tmp_path / "cells" / "nef=256") == first
    assert table_of(tmp_path)["ours", "fd_pixels_40"]["nef=256"] == ours["nef=256"]
    whole = listing(tmp_path / "cells")
    again("table7", tmp_path)
    assert len(made) == 3 * UPDATES
    assert listing(tmp_path / "cells") == whole
    assert len(calls) == 4  # one per cell, and the one that was stopped


def test_a_cell_stopped_in_training_ends_as_if_it_had_not_been(small: None, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
        with pytest.raises(KeyboardInterrupt):
            again("figure4", out)
    assert not (out / "cells" / "run" / "cell.json").exists()
    assert [line["step"] for line in log(out / "cells" / "run")] == [1, 2, 3, 4]
    again("figure4", out)
    assert [line["step"] for line in log(out / "cells" / "run")] == [1, 2, 3, 4, 5, 6]
    job = Job(table="figure4", scale="small", out=out)
    Trainer(job.settings(job.cells[0]), tmp_path / "whole", device="cpu", quiet=True).train()
    assert_same(checkpoint(out / "cells" / "run", UPDATES), checkpoint(tmp_path / "whole", UPDATES))


def test_a_cell_that_fails_leaves_the_others_to_go_on(small: None, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: losses._replace(energy=losses.energy * torch.nan))
        patch.setattr(rollback, "gives_up", lambda *_: True)
        with pytest.raises(TrainingError, match="cell nef=256 failed: training diverged at step 3"):
            again("table7", tmp_path)
    ours = table_of(tmp_path)["ours", "fd_pixels_40"]
    assert [name for name, value in ours.items() if value] == ["nef=512", "nef=1024"]
    remarks = table_of(tmp_path)["ours", "remark"]
    assert remarks["nef=256"].startswith("training diverged at step 3: ")
    assert remarks["nef=512"] == remarks["nef=1024"] == ""
    assert "| ours: remark | training diverged at step 3: " in (tmp_path / "table.md").read_text()
    again("table7", tmp_path)
    assert all(table_of(tmp_path)["ours", "fd_pixels_40"].values())


def test_a_cell_that_went_back_from_a_divergence_says_so(small: None, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: losses._replace(energy=losses.energy * torch.nan))
        again("table7", tmp_path)
    for _ in range(2):
        found = table_of(tmp_path)
        assert all(found["ours", "fd_pixels_40"].values())
        assert found["ours", "remark"]["nef=256"] == "training diverged and went back 1 times"
        assert found["ours", "remark"]["nef=512"] == ""
        again("table7", tmp_path)


def test_cells_are_measured_anew_but_not_trained_anew_when_another_measurement_is_asked_for(
    small: None, made: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again("figure4", tmp_path)
    first = table_of(tmp_path)
    monkeypatch.setitem(SWEEPS, "figure4", replace(SWEEPS["figure4"], plan=Plan(pairs=2)))
    again("figure4", tmp_path)
    assert len(made) == UPDATES
    assert table_of(tmp_path) != first
    evaluations = json.loads((tmp_path / "cells" / "run" / "metrics.json").read_text())
    assert [entry["pairs"] for entry in evaluations["interpolation"]] == [4, 2]


def test_a_folder_with_anything_else_is_refused_and_unharmed(small: None, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    again("figure4", out)
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    np.save(tmp_path / "few.npy", np.zeros((9, 8, 8), np.uint8))
    before = listing(tmp_path)
    for args, said in [
        (("figure4", out, "--seed", "1"), r"cells/run was trained with other settings: seed is 1, not 0 there"),
        (("figure4", out, "--data", "digits:test"), "data is digits:test, not digits there.*another --out"),
        (("figure3", out), "holds figure4 at small scale: choose another --out"),
        (("figure4", out, "--scale", "paper"), "holds figure4 at small scale"),
        (("figure4", other), "already exists and is no sweep"),
        (("table5", tmp_path / "new", "--features", "nonsense"), "no feature network 'nonsense'"),
        (("table5", tmp_path / "new", "--data", "nonsense"), "nonsense"),
        (("table5", tmp_path / "new", "--device", "abacus"), "abacus"),
        (("table5", tmp_path / "new", "--data", str(tmp_path / "few.npy")), "batch"),
    ]:
        with pytest.raises(InputError, match=said) as caught:
            again(*args)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        assert listing(tmp_path) == before


def test_cells_on_other_images_are_refused(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell is done on a file of images; the file is replaced; the other cells must not be trained on it."""
    file, draw = tmp_path / "images.npy", np.random.default_rng(0)
    np.save(file, draw.integers(0, 256, (60, 8, 8), dtype=np.uint8))
    monkeypatch.setattr(running, "_measure", lambda *args: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        again("table7", tmp_path / "out", "--data", str(file))
    np.save(file, draw.integers(0, 256, (61, 8, 8), dtype=np.uint8))
    before = listing(tmp_path)
    with pytest.raises(InputError, match=r"not those that .*nef=256 was trained on"):
        again("table7", tmp_path / "out", "--data", str(file))
    assert listing(tmp_path) == before


def test_a_dry_run_tells_and_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again("table7", tmp_path / "out", "--scale", "paper", "--dry-run", "--json", str(tmp_path / "cells.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["cells.json"]
    cells = json.loads((tmp_path / "cells.json").read_text())["cells"]
    assert [cell["changes"] for cell in cells] == [
        ["networks.energy_width is 256, not 512"], [], ["networks.energy_width is 1024, not 512"]
    ]  # fmt: skip
    assert [cell["config"]["networks"]["energy_width"] for cell in cells] == [256, 512, 1024]
    said = capsys.readouterr().out
    assert "nef=1024: preset cifar10, 150,500 updates" in said
    assert f"energy {cells[2]['parameters']['energy']:,}" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["table10"], "unknown table 'table10': choose one of table1, .*, figure5"),
        ([], "TABLE"),
        (["table5", "--scale", "large"], "scale"),
        (["table5", "--scale", "paper", "--preset", "digits"], "--preset digits goes with --scale small"),
        (["table3", "--scale", "paper", "--data", "digits"], "cifar10, celeba64: give one reference for each"),
        (["table5", "--data", "digits", "mnist"], "trains on digits: give one reference"),
        (["table5", "--seed", "-1"], "seed"),
        (["figure3", "--features", "pixels"], "figure3 measures no distance"),
    ],
)
def test_bad_arguments_are_one_line(args: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        reproduce(args)
    assert "\n" not in str(caught.value)


def test_a_run_trained_before_is_measured_and_not_trained_again(
    small: None, made: list[int], tmp_path: Path
) -> None:
    """One training serves every figure: equal tables, and no update more."""
    again("figure4", tmp_path / "first")
    (cell,) = (tmp_path / "first" / "cells").iterdir()
    updates, before = len(made), (cell / "cell.json").read_text()
    again("figure4", tmp_path / "second", "--run", str(cell))
    assert (tmp_path / "second" / "table.csv").read_text() == (tmp_path / "first" / "table.csv").read_text()
    again("figure2", tmp_path / "third", "--run", str(cell))
    assert (tmp_path / "third" / "figure2.png").is_file()
    assert len(made) == updates
    assert (cell / "cell.json").read_text() == before
    with pytest.raises(InputError, match="cells, not one run"):
        again("table5", tmp_path / "fourth", "--run", str(cell))
    with pytest.raises(InputError, match="trained with other settings"):
        reproduce(["figure4", "--scale", "paper", "--out", str(tmp_path / "fifth"), "--run", str(cell)])
    with pytest.raises(InputError, match="config"):
        again("figure4", tmp_path / "sixth", "--run", str(tmp_path / "nowhere"))
