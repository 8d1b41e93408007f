"""Verbs on a trained model: where they write, what they refuse before any work, what names files get."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import listing

from dualmcmc import Model, cli, data, paths

Capture = pytest.CaptureFixture[str]
ON_MODEL = {
    "score": (["--data", "digits", "-n", "2"], "scores.csv"),
    "interpolate": (["-n", "1"], "interpolation.png"),
    "inpaint": (["--data", "digits", "-n", "2", "--mask", "center:4"], "inpainted/stages.png"),
    "sample": (["-n", "2"], "generated/grid.png"),
    "reconstruct": (["--data", "digits", "-n", "2"], "reconstruction.png"),
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model has begun to work."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Model, "from_pretrained", refuse)


def verb(name: str, run: Path | str, *more: str) -> int:
    return cli.main([name, str(run), "--device", "cpu", *ON_MODEL[name][0], *more])


def figures(capsys: Capture, name: str, run: Path, *more: str) -> Any:
    assert verb(name, run, *more, "--json", "-") == 0
    return json.loads(capsys.readouterr().out)


def line(capsys: Capture) -> str:
    """The one line of a refusal."""
    captured = capsys.readouterr()
    (said,) = captured.err.splitlines()
    assert captured.out == ""
    return str(said)


def images(folder: str, *names: str | bytes) -> str:
    Path(folder).mkdir()
    for i, name in enumerate(names):
        picture = np.random.default_rng(i).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(picture).save("picture.png")
        os.rename("picture.png", os.path.join(os.fsencode(folder), os.fsencode(name)))
    return folder


# -- where results go ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_MODEL)
def test_a_model_folder_stays_as_it_was_also_one_in_a_run(name: str, trained: Path) -> None:
    """Training refuses to replace a model folder that holds other things: `--resume` would fail."""
    before = listing(trained)
    assert verb(name, trained / "model") == 0
    assert listing(trained) == before
    assert Path(ON_MODEL[name][1]).is_file()


@pytest.mark.parametrize("name", ON_MODEL)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    name: str, trained: Path, no_work: None, capsys: Capture
) -> None:
    Path("file").write_text("mine")
    before = listing(Path.cwd())
    suffix = Path(ON_MODEL[name][1]).suffix if name in ("score", "interpolate", "reconstruct") else ""
    for out in (f"file/below{suffix}", f"file/far/below{suffix}", "x" * 300 + suffix):
        assert verb(name, trained, "--out", out) == 2
        assert out in line(capsys)
    assert verb(name, trained, "--json", ".") == 2
    assert "--json . is a folder" in line(capsys)
    assert listing(Path.cwd()) == before


def test_a_place_for_heat_maps_that_cannot_be_made_is_refused_before_any_work(
    trained: Path, no_work: None, capsys: Capture
) -> None:
    Path("file").write_text("mine")
    for place in ("file", "file/below", "file/far/below", "x" * 300):
        assert verb("score", trained, "--out", "s.csv", "--heatmap", place) == 2
        assert place in line(capsys)
    assert not Path("s.csv").exists()


def test_a_default_that_is_a_folder_is_refused_before_any_work(no_work: None, capsys: Capture) -> None:
    Path("scores.csv").mkdir()
    assert verb("score", "owner/name") == 2
    assert "scores.csv exists" in line(capsys)


def test_heat_maps_that_cannot_be_written_leave_the_table_whole(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    assert verb("score", trained, "--out", "whole.csv") == 0
    capsys.readouterr()
    monkeypatch.setattr("dualmcmc.pictures.save_grid", full)
    assert verb("score", trained, "--out", "s.csv", "--heatmap", "heat") == 1
    assert "No space left" in line(capsys)
    assert Path("s.csv").read_text() == Path("whole.csv").read_text()


# -- names -----------------------------------------------------------------------------------------


def test_pictures_of_a_folder_keep_their_names_as_far_as_file_systems_allow(trained: Path) -> None:
    """255 bytes are allowed: 250 of a name, and a number before them, are too many."""
    folder = images("mine", "a.png", "b" * 251 + ".png", "é" * 125 + ".png")
    command = ["--data", folder, "-n", "3", "--device", "cpu"]
    assert cli.main(["inpaint", str(trained), *command, "--mask", "center:4", "--out", "o"]) == 0
    assert cli.main(["score", str(trained), *command, "--out", "s.csv", "--heatmap", "heat"]) == 0
    expected = ["00000-a.png", f"00001-{'b' * 80}.png", f"00002-{'é' * 40}.png"]
    assert sorted(os.listdir("o/inpainted")) == expected
    assert sorted(os.listdir("heat")) == expected


def test_a_cut_name_ends_with_a_whole_letter(trained: Path) -> None:
    folder = images("mine", "x" + "é" * 60 + ".png")
    assert cli.main(["inpaint", str(trained), "--data", folder, "--mask", "center:4", "--out", "o"]) == 0
    assert os.listdir("o/inpainted") == [f"00000-x{'é' * 39}.png"]


def test_names_that_are_no_text_do_not_cost_the_scores(trained: Path) -> None:
    try:
        folder = images("mine", b"caf\xe9.png")
    except OSError:
        pytest.skip("this file system wants UTF-8")
    command = ["score", str(trained), "--data", folder, "--out", "s.csv", "--heatmap", "heat", "--device", "cpu"]
    assert cli.main(command) == 0
    assert "mine/caf\\udce9.png" in Path("s.csv").read_text()
    assert os.listdir("heat") == ["00000-caf.png"]


def test_pictures_of_other_sets_are_called_by_their_number(trained: Path) -> None:
    np.save("a.npy", np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8))
    command = ["score", str(trained), "--data", "a.npy", "--out", "s.csv", "--heatmap", "heat", "--device", "cpu"]
    assert cli.main(command) == 0
    assert sorted(os.listdir("heat")) == ["00000.png", "00001.png"]
    assert verb("inpaint", trained, "--out", "o") == 0
    assert sorted(os.listdir("o/inpainted")) == ["00000.png", "00001.png"]


# -- figures ---------------------------------------------------------------------------------------


def test_inpaint_tells_what_its_figures_are_of(trained: Path, capsys: Capture) -> None:
    report = figures(capsys, "inpaint", trained, "--out", "o", "--seed", "3", "--batch-size", "1")
    assert report["hidden"] == pytest.approx(16 / 64)
    assert report["ssim_window"] == 7
    assert (report["weights"], report["seed"]) == ("ema", 3)
    assert report["step"] == Model.from_pretrained(trained).step


@pytest.mark.parametrize("name", ON_MODEL)
def test_every_verb_on_a_model_tells_its_seed(name: str, trained: Path, capsys: Capture) -> None:
    run = Path(shutil.copytree(trained, "run"))
    assert figures(capsys, name, run, "--seed", "5")["seed"] == 5


def test_paths_between_images_are_those_that_evaluate_draws(trained: Path, capsys: Capture) -> None:
    """The code of image i goes by its own number i, as wherever one image is explained."""
    report = figures(capsys, "interpolate", trained, "-n", "3", "--seed", "2", "--out", "o.png")
    model = Model.from_pretrained(trained)
    x = data.load("digits:test", model.config.images).tensor(range(6))
    codes = model.infer(x, seed=2)
    drawn = model.decode(paths.between(codes[0::2], codes[1::2], 8, "linear").flatten(0, 1))
    expected = model.log_density(drawn).reshape(3, 8)
    assert torch.allclose(torch.tensor(report["images"]["log_density"]), expected, rtol=1e-4, atol=1.0)
    swapped = model.infer(x, seed=2, keys=[0, 0, 1, 1, 2, 2])
    other = model.log_density(model.decode(swapped)).reshape(3, 2)
    assert not torch.allclose(expected[:, [0, -1]], other, rtol=1e-4, atol=1.0)  # the test can tell them apart


def test_networks_in_bfloat16_give_nearly_the_same_figures(trained: Path, capsys: Capture) -> None:
    """bfloat16 keeps 8 bits: relative differences of 2^-8 a layer, so a few percent, and not zero."""
    full, half = (
        figures(capsys, "reconstruct", trained, "--steps", "0", "--out", f"{p}.png", "--precision", p)
        for p in ("fp32", "bf16")
    )
    assert half["mse"]["inference"] != full["mse"]["inference"]
    assert half["mse"]["inference"] == pytest.approx(full["mse"]["inference"], rel=0.1)


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threshold", ["inf", "-inf", "nan"])
def test_a_threshold_that_is_no_number_is_refused_before_any_work(
    trained: Path, threshold: str, no_work: None, capsys: Capture
) -> None:
    assert verb("score", trained, f"--threshold={threshold}") == 2
    assert "give a finite number" in line(capsys)


def test_a_mask_that_hides_nothing_is_refused_and_nothing_is_made(trained: Path, capsys: Capture) -> None:
    Image.new("L", (8, 8)).save("black.png")
    before = listing(Path.cwd())
    for place in ([], ["--out", "o"]):
        assert verb("inpaint", trained, "--mask", "black.png", *place) == 2
        assert "hides nothing" in line(capsys)
    assert listing(Path.cwd()) == before


@pytest.mark.parametrize("name", [name for name in cli.VERBS if name not in ("train", "evaluate", "reproduce")])
def test_verbs_of_one_process_refuse_to_be_several(
    name: str, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main([name, str(trained)]) == 2
    assert "runs on one process: start it without torchrun" in line(capsys)


def test_one_process_of_torchrun_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert cli.main(["presets"]) == 0
