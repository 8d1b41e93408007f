"""A percentile is a rank among training images; the verb says so per image, and names what it cannot read."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import listing

from dualmcmc import InputError, Model, cli, data
from dualmcmc.scoring import QUANTILES, TrainingScores
from dualmcmc.storage import pretrained

Capture = pytest.CaptureFixture[str]


def scores_of(values: np.ndarray) -> TrainingScores:
    return TrainingScores(np.quantile(values, np.linspace(0, 1, QUANTILES)), len(values), "some:train", "f")


def test_percentiles_of_the_training_scores_themselves_are_uniform() -> None:
    """The value below which a share p lies has percentile 100 p, to the grid of 1,001 quantiles."""
    values = np.random.default_rng(0).normal(1e5, 300.0, 20_000)
    percentile = scores_of(values).percentile(np.quantile(values, [0, 0.05, 0.5, 0.999, 1]))
    assert np.allclose(percentile, [0, 5, 50, 99.9, 100], atol=1e-6)
    assert scores_of(values).percentile(np.array([-1e9, 1e9])).tolist() == [0, 100]


def test_a_threshold_at_a_false_positive_rate_calls_that_share_of_training_images_anomalous() -> None:
    values = np.random.default_rng(1).normal(size=20_000)
    for fpr in (0.01, 0.05, 0.2):
        called = float((values < scores_of(values).threshold(fpr)).mean())
        assert abs(called - fpr) <= 1 / len(values) + 1e-12  # quantiles interpolate between two neighbours
    with pytest.raises(InputError, match="0 to 1"):
        scores_of(values).threshold(1.5)


def test_a_run_keeps_the_quantiles_of_its_training_images(trained: Path) -> None:
    model = Model.from_pretrained(trained)
    train = data.load("digits", model.config.images)
    assert model.training_scores is not None
    values = model.log_density(train.tensor(range(len(train)))).double().numpy()
    assert len(model.training_scores.quantiles) == QUANTILES
    assert model.training_scores.images == len(train)
    assert np.allclose(
        model.training_scores.quantiles, np.quantile(values, np.linspace(0, 1, QUANTILES)), rtol=1e-4, atol=1e-4
    )
    assert model.training_scores.fingerprint == train.fingerprint


def test_scores_are_log_density_reconstruction_error_and_rank(trained: Path) -> None:
    model = Model.from_pretrained(trained)
    x = data.load("digits:test", model.config.images).tensor(range(20))
    scores = model.score(x, seed=3)
    assert torch.equal(scores.log_density, model.log_density(x))
    error = (x - model.reconstruct(x, seed=3)).square().flatten(1).mean(1)
    assert torch.allclose(scores.reconstruction_mse, error)
    order = scores.log_density.argsort()
    assert (scores.percentile[order].diff() >= 0).all()  # a rank: as likely, so high
    assert torch.allclose(model.score(x[7:8], seed=3, keys=[7]).log_density, scores.log_density[7:8], rtol=1e-4)


def test_surprise_is_the_residual_and_the_gradient_over_channels(trained: Path) -> None:
    """Where |grad h| says: moving one pixel by a little changes h by its slope there, to first order."""
    model = Model.from_pretrained(trained)
    x = data.load("digits:test", model.config.images).tensor(range(3)) * 0.9
    surprise = model.surprise(x)
    assert torch.allclose(surprise.residual, (x - model.reconstruct(x)).abs()[:, 0])
    step, row, column = 1e-2, 3, 4
    moved = [x.clone(), x.clone()]
    moved[0][:, :, row, column] += step
    moved[1][:, :, row, column] -= step
    slope = (model.trio.h(moved[0]) - model.trio.h(moved[1])) / (2 * step)
    assert torch.allclose(surprise.gradient[:, row, column], slope.abs(), rtol=0.1, atol=1e-4)


def test_live_weights_have_no_quantiles_until_they_are_calibrated(trained: Path) -> None:
    model = Model.from_pretrained(trained, weights="live")
    x = torch.zeros(1, 1, 8, 8)
    with pytest.raises(InputError, match="calibrate"):
        model.score(x)
    model.calibrate(data.load("digits", model.config.images))
    assert 0 <= float(model.score(x).percentile) <= 100


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def score(run: Path, *arguments: str) -> int:
    return cli.main(["score", str(run), "--device", "cpu", *arguments])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_score_writes_a_row_per_image(run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "s.csv"
    assert score(run, "--data", "digits", "--out", str(out), "--batch-size", "50", "--json", "-") == 0
    figures = json.loads(capsys.readouterr().out)
    found = rows(out)
    assert list(found[0]) == ["path", "log_density", "reconstruction_mse", "percentile"]
    model = Model.from_pretrained(run)
    images = data.load("digits:test", model.config.images)
    assert [row["path"] for row in found] == list(images.names)
    expected = model.score(images.tensor(range(len(images))))
    for j, name in enumerate(("log_density", "reconstruction_mse", "percentile")):
        assert np.allclose([float(row[name]) for row in found], expected[j].numpy(), rtol=1e-3, atol=1e-3)
    assert figures["n"] == len(found) == 297
    assert figures["reference"] == {"data": "digits:train", "images": 1500}


def test_a_threshold_and_a_rate_mark_what_lies_below(run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert (
        score(run, "--data", "digits:train", "--fpr", "0.1", "--out", str(tmp_path / "a.csv"), "--json", "-") == 0
    )
    figures = json.loads(capsys.readouterr().out)
    marked = [row for row in rows(tmp_path / "a.csv") if row["anomalous"] == "1"]
    assert figures["anomalous"] == len(marked)
    assert abs(len(marked) / 1500 - 0.1) < 0.002  # the images the rate was set on
    threshold = str(figures["threshold"])
    assert score(run, "--data", "digits:train", "--threshold", threshold, "--out", str(tmp_path / "b.csv")) == 0
    assert rows(tmp_path / "b.csv") == rows(tmp_path / "a.csv")


def test_heat_maps_show_each_image_with_its_two_maps(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "heat"
    assert score(run, "--data", "digits", "-n", "3", "--heatmap", str(folder)) == 0
    pictures = sorted(folder.iterdir())
    assert len(pictures) == 3
    with Image.open(pictures[0]) as picture:
        panels = np.asarray(picture)
    model = Model.from_pretrained(run)
    x = data.load("digits:test", model.config.images).tensor([0])
    surprise = model.surprise(x, keys=[0])
    gradient = surprise.gradient[0] / surprise.gradient.max() * 255
    side, gap = 64, 2
    third = panels[gap : gap + side, gap + 2 * (side + gap) : gap + 2 * (side + gap) + side][4::8, 4::8]
    assert np.abs(third.astype(float) - gradient.numpy()).max() <= 1
    first = panels[gap : gap + side, gap : gap + side][4::8, 4::8]
    assert np.abs(first.astype(float) - (x[0, 0].numpy() + 1) * 127.5).max() <= 0.5


def folder_of_images(folder: Path, bad: tuple[str, ...]) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.png", "deep/b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(folder / name)
    for name in bad:
        (folder / name).write_bytes(b"no picture")
    return folder


def test_each_unreadable_file_is_named_and_nothing_is_written(run: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = folder_of_images(tmp_path / "images", ("broken.png", "deep/cut.jpg"))
    before, out = listing(run), tmp_path / "s.csv"
    assert score(run, "--data", str(folder), "--out", str(out)) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert str(folder / "broken.png") in said
    assert str(folder / "deep/cut.jpg") in said
    assert not out.exists()
    assert listing(run) == before
    assert score(run, "--data", str(folder), "--out", str(out), "--skip-bad") == 0
    assert [row["path"] for row in rows(out)] == [str(folder / "a.png"), str(folder / "deep/b.png")]


def test_a_model_without_quantiles_asks_for_a_reference(run: Path, capsys: Capture) -> None:
    (run / "model" / "scores.json").unlink()
    pretrained.seal(run / "model")
    assert score(run, "--data", "digits") == 2
    assert "--reference" in capsys.readouterr().err
    assert score(run, "--data", "digits", "-n", "5", "--reference", "digits:train") == 0
    assert len(rows(run / "scores.csv")) == 5


def test_damaged_quantiles_are_refused(run: Path, capsys: Capture) -> None:
    path = run / "model" / "scores.json"
    kept: dict[str, Any] = json.loads(path.read_text())
    for damage in (
        {"log_density_quantiles": [1.0, 2.0]},
        {"log_density_quantiles": [2.0] * 1000 + [1.0]},
        {"images": "x"},
    ):
        path.write_text(json.dumps({**kept, **damage}))
        pretrained.seal(run / "model")
        assert score(run, "--data", "digits") == 2
        assert "scores.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "1", "--fpr", "0.1"], "exclude each other"),
        (["--threshold", "nan"], "give a finite number"),
        (["--threshold", "inf"], "give a finite number"),
        (["--fpr", "2"], "0 to 1"),
        (["-n", "0"], "1 or more"),
        (["-n", "5000"], "297 images"),
        (["--out", "scores.txt"], ".csv"),
        (["--steps", "-1"], "0 or more"),
    ],
)
def test_bad_arguments_are_refused(run: Path, arguments: list[str], said: str, capsys: Capture) -> None:
    assert score(run, "--data", "digits", *arguments) == 2
    assert said in capsys.readouterr().err
