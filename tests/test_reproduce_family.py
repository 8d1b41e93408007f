"""Tables of methods: quoted numbers are the paper's, quoted lines never run, lines say why they are empty."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_reproduce import UPDATES, again, metrics, small  # noqa: F401
from tiny import at_update, listing, log

from dualmcmc import cost
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.methods import METHODS, VAEBM
from dualmcmc.reproduce import measured, running, table
from dualmcmc.reproduce.folder import SweepFolder
from dualmcmc.reproduce.job import Job
from dualmcmc.reproduce.sweeps import REFERENCES, SWEEPS, Row
from dualmcmc.storage import pretrained
from dualmcmc.training import rollback

# The paper's tables, typed a second time; a dash is a figure that it does not print.
PAPER = {
    "table1": """
        CIFAR-10 IS | CIFAR-10 FID | CelebA-64 FID
        Ours 8.55 9.26 5.15
        Cooperative EBM [43] 6.55 33.61 16.65
        Amortized EBM [44] 6.65 - -
        Divergence Triangle [15] 7.23 30.10 18.21
        No MCMC EBM [12] - 27.5 -
        Short-run EBM [29] 6.21 - 23.02
        IGEBM [5] 6.78 38.2 -
        ImprovedCD EBM [6] 7.85 25.1 -
        Diffusion EBM [8] 8.30 9.58 5.98
        VAEBM [40] 8.43 12.19 5.31
        NCP-VAE [1] - 24.08 5.25
        SNGAN [27] 8.22 21.7 6.1
        StyleGANv2 w/o ADA [20] 8.99 9.9 2.32
        NCSN [35] 8.87 25.32 25.30
        DDPM [18] 9.46 3.17 3.93
    """,
    "table2": """
        CelebA-HQ-256 FID | LSUN-Church-64 FID
        Ours 15.89 4.56
        Diffusion EBM [8] - 7.02
        VAEBM [40] 20.38 13.51
        NCP-VAE [1] 27.79 -
        GLOW [22] 68.93 59.35
        PGGAN [19] 21.7 6.1
    """,
    "table3": """
        CIFAR-10 MSE | CelebA-64 MSE
        VAE [21] 0.0341 0.0438
        WAE [37] 0.0291 0.0237
        RAE [9] 0.0231 0.0246
        ABP [14] 0.0183 0.0277
        SR-ABP [31] 0.0262 0.0330
        Cooperative EBM [43] 0.0271 0.0387
        Divergence Triangle [15] 0.0237 0.0281
        Ours (Inf) 0.0214 0.0227
        Ours (Inf+L=10) 0.0072 0.0164
        PCA - -
    """,
    "table8": """
        SVHN | CIFAR-100 | CelebA
        Ours 0.94 0.64 0.85
        Divergence Triangle [15] 0.68 - 0.56
        No MCMC EBM [12] 0.83 0.73 0.33
        IGEBM [5] 0.63 0.50 0.70
        ImprovedCD EBM [6] 0.91 0.83 -
        VAEBM [40] 0.83 0.62 0.77
        JEM [11] 0.67 0.67 0.75
        HDGE 0.96 0.91 0.80
        OOD EBM 0.91 0.87 0.78
        OOD EBM (fine-tuned) 0.99 0.94 1.00
    """,
}
RUN = {
    "table1": "dual_mcmc cooperative amortized divergence_triangle no_mcmc short_run persistent improved_cd "
    "recovery_likelihood vaebm",
    "table2": "dual_mcmc recovery_likelihood vaebm",
    "table3": "vae wae rae abp short_run_abp cooperative divergence_triangle dual_mcmc",
    "table6": "cooperative divergence_triangle no_mcmc dual_mcmc",
    "table8": "dual_mcmc divergence_triangle no_mcmc persistent improved_cd vaebm jem",
    "table9": "divergence_triangle dual_mcmc",
}
"""The methods that each table runs, in its order."""


def typed(name: str) -> dict[str, dict[str, str]]:
    """The table above by line and column, as numbers are shown; "" where there is none."""
    head, *lines = (line.strip() for line in PAPER[name].strip().splitlines())
    columns = head.split(" | ")
    found = {}
    for line in lines:
        name, *values = line.rsplit(" ", len(columns))
        shown = ["" if value == "-" else f"{float(value):g}" for value in values]
        found[name] = dict(zip(columns, shown, strict=True))
    return found


def lines_of(out: Path) -> dict[str, dict[str, str]]:
    """table.csv by line and column."""
    with (out / "table.csv").open(encoding="utf-8", newline="") as file:
        return {row.pop("method"): row for row in csv.DictReader(file)}


def empty(name: Any, scale: Any) -> table.Table:
    """A table of nothing done."""
    job = Job(table=name, scale=scale, out=Path("nowhere"))
    return table.read(job, SweepFolder(job.out), None, {})


def keep(patch: pytest.MonkeyPatch, name: Any, *methods: str) -> None:
    """Leaves these methods' runs, and what is quoted."""
    sweep = SWEEPS[name]
    patch.setitem(
        SWEEPS, name, replace(sweep, cells=tuple(c for c in sweep.cells if c.method in (None, *methods)))
    )


# -- the data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["small", "paper"])
@pytest.mark.parametrize("name", PAPER)
def test_quoted_numbers_are_the_papers(name: str, scale: str) -> None:
    found = empty(name, scale)
    places = [i for i, head in enumerate(found.heads) if head.of == "paper"]
    seen = {
        line.name: {found.heads[i].name: "" if line.values[i] is None else f"{line.values[i]:g}" for i in places}
        for line in found.lines
    }
    assert seen == typed(name)
    assert list(seen) == list(typed(name))


def test_ours_stand_beside_each_of_the_papers() -> None:
    def heads(name: str, scale: str) -> list[str]:
        return [head.name for head in empty(name, scale).heads if head.of == "ours"]

    assert heads("table1", "paper") == ["CIFAR-10 IS", "CIFAR-10 distance", "CelebA-64 distance"]
    assert heads("table1", "small") == ["digits IS", "digits distance"]
    assert heads("table2", "paper") == ["CelebA-HQ-256 distance", "LSUN-Church-64 distance"]
    assert heads("table3", "paper") == ["CIFAR-10 MSE", "CelebA-64 MSE"]
    assert heads("table8", "paper") == ["SVHN", "CIFAR-100", "CelebA"]
    assert heads("table8", "small") == ["shuffled", "means", "blurred"]


@pytest.mark.parametrize("name", RUN)
def test_each_method_runs_once_on_each_data_set_and_quoted_lines_never(name: Any) -> None:
    for scale in ("small", "paper"):
        job = Job(table=name, scale=scale, out=Path("nowhere"))  # type: ignore[arg-type]
        assert not [cell for cell in job.cells if cell.method is None]
        assert list(dict.fromkeys(cell.method for cell in job.cells)) == RUN[name].split()
        if job.sweep.transposed:
            runs = [(cell.method, job.base(cell)) for cell in job.cells]
            assert len(set(runs)) == len(runs) == len(RUN[name].split()) * len(job.bases)
    assert set(RUN[name].split()) <= set(METHODS)


def test_no_line_has_two_places_on_a_data_set() -> None:
    for sweep in SWEEPS.values():
        if sweep.transposed:
            places = [(cell.data, column.title) for cell in sweep.cells for column in cell.columns]
            assert len(set(places)) == len(places)


def test_every_reference_is_cited_and_every_citation_is_there() -> None:
    cells = [cell for sweep in SWEEPS.values() for cell in sweep.cells]
    assert {column.reference for cell in cells for column in cell.columns} - {None} == set(REFERENCES)
    below = empty("table2", "small").notes
    assert sum("[19] Karras et al., Progressive growing of GANs" in note for note in below) == 1


def test_figures_lie_where_tasks_put_them() -> None:
    entries = {
        "distance": [3.0, 2.0],
        "score": [None, None],
        "reconstruction": {"from_noise": {"10": {"mse": 0.5}}, "from_inference": {}},
    }
    assert measured.look_up(entries, "distance.-1") == 2.0
    assert measured.look_up(entries, "reconstruction.from_noise.10.mse") == 0.5
    # What the method or the features have not: no figure, and no error.
    for path in ("score.-1", "reconstruction.inference.mse", "reconstruction.from_inference.10.mse", "ood.sets.a"):
        assert measured.look_up(entries, path) is None


def stopped(*args: Any) -> Any:
    """What is measured when somebody stops the sweep."""
    raise KeyboardInterrupt


# -- carried out ------------------------------------------------------------------------------------


def test_table_1_has_a_line_for_each_method_and_for_what_is_quoted(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep(monkeypatch, "table1", "divergence_triangle", "vaebm")
    out = tmp_path / "out"
    again("table1", out, "--json", str(tmp_path / "out.json"))
    lines = lines_of(out)
    assert sorted(path.name for path in (out / "cells").iterdir()) == ["divergence_triangle", "vaebm"]
    for name, method, steps in (
        ("Divergence Triangle [15]", "divergence_triangle", 0),
        ("VAEBM [40]", "vaebm", 16),
    ):
        distance = metrics(out, method, "generation")["figures"]["fd_pixels_40"][str(steps)]
        assert lines[name]["ours: digits fd_pixels_40"] == repr(distance)
        assert lines[name]["ours: digits IS"] == ""  # of pixels there is none
    quoted = lines["SNGAN [27]"]
    assert quoted == {
        "paper: CIFAR-10 IS": "8.22",
        "paper: CIFAR-10 FID": "21.7",
        "paper: CelebA-64 FID": "6.1",
        "ours: digits IS": "",
        "ours: digits fd_pixels_40": "",
    }
    shown = capsys.readouterr().out
    assert "| SNGAN [27] | 8.22 | 21.7 | 6.1 | – | – |" in shown
    assert "[27] Miyato et al." in shown
    assert log(out / "cells" / "vaebm")[-1]["step"] == UPDATES
    told = {cell["name"]: cell for cell in json.loads((tmp_path / "out.json").read_text())["cells"]}
    assert told["SNGAN, CIFAR-10"]["run"] is None
    assert told["SNGAN, CIFAR-10"]["published"] == {"IS": {"SNGAN": 8.22}, "FID": {"SNGAN": 21.7}}
    assert not told["SNGAN, CIFAR-10"]["done"]
    assert told["vaebm"]["done"]
    again("table1", out)
    assert lines_of(out) == lines


def test_vaebm_spends_half_of_its_updates_on_its_autoencoder() -> None:
    for scale in ("small", "paper"):
        job = Job(table="table2", scale=scale, out=Path("nowhere"))  # type: ignore[arg-type]
        for cell in job.cells:
            settings = job.settings(cell)
            if isinstance(settings.method, VAEBM):
                assert abs(settings.method.vae_steps - settings.run.steps / 2) <= 0.5


def test_a_diverged_line_says_where(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dual-MCMC diverges; the other line goes on; the next try, which does not, leaves no remark."""
    keep(monkeypatch, "table2", "dual_mcmc", "vaebm")
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: losses._replace(energy=losses.energy * torch.nan))
        patch.setattr(rollback, "gives_up", lambda *_: True)
        with pytest.raises(TrainingError, match="cell dual_mcmc failed: training diverged at step 3"):
            again("table2", tmp_path)
    lines = lines_of(tmp_path)
    assert lines["Ours"]["remark"].startswith("digits: training diverged at step 3: ")
    assert lines["Ours"]["ours: digits fd_pixels_40"] == ""
    assert lines["VAEBM [40]"]["ours: digits fd_pixels_40"]
    assert [name for name, line in lines.items() if line["remark"]] == ["Ours"]
    assert "| digits: training diverged at step 3: " in (tmp_path / "table.md").read_text()
    again("table2", tmp_path)
    lines = lines_of(tmp_path)
    assert lines["Ours"]["ours: digits fd_pixels_40"]
    assert "remark" not in lines["Ours"]


def test_jem_without_labels_is_a_line_that_says_why(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keep(monkeypatch, "table8", "divergence_triangle", "jem")
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8))
    again("table8", tmp_path / "out", "--data", str(images))
    lines = lines_of(tmp_path / "out")
    assert "method jem needs labels" in lines["JEM [11]"]["remark"]
    assert lines["JEM [11]"]["ours: means"] == ""
    sets = metrics(tmp_path / "out", "divergence_triangle", "ood")["sets"]
    for name in ("shuffled", "means", "blurred"):
        auroc = sets[name]["log_density"]["auroc"]
        assert lines["Divergence Triangle [15]"][f"ours: {name}"] == repr(auroc)
    assert set(sets) == {"shuffled", "means", "blurred"}
    assert [path.name for path in (tmp_path / "out" / "cells").iterdir()] == ["divergence_triangle"]
    assert "cannot be run: method jem needs labels" in capsys.readouterr().err


def test_jem_takes_its_classes_from_the_data_and_goes_on(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep(monkeypatch, "table8", "jem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "_measure", stopped)
        with pytest.raises(KeyboardInterrupt):
            again("table8", tmp_path)
    run = tmp_path / "cells" / "jem"
    assert json.loads((run / "config.json").read_text())["config"]["method"]["classes"] == 10
    again("table8", tmp_path)
    assert [line["step"] for line in log(run)] == list(range(1, UPDATES + 1))
    auroc = metrics(tmp_path, "jem", "ood")["sets"]["means"]["log_density"]["auroc"]
    assert lines_of(tmp_path)["JEM [11]"]["ours: means"] == repr(auroc)
    before = listing(tmp_path / "cells")
    again("table8", tmp_path)
    assert listing(tmp_path / "cells") == before


def test_table_3_measures_each_method_by_what_it_infers_with(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep(monkeypatch, "table3", "vae", "abp", "dual_mcmc")
    again("table3", tmp_path)
    found = {method: metrics(tmp_path, method, "reconstruction") for method in ("vae", "abp", "dual_mcmc")}
    assert "inference" not in found["abp"]
    lines = {name: line["ours: digits MSE"] for name, line in lines_of(tmp_path).items()}
    assert lines == {
        "VAE [21]": repr(found["vae"]["inference"]["mse"]),
        "ABP [14]": repr(found["abp"]["from_noise"]["10"]["mse"]),
        "Ours (Inf)": repr(found["dual_mcmc"]["inference"]["mse"]),
        "Ours (Inf+L=10)": repr(found["dual_mcmc"]["from_inference"]["10"]["mse"]),
        "PCA": repr(found["dual_mcmc"]["pca"]["mse"]),
    }


def test_table_9_counts_learned_numbers_and_steps(small: None, tmp_path: Path) -> None:  # noqa: F811
    again("table9", tmp_path)
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file) if row["of"] == "ours"}
    columns = {
        "divergence_triangle": "Divergence Triangle [15]",
        "simple": "Ours 1",
        "residual": "Ours 2",
    }
    for cell, column in columns.items():
        weights = load_file(tmp_path / "cells" / cell / "model" / "model.safetensors")
        for name, kind in (
            ("# EBM (M)", "energy"),
            ("# Generator (M)", "generator"),
            ("# Inference (M)", "inference"),
        ):
            count = sum(tensor.numel() for key, tensor in weights.items() if key.startswith(f"{kind}."))
            assert float(rows[name][column]) == count / 1e6
    assert [float(rows["Langevin steps on x"][column]) for column in columns.values()] == [0, 3, 3]
    assert [float(rows["Langevin steps on z"][column]) for column in columns.values()] == [0, 2, 2]


def test_simple_networks_have_the_sizes_that_table_9_states() -> None:
    """8, 5 and 2 million, and 16, 15 and 16, to the nearest."""
    job = Job(table="table9", scale="paper", out=Path("nowhere"))
    for cell in job.cells:
        with torch.device("meta"):
            counts = cost.parameters(pretrained.build_trio(job.settings(cell), spectral_norm=False))
        published = cell.columns[0].published
        for kind, name in (("generator", "Generator"), ("inference", "Inference"), ("energy", "EBM")):
            assert abs(counts[kind] / 1e6 - published[f"# {name} (M)"]) < 1


def test_a_method_that_lacks_what_a_task_needs_has_no_figure(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Reconstructions take a generator: the line of an energy alone stays empty, the others are measured."""
    sweep = SWEEPS["table6"]
    mse = Row(name="MSE", path="reconstruction.from_noise.10.mse")
    short = {"method.data_chain.steps": 3, "method.test_chain.steps": 3}
    cells = (replace(sweep.cells[0], name="none", method="short_run", changes=short), sweep.cells[0])
    tasks = ("generation", "reconstruction")
    monkeypatch.setitem(SWEEPS, "table6", replace(sweep, cells=cells, rows=(*sweep.rows, mse), tasks=tasks))
    again("table6", tmp_path)
    read = {
        name: json.loads((tmp_path / "cells" / name / "cell.json").read_text())["figures"]
        for name in ("none", "cooperative")
    }
    assert read["none"]["MSE"] == {"Cooperative EBM": None}
    assert read["cooperative"]["MSE"]["Cooperative EBM"] > 0


def test_sets_that_are_not_there_are_missed_before_training(
    small: None,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SWEEPS, "table8", replace(SWEEPS["table8"], small_plan={"ood": ("means", "nonsense")}))
    with pytest.raises(InputError, match="nonsense"):
        again("table8", tmp_path / "out")
    assert listing(tmp_path) == {}


def test_a_dry_run_names_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(monkeypatch, "table8", "divergence_triangle", "jem")
    again("table8", tmp_path / "out", "--dry-run", "--json", str(tmp_path / "cells.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["cells.json"]
    cells = json.loads((tmp_path / "cells.json").read_text())["cells"]
    assert [(cell["method"], cell["changes"][:1]) for cell in cells] == [
        (name, ["run.steps is 2000, not 1600"]) for name in ("divergence_triangle", "jem")
    ]
    said = capsys.readouterr().out
    assert "jem: preset digits, method jem, 2,000 updates" in said
    assert "HDGE" not in said
