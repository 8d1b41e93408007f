"""Models that come with the library: there without a network, small, found by name, and what their cards say."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dualmcmc import InputError, Model, data, presets
from dualmcmc.cli import main
from dualmcmc.cli.train import _options as train_options
from dualmcmc.metrics import compare
from dualmcmc.storage import evaluations
from dualmcmc.storage.bundled import LARGEST, NAMES, folder
from dualmcmc.storage.card import front_matter
from dualmcmc.storage.pretrained import FILES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any) -> None:
        raise AssertionError("a bundled model asked for the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_works_without_a_network(name: str) -> None:
    model = Model.from_pretrained(name)
    x = model.sample(4)
    assert x.isfinite().all()
    assert x.std() > 0.1
    scores = model.score(x)
    assert (scores.percentile >= 0).all()
    assert not torch.equal(x, model.sample(4, steps=0))  # its chain moves
    assert (x - model.reconstruct(x)).square().mean() < x.var()


@pytest.mark.parametrize("name", NAMES)
def test_its_files_are_small_whole_and_name_no_machine(name: str) -> None:
    files = {path.name: path for path in folder(name).iterdir()}
    assert set(files) == FILES
    assert files["model.safetensors"].stat().st_size <= LARGEST
    assert files["picture.png"].stat().st_size < 200_000
    for path in files.values():
        if path.suffix in (".json", ".md"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"[\s\"'](/[a-z]+/|[A-Z]:\\)", text), path.name
    model = Model.from_pretrained(name)
    assert model.config.data == name
    assert model.training_scores is not None
    assert model.training_scores.data == f"{name}:train"


@pytest.mark.parametrize("name", NAMES)
def test_its_card_shows_the_figures_of_its_metrics_file(name: str) -> None:
    rows = evaluations.figures(Model.from_pretrained(name).evaluations())
    measured = {row.name: row.value for row in rows}
    (entry,) = front_matter(folder(name))["model-index"]
    shown = {m["name"]: m["value"] for result in entry["results"] for m in result["metrics"]}
    assert shown == measured
    assert {row.kind for row in rows} >= {"mse", "auroc"}
    assert any(row.kind.startswith("fd_") for row in rows)
    assert all(row.data.startswith(f"{name}:") for row in rows)
    text = (folder(name) / "README.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row.name} | {row.value:.4g} | {row.data} | {row.how} |" in text


@pytest.mark.parametrize("name", NAMES)
def test_its_card_has_the_command_that_gives_its_settings(name: str) -> None:
    text = (folder(name) / "README.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"(?m)^dualmcmc train (.*)$", text)
    model = Model.from_pretrained(name)
    assert train_options(shlex.split(words)).config == model.config
    assert 0 < model.step <= model.config.run.steps
    assert front_matter(folder(name))["license"] == "apache-2.0"


def test_a_figure_of_the_digits_is_found_again() -> None:
    """Held-out digits by inference alone: one forward pass of two networks, so equal but for rounding."""
    model = Model.from_pretrained("digits")
    recorded = model.evaluations()["reconstruction"]
    images = data.load("digits:test", model.config.images)
    assert (len(images), images.fingerprint) == (recorded["protocol"]["n"], recorded["protocol"]["fingerprint"])
    x = images.tensor(range(len(images)))
    mse = compare(x, model.reconstruct(x, steps=0)).mse.mean().item()
    assert mse == pytest.approx(recorded["inference"]["mse"], rel=1e-4)


def test_a_command_writes_to_the_working_folder(capsys: Capture) -> None:
    before = sorted(folder("digits").iterdir())
    assert main(["sample", "digits", "-n", "2"]) == 0
    assert sorted(Path("generated/chain").iterdir()) == [Path(f"generated/chain/0000{i}.png") for i in (0, 1)]
    assert main(["score", "digits", "--data", "digits:test", "-n", "3"]) == 0
    assert Path("scores.csv").is_file()
    assert sorted(folder("digits").iterdir()) == before
    capsys.readouterr()


def test_training_may_start_from_a_bundled_model(capsys: Capture) -> None:
    command = [
        "train",
        "digits",
        "--init",
        "digits",
        "--steps",
        "1",
        "--run.evaluate-images",
        "8",
        "--device",
        "cpu",
    ]
    assert main([*command, "--out", "run"]) == 0
    assert json.loads(Path("run/config.json").read_text())["init"] is not None
    capsys.readouterr()


def test_a_model_of_that_name_in_the_working_folder_comes_first(trained: Path) -> None:
    bundled = Model.from_pretrained("digits")
    shutil.copytree(trained, "digits")
    own = Model.from_pretrained("digits")
    assert own.config == Model.from_pretrained(trained).config != bundled.config
    assert own.source == Path("digits").resolve()


def test_a_path_of_that_name_without_a_model_is_an_error_and_no_other_model(capsys: Capture) -> None:
    Path("digits").mkdir()
    for _ in range(2):
        assert main(["sample", "digits"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == "dualmcmc: digits here holds no model, and hides the bundled model of its name: rename it"
        shutil.rmtree("digits", ignore_errors=True)
        Path("digits").touch()


def test_who_names_no_model_is_told_of_the_bundled_ones() -> None:
    with pytest.raises(InputError, match=r"a bundled model \(digits, fashion_mnist\) or a hub id"):
        Model.from_pretrained("nowhere")


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    """release/check.py, what `make release-check` runs."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "release"))
    return importlib.import_module("check")


def test_release_check_finds_figures_that_are_not_those_of_the_card(check: Any) -> None:
    """Equal figures are none; each one moved by more than its tolerance, or missing, is one line."""
    rows = check.recorded("digits")
    assert list(check.differences(rows, rows)) == []
    for i, row in enumerate(rows):
        for sign in (-1, 1):
            moved = row._replace(value=row.value + sign * 1.01 * check.tolerance(row))
            (line,) = check.differences(rows, [*rows[:i], moved, *rows[i + 1 :]])
            assert row.name in line
            near = row._replace(value=row.value + sign * 0.99 * check.tolerance(row))
            assert list(check.differences(rows, [*rows[:i], near, *rows[i + 1 :]])) == []
        (line,) = check.differences(rows, [*rows[:i], *rows[i + 1 :]])
        assert line.endswith("was not measured")


def test_release_check_finds_a_card_that_says_something_else(
    check: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder("digits"), tmp_path / "digits")
    monkeypatch.setattr(check, "folder", lambda name: tmp_path / name)
    assert list(check.faults_of("digits")) == []
    path = tmp_path / "digits" / "README.md"
    text = path.read_text(encoding="utf-8")
    value = next(line for line in text.splitlines() if "value:" in line)
    path.write_text(text.replace(value, value.replace("0.", "0.0"), 1), encoding="utf-8")
    (line,) = check.faults_of("digits")
    assert "figures are not the" in line
    monkeypatch.setattr(check, "LARGEST", 1000)
    assert len(list(check.faults_of("digits"))) == 2


def test_saving_a_bundled_model_keeps_what_is_known_of_it(tmp_path: Path) -> None:
    Model.from_pretrained("digits").save_pretrained("mine", license="apache-2.0")
    assert json.loads(Path("mine/metrics.json").read_text()) == json.loads(
        (folder("digits") / "metrics.json").read_text(encoding="utf-8")
    )
    assert Path("mine/picture.png").read_bytes() == (folder("digits") / "picture.png").read_bytes()


def test_a_command_turns_a_switch_off_as_the_command_line_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "release"))
    settings = presets.preset("digits", "dual_mcmc")
    plain = replace(settings, networks=replace(settings.networks, spectral_norm=False))
    assert "--networks.no-spectral-norm" in importlib.import_module("bundle").command(plain)
