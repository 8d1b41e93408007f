"""The verbs that measure and use a trained model: what they write, what they print, what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_tasks import close
from tiny import listing

from dualmcmc import Model, cli, data
from dualmcmc.metrics import compare
from dualmcmc.paths import between
from dualmcmc.report.evaluations import newest
from dualmcmc.report.reading import read

Capture = pytest.CaptureFixture[str]
SMALL = ["-n", "40", "--held-out", "20", "--steps", "0", "3", "--chains", "20", "--pairs", "3", "--masks", "M20"]
TASKS = ["generation", "reconstruction", "revision", "interpolation", "ood", "inpainting"]


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def evaluate(run: Path, *arguments: str) -> int:
    return cli.main(["evaluate", str(run), "--device", "cpu", "--features", "pixels", *SMALL, *arguments])


def metrics(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


def test_an_evaluation_is_printed_drawn_and_kept_with_its_protocol(run: Path, capsys: Capture) -> None:
    assert evaluate(run, "--json", str(run / "e.json")) == 0
    printed = capsys.readouterr().out
    found = json.loads((run / "e.json").read_text())
    assert list(found) == TASKS
    kept = metrics(run)
    for task in TASKS:
        assert kept[task] == [found[task]]
        protocol = found[task]["protocol"]
        assert (protocol["weights"], protocol["seed"], protocol["device"]) == ("ema", 0, "cpu")
        assert f"{task}: " in printed
    assert f"{found['reconstruction']['inference']['mse']:.4g}" in printed
    assert f"{found['generation']['figures']['fd_pixels_40']['3']:.4g}" in printed
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert drawn == {"samples.png", "figure2.png", "figure3.png", "figure4.png", "figure5.png", "ood.png"}
    assert evaluate(run, "--tasks", "reconstruction", "--seed", "1") == 0
    again = metrics(run)
    assert len(again["reconstruction"]) == 2  # the newest last
    assert again["reconstruction"][1]["protocol"]["seed"] == 1
    assert again["training"] == kept["training"]


def test_another_batch_size_and_live_weights(run: Path) -> None:
    results = []
    for arguments in (["--batch-size", "64"], ["--batch-size", "7"], ["--weights", "live"]):
        assert evaluate(run, "--tasks", "generation", "reconstruction", *arguments) == 0
        results.append(
            (metrics(run)["generation"][-1]["figures"], metrics(run)["reconstruction"][-1]["inference"])
        )
    assert close(results[0][0], results[1][0], 1e-3)
    assert close(results[0][1], results[1][1], 1e-3)
    assert results[0][1] != results[2][1]


def test_two_processes_give_one_processs_figures(run: Path) -> None:
    """Uneven shares (41 samples, 21 images): sums in float64, so 1e-6 but for the chains' own rounding."""
    arguments = ["--tasks", *TASKS, "-n", "41", "--held-out", "21", "--batch-size", "10"]
    assert evaluate(run, *arguments, "--json", str(run / "one.json")) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    verb = ["evaluate", str(run), "--device", "cpu", "--features", "pixels", *SMALL, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [*command, "-m", "dualmcmc", *verb, "--json", str(run / "two.json")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((run / f"{name}.json").read_text()) for name in ("one", "two"))
    for task in TASKS:
        assert close(one[task], two[task], 1e-4), task
    assert len(metrics(run)["generation"]) == 2  # one entry each: only one process writes


def test_anybodys_images_are_measured_like_the_models_own(run: Path, tmp_path: Path) -> None:
    """`sample --steps 0` written as PNG and measured from the folder: the generator's figures, but for 8 bits."""
    out = tmp_path / "images"
    assert cli.main(["sample", str(run), "-n", "40", "--device", "cpu", "--out", str(out)]) == 0
    assert evaluate(run, "--tasks", "generation", "--json", str(tmp_path / "a.json")) == 0
    assert evaluate(run, "--images", str(out / "generator"), "--json", str(tmp_path / "b.json")) == 0
    ours = json.loads((tmp_path / "a.json").read_text())["generation"]["figures"]["fd_pixels_40"]["0"]
    entry = json.loads((tmp_path / "b.json").read_text())["images"]
    assert entry["figures"]["fd_pixels_40"]["images"] == pytest.approx(ours, rel=1e-3)
    assert entry["protocol"]["data"].startswith(str(out / "generator"))
    assert metrics(run)["images"] == [entry]
    assert len(metrics(run)["generation"]) == 1
    assert {path.name for path in (run / "figures").iterdir()} == {"samples.png", "images.png"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--held-out", "298"], "297 images"),
        (["-n", "19"], "20 or more"),
        (["-n", "0"], "-n 0: give 1 or more"),
        (["--reference-images", "2000"], "1500 images"),
        (["--steps", "-1"], "0 or more"),
        (["--features", "resnet"], "inception768"),
        (["--features", "cifar10_resnet20"], "--feature-weights"),
        (["--tasks", "fid"], "fid"),
        (["--masks", "M99x"], "neither a specification nor a file"),
        (["--ood", "no/such/folder"], "no/such/folder"),
        (["--data", "mnist"], "28x28"),
        (["--tasks", "generation", "--images", "no/such/folder"], "no/such/folder"),
        (["--images", "digits", "--tasks", "ood"], "nothing else"),
        (["--device", "cuda:99"], "device"),
        (["--ood"], "name some sets"),
        (["--masks"], "name some"),
        (["--ood", "digits", "digits:test"], "twice"),
        (["--tasks", "interpolation", "--held-out", "1", "--pairs", "1"], "each takes two"),
        (["--tasks", "interpolation", "--pairs", "100"], "each takes two"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_one_line_and_nothing_is_harmed(
    trained: Path, arguments: list[str], said: str, capsys: Capture
) -> None:
    before = listing(trained)
    assert evaluate(trained, "--tasks", "generation", "ood", "inpainting", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert error.count("\n") == 0
    assert listing(trained) == before


def test_a_damaged_metrics_file_is_refused_before_any_work(run: Path, capsys: Capture) -> None:
    for damage in ("{", "[]", '{"ood": 1}'):
        (run / "metrics.json").write_text(damage)
        before = listing(run)
        assert evaluate(run, "--tasks", "revision") == 2
        assert "metrics.json" in capsys.readouterr().err
        assert listing(run) == before


def test_drawings_below_a_file_are_refused_before_any_work(run: Path, capsys: Capture) -> None:
    before = listing(run)
    assert evaluate(run, "--tasks", "revision", "--out", str(run / "config.json" / "figures")) == 2
    assert "is a file" in capsys.readouterr().err
    assert listing(run) == before


def test_a_mask_that_hides_nothing_is_refused_before_any_work(run: Path, tmp_path: Path, capsys: Capture) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "black.png")
    assert evaluate(run, "--tasks", "reconstruction", "inpainting", "--masks", str(tmp_path / "black.png")) == 2
    assert "hides nothing" in capsys.readouterr().err
    assert not (run / "figures").exists()


def test_a_run_without_a_test_chain_is_evaluated(trained: Path, tmp_path: Path) -> None:
    from tiny import train

    run = tmp_path / "still"
    train(run, {"method.test_chain.steps": 0, "run.steps": 2})
    assert (
        cli.main(["evaluate", str(run), "--device", "cpu", "--features", "pixels", "-n", "40", "--held-out", "20"])
        == 0
    )
    assert metrics(run)["revision"][0]["distance"] is None
    assert metrics(run)["generation"][0]["steps"] == [0]


def test_inceptions_absent_weights_are_one_line_that_says_how_to_bring_them(
    trained: Path, capsys: Capture
) -> None:
    assert cli.main(["evaluate", str(trained), "--tasks", "generation", "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert "--feature-weights" in error
    assert error.count("\n") == 1


def test_a_model_elsewhere_is_evaluated_into_the_working_folder(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = listing(trained / "model")
    assert evaluate(trained / "model", "--tasks", "revision", "--out", "drawings") == 0
    assert (tmp_path / "drawings" / "figure2.png").is_file()
    assert listing(trained / "model") == before


def test_inpaint_writes_every_image_and_the_stages(run: Path, capsys: Capture) -> None:
    arguments = ["--data", "digits", "-n", "5", "--mask", "center:4", "--device", "cpu", "--json", "-"]
    assert cli.main(["inpaint", str(run), *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    files = sorted((run / "inpainted" / "inpainted").iterdir())
    assert len(files) == figures["n"] == 5
    model = Model.from_pretrained(run)
    x = data.load("digits:test", model.config.images).tensor(range(5))
    found = model.inpaint(x, "center:4")
    with Image.open(files[3]) as picture:
        assert np.abs(np.asarray(picture) - (found[3, 0].numpy() + 1) * 127.5).max() <= 0.5 + 1e-3
    stages = model.inpainting_stages(x, "center:4")
    for name, image in zip(("inference", "latent_chain", "data_chain"), stages, strict=False):
        assert figures["stages"][name]["psnr"] == pytest.approx(float(compare(x, image).psnr.mean()), abs=1e-3)
    with Image.open(run / "inpainted" / "stages.png") as picture:
        assert picture.size == (5 * 66 + 2, 5 * 66 + 2)  # five images, five rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mask", "center:9"], "1 to 8"),
        (["--mask", "M20", "-n", "298"], "297 images"),
        (["--mask", "M20", "--latent-steps", "-1"], "0 or more"),
        ([], "mask"),
    ],
)
def test_inpaint_refuses(trained: Path, arguments: list[str], said: str, capsys: Capture) -> None:
    before = listing(trained)
    assert cli.main(["inpaint", str(trained), "--data", "digits", "--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert listing(trained) == before


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolate_draws_paths_between_draws_and_between_images(run: Path, path: str, capsys: Capture) -> None:
    arguments = ["-n", "2", "--steps", "5", "--path", path, "--device", "cpu", "--json", "-"]
    assert cli.main(["interpolate", str(run), *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    with Image.open(run / "interpolation.png") as picture:
        assert picture.size == (5 * 66 + 2, 4 * 66 + 2)  # two paths of each kind
    model = Model.from_pretrained(run)
    x = data.load("digits:test", model.config.images).tensor(range(4))
    codes = model.infer(x)
    along = model.log_density(model.decode(between(codes[0::2], codes[1::2], 5, path)[1]))  # type: ignore[arg-type]
    assert np.allclose(figures["images"]["log_density"][1], along.numpy(), rtol=1e-3, atol=1e-2)
    first = model.log_density(model.sample(1, keys=[0], steps=0))
    assert figures["prior"]["log_density"][0][0] == pytest.approx(float(first), rel=1e-3, abs=1e-2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "149"], "297"),
        (["--steps", "1"], "2"),
        (["--path", "cubic"], "cubic"),
        (["--out", "a.jpg"], ".png"),
    ],
)
def test_interpolate_refuses(trained: Path, arguments: list[str], said: str, capsys: Capture) -> None:
    before = listing(trained)
    assert cli.main(["interpolate", str(trained), "--device", "cpu", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert listing(trained) == before


def test_the_verbs_work_inside_inference_mode(run: Path) -> None:
    with torch.inference_mode():
        assert evaluate(run, "--tasks", "revision", "inpainting", "ood") == 0


def test_other_datas_drawings_and_figures_do_not_pass_for_the_runs_own(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.zeros((50, 8, 8), np.uint8))
    assert evaluate(run, "--tasks", "reconstruction") == 0
    own, drawn = metrics(run)["reconstruction"][0], (run / "figures" / "figure3.png").read_bytes()
    assert (
        evaluate(run, "--tasks", "reconstruction", "--data", str(tmp_path / "other.npy"), "--held-out", "5") == 0
    )
    assert (run / "figures" / "figure3.png").read_bytes() == drawn
    assert (run / "figures" / "other" / "figure3.png").is_file()
    found = newest(read([str(run)])[0], "reconstruction")
    assert found is not None
    assert found.protocol["data"] == own["protocol"]["data"] == "digits:test"
