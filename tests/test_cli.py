"""Commands: exit codes, one line on what is wrong, nothing harmed; figures and files that scripts rely on."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import flags, listing, log

from dualmcmc import Model, data, presets
from dualmcmc.cli import VERBS, main
from dualmcmc.data.rule import to_uint8
from dualmcmc.methods import METHODS
from dualmcmc.storage import pretrained

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths, `runs/...` among them, are of the test's own folder."""
    monkeypatch.chdir(tmp_path)


def refused(arguments: list[str], capsys: Capture, *, code: int = 2) -> str:
    """Runs a command that must fail, writing nothing and one line; returns the line."""
    before = listing(Path.cwd())
    assert main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dualmcmc: ")
    assert "Traceback" not in line
    assert listing(Path.cwd()) == before
    return line


def figures(arguments: list[str], capsys: Capture) -> Any:
    """The JSON of a command that must succeed, with nothing else on standard output."""
    assert main([*arguments, "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)


# -- help and lists --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_explains_itself_with_the_defaults(verb: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([verb, "--help"])
    assert leaving.value.code == 0
    out = capsys.readouterr().out
    assert f"usage: dualmcmc {verb}" in out
    if verb == "completion":  # a shell's name in, a script out: no figures
        return
    assert "(default: " in out or "(optional)" in out
    assert ("--json" in out) == (verb != "app")  # a page writes no figures


def test_help_of_train_shows_every_setting_and_the_presets_values(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["train", "cifar10", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    for flag in ("--data", "--networks.energy-width", "--method.data-chain.steps", "--optim.energy.betas"):
        assert flag in out
    assert "(default: 512)" in out
    assert "(default: 4e-06)" in out


def test_help_lists_the_verbs_and_version_is_told(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {verb}" in out for verb in VERBS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dualmcmc ")
    assert main([]) == 2


def test_presets_methods_and_datasets_are_lists_for_people_and_scripts(capsys: Capture) -> None:
    assert [row["name"] for row in figures(["presets"], capsys)] == list(presets.PRESETS)
    assert [row["name"] for row in figures(["methods"], capsys)] == list(METHODS)
    about = figures(["datasets"], capsys)
    assert [row["name"] for row in about["datasets"]] == list(data.NAMED)
    assert about["cache"] == str(data.cache_folder())
    assert about["cache_bytes"] >= 0
    for verb, rows in (("presets", presets.PRESETS), ("methods", METHODS), ("datasets", data.NAMED)):
        assert main([verb]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(any(line.startswith(name) for line in lines) for name in rows)


def test_clearing_the_cache_empties_it_and_sets_load_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("DUALMCMC_CACHE", str(tmp_path / "cache"))
    images = data.load("digits", presets.preset("digits").images)
    first = images.tensor([0])
    assert data.cache_size() > 1500 * 64
    assert main(["datasets", "--clear-cache"]) == 0
    assert "MB removed from" in capsys.readouterr().out
    assert data.cache_size() == 0
    assert torch.equal(data.load("digits", presets.preset("digits").images).tensor([0]), first)


# -- what needs a process of its own ---------------------------------------------------------------


def _python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def test_no_help_imports_torch() -> None:
    done = _python(
        "import contextlib, io, sys\n"
        "from dualmcmc.cli import VERBS, main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    assert main(['--help']) == 0\n"
        "    light = set(sys.modules)\n"
        "    for verb in VERBS:\n"
        "        with contextlib.suppress(SystemExit):\n"
        "            main([verb, '--help'])\n"
        "heavy = {'torch', 'numpy', 'PIL', 'pydantic', 'tyro', 'rich'}\n"
        "assert not heavy & light, heavy & light\n"
        "assert 'torch' not in sys.modules\n"
    )
    assert done.returncode == 0, done.stderr


def test_training_needs_no_torchvision_that_imports(tmp_path: Path) -> None:
    """A torchvision built for another torch raises RuntimeError on import: nothing here asks for it."""
    done = _python(
        "import sys\n"
        "from importlib.machinery import ModuleSpec\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return ModuleSpec(name, self) if name.split('.')[0] == 'torchvision' else None\n"
        "    def create_module(self, spec):\n"
        "        return None\n"
        "    def exec_module(self, module):\n"
        "        raise RuntimeError('operator torchvision::nms does not exist')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "import dualmcmc\n"
        "from dualmcmc.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n",
        *["train", *flags({"run.steps": 1}), "--out", str(tmp_path / "run")],
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


# -- train -----------------------------------------------------------------------------------------


def test_a_dry_run_of_cifar10_has_the_papers_parameter_counts_and_writes_nothing(capsys: Capture) -> None:
    before = listing(Path.cwd())
    cost = figures(["train", "cifar10", "--dry-run"], capsys)
    assert cost["parameters"] == {"energy": 16_793_088, "generator": 16_024_579, "inference": 15_208_064}
    assert cost["config"]["method"]["data_chain"]["steps"] == 30
    flops = cost["flops_by_part"]
    losses = {"loss_energy", "loss_generator", "loss_inference"}
    assert set(flops) == {"data_chain", "latent_chain", "optimiser"} | losses
    assert cost["flops_per_iteration"] == sum(flops.values()) - flops["optimiser"]  # convolutions, matrix products
    assert cost["bytes_moved_per_iteration"] == sum(cost["bytes_moved_by_part"].values())
    assert cost["memory_bytes"]["weights"] == 4 * 5 * sum(cost["parameters"].values())
    assert main(["train", "cifar10", "--dry-run"]) == 0
    assert "16,793,088" in capsys.readouterr().out
    assert listing(Path.cwd()) == before


def test_flags_change_the_configuration_and_json_may_be_a_file(capsys: Capture) -> None:
    command = ["train", "digits", "--dry-run", "--seed", "7", "--steps", "12", "--method", "dual_mcmc"]
    command += ["--method.data-chain.steps", "5", "--optim.energy.betas", "0.5", "0.99", "--images.flip"]
    assert main([*command, "--json", "plan.json"]) == 0
    assert "seed = 7" in capsys.readouterr().out
    config = json.loads(Path("plan.json").read_text())["config"]
    assert (config["seed"], config["run"]["steps"], config["images"]["flip"]) == (7, 12, True)
    chain = config["method"]["data_chain"]
    assert (chain["steps"], chain["step"], chain["temperature"]) == (5, 0.5, 4e-6)
    assert config["optim"]["energy"]["betas"] == [0.5, 0.99]


def test_a_dry_runs_flops_follow_the_chains(capsys: Capture) -> None:
    """Each part is affine in its own chain's length and proportional to the batch."""

    def parts(*more: str) -> dict[str, int]:
        return figures(["train", "digits", "--dry-run", *more], capsys)["flops_by_part"]

    zero, ten, twenty = (parts("--method.data-chain.steps", k) for k in ("0", "10", "20"))
    assert twenty["data_chain"] - ten["data_chain"] == ten["data_chain"] - zero["data_chain"] > 0
    assert twenty["latent_chain"] == zero["latent_chain"]
    double = parts("--optim.batch-size", "128", "--method.data-chain.steps", "10")
    assert double.pop("optimiser") == ten.pop("optimiser") > 0
    assert double == {part: 2 * flops for part, flops in ten.items()}


def test_training_reports_run_steps_and_seconds(tmp_path: Path, capsys: Capture) -> None:
    assert main(["train", *flags(), "--steps", "2", "--out", "here", "--json", "-"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["run"], report["steps"]) == ("here", 2)
    assert 0 < report["seconds"] < 60
    lines = captured.err.splitlines()  # no terminal: plain lines
    assert lines[0] == "1500 training images (8x8x1) of digits:train"
    assert [line.split()[1] for line in lines if line.startswith("step ")] == ["1/2", "2/2"]
    assert all("x moved" in line and "nats" in line for line in lines[1:])
    assert "\x1b" not in captured.err


def test_a_torchvision_that_cannot_be_imported_stops_what_needs_torchmetrics_and_not_training(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """It takes torchmetrics with it, which SSIM needs."""

    def broken(name: str, *_: object) -> None:
        if name == "torchmetrics":
            raise RuntimeError("operator torchvision::nms does not exist")

    for name in [name for name in sys.modules if name.split(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, name)
    finder = type("Broken", (), {"find_spec": staticmethod(broken)})()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    assert main(["train", *flags({"run.steps": 2, "run.evaluate_every": 2}), "--out", "run"]) == 0
    capsys.readouterr()
    assert main(["reconstruct", "run", "--data", "digits", "-n", "5", "--device", "cpu"]) == 2
    line = capsys.readouterr().err
    assert "torchmetrics cannot be imported (operator torchvision::nms does not exist)" in line


def test_the_default_folder_is_runs_preset() -> None:
    assert main(["train", *flags({"run.steps": 1})]) == 0
    assert Path("runs/digits/model/model.safetensors").is_file()


def _save_mixed_modes(folder: Path) -> int:
    """Images of every mode and many sizes, in subfolders; returns how many."""
    folder.mkdir()
    (folder / "deeper").mkdir()
    source = np.random.default_rng(0)
    count = 0
    for mode, suffix in [
        ("1", "png"), ("L", "png"), ("LA", "png"), ("P", "png"), ("RGB", "jpg"), ("RGBA", "png"),
        ("RGBA", "webp"), ("CMYK", "jpg"), ("CMYK", "tif"), ("P", "gif"), ("RGB", "bmp"), ("L", "jpeg"),
    ]:  # fmt: skip
        pixels = source.integers(0, 256, (9 + count, 20 - count, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).convert(mode)
        picture.save(folder / ("deeper" if count % 2 else ".") / f"{count:02d}.{suffix}")
        count += 1
    Image.fromarray(source.integers(0, 65536, (30, 10), dtype=np.uint16)).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(source.integers(0, 256, (12, 30, 3), dtype=np.uint8)).save(folder / "turned.jpg", exif=exif)
    (folder / "notes.txt").write_text("no picture, no picture's name: left alone")
    return count + 2


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_mixed_modes_and_sizes_trains(channels: int, tmp_path: Path, capsys: Capture) -> None:
    count = _save_mixed_modes(tmp_path / "images")
    changes = {"run.steps": 2, "optim.batch_size": 4, "images.channels": channels}
    command = ["train", *flags(changes), "--data", f"{tmp_path / 'images'}:all", "--out", "run"]
    assert main(command) == 0
    assert f"{count} training images" in capsys.readouterr().err
    assert Model.from_pretrained("run").sample(2).shape == (2, channels, 8, 8)


def test_arrays_train(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.save("grey.npy", pixels)
    np.savez("colour.npz", images=np.repeat(pixels[..., None], 3, axis=3))
    for name in ("grey.npy", "colour.npz"):
        assert main(["train", *flags({"run.steps": 1}), "--data", name, "--out", f"run-{name}"]) == 0


# -- bad input of train ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian", "digits"], "unknown verb 'trian': choose one of train, sample"),
        (["train"], "train needs a preset first: one of digits, mnist"),
        (["train", "digit"], "unknown preset 'digit': choose one of digits, mnist"),
        (["train", "digits", "--networks.width", "8"], "--networks.width"),
        (["train", "digits", "--method", "gan"], "'gan'"),
        (["train", "digits", "--device", "tpu"], "unknown device 'tpu': this machine has cpu"),
        (["train", "digits", "--device", "cuda:77"], "unknown device 'cuda:77'"),
        (["train", "digits", "extra"], "extra"),
        (["train", "digits", "--steps", "many"], "--steps"),
        (["train", "digits", "--steps", "0"], "run.steps is 0: "),
        (["train", "digits", "--steps", "-1"], "run.steps is -1: "),
        (["train", "digits", "--method.data-chain.steps", "-1"], "method.data_chain.steps is -1: "),
        (["train", "digits", "--method.data-chain.step", "0"], "method.data_chain.step is 0.0: "),
        (["train", "digits", "--method.latent-chain.step", "-0.1"], "method.latent_chain.step is -0.1: "),
        (
            ["train", "digits", "--method.test-chain.temperature", "-1"],
            "method.test_chain.temperature is -1.0: ",
        ),
        (["train", "digits", "--method.data-chain.temperature", "0"], "method.data_chain.temperature is 0: "),
        (
            ["train", "digits", "--method.data-chain.temperature", "nan"],
            "method.data_chain.temperature is nan",
        ),
        (["train", "digits", "--method.sigma", "0"], "method.sigma is 0.0: "),
        (["train", "digits", "--method.sigma", "inf"], "method.sigma is inf"),
        (["train", "digits", "--optim.batch-size", "0"], "optim.batch_size is 0: "),
        (
            ["train", "digits", "--optim.batch-size", "1501"],
            "a batch of 1501 exceeds the 1500 images there are",
        ),
        (["train", "digits", "--optim.ema", "1"], "optim.ema is 1.0: "),
        (["train", "digits", "--optim.energy.betas", "0.5", "1.5"], "optim.energy.betas.1 is 1.5: "),
        (["train", "digits", "--optim.generator.rate", "-1"], "optim.generator.rate is -1.0: "),
        (["train", "digits", "--images.size", "9"], "9"),
        (["train", "digits", "--seed", "-1"], "seed is -1: "),
        (["train", "digits", "--precision", "fp16"], "'fp16'"),
        (["train", "celeba64", "--networks.energy-width", "100"], "networks.energy_width is 100: "),
        (["train", "digits", "--data", "digitz"], "did you mean digits?"),
        (["train", "digits", "--data", "digits:valid"], "valid"),
        (["train", "digits", "--data", ""], ""),
        (["train", "digits", "--data", "hf:nonsense"], "hf:"),
        (["train", "digits", "--json", "no/where.json"], "--json no/where.json: its folder does not exist"),
        (["train", "digits", "--init", "nowhere"], "no model at nowhere"),
        (["train", "digits", "--resume"], "there is no run at runs/digits"),
        (["presets", "--all"], "--all"),
        (["methods", "x"], "x"),
        (["datasets", "--json", "no/where.json"], "its folder does not exist"),
    ],
)
def test_bad_arguments_are_exit_2_with_one_line(arguments: list[str], said: str, capsys: Capture) -> None:
    assert said in refused(arguments, capsys)


def test_a_named_set_that_is_neither_cached_nor_reachable_says_what_to_do_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Capture
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("dualmcmc.data.hub.reachable", lambda: False)
    line = refused(["train", "cifar10", "--device", "cpu"], capsys)
    assert "cannot be reached; offline, give its images as --data PATH" in line


def _image(path: Path, size: int = 8) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)).save(path)


def _folder(spoil: Callable[[Path], object]) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        place.mkdir()
        for i in range(20):
            _image(place / f"{i:02d}.png")
        spoil(place)

    return make


def _truncate(place: Path) -> None:
    _image(place / "bad.png", size=64)
    (place / "bad.png").write_bytes((place / "bad.png").read_bytes()[:2000])


def _array(pixels: np.ndarray, **options: Any) -> Callable[[Path], None]:
    return lambda place: np.save(place, pixels, **options)


BAD_DATA: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing folder": ("images/", lambda _: None, "there is no file or folder"),
    "empty folder": ("images", Path.mkdir, "holds no image"),
    "truncated image": ("images", _folder(_truncate), "bad.png"),
    "text named .png": ("images", _folder(lambda p: (p / "bad.png").write_text("hello")), "bad.png"),
    "zero-byte file": ("images", _folder(lambda p: (p / "bad.png").write_bytes(b"")), "bad.png"),
    "too few images": ("images", _folder(lambda _: None), "a batch of 64 exceeds the 18 images"),
    "dtype": ("a.npy", _array(np.zeros((100, 8, 8), np.float32)), "is float32: images must be uint8"),
    "shape": ("a.npy", _array(np.zeros((100, 8), np.uint8)), "has the shape (100, 8)"),
    "channels": ("a.npy", _array(np.zeros((100, 8, 8, 2), np.uint8)), "has the shape (100, 8, 8, 2)"),
    "pickled": (
        "a.npy",
        _array(np.array([{"a": 1}] * 100, dtype=object), allow_pickle=True),
        "is not an array of plain numbers",
    ),
    "no array": ("a.npy", lambda p: p.write_bytes(b"hello"), "is not an array of plain numbers"),
    "zero bytes": ("a.npy", lambda p: p.write_bytes(b""), "is not an array of plain numbers"),
    "no zip": ("a.npz", lambda p: p.write_bytes(b"hello"), "is not an .npz file"),
    "pickled npz": (
        "a.npz",
        lambda p: np.savez(p, images=np.array([None] * 100, dtype=object), allow_pickle=True),
        "is not an array of plain numbers",
    ),
    "one picture": ("a.png", _image, "is neither a folder nor"),
}


@pytest.mark.parametrize("kind", BAD_DATA)
def test_data_that_cannot_be_used_are_named_and_nothing_is_written(
    kind: str, tmp_path: Path, capsys: Capture
) -> None:
    name, make, said = BAD_DATA[kind]
    make(tmp_path / name)
    line = refused(["train", "digits", "--device", "cpu", "--data", str(tmp_path / name)], capsys)
    assert said in line
    assert str(tmp_path / name).rstrip("/") in line or "a batch of" in line


def test_skipping_bad_images_trains_on_the_rest(tmp_path: Path, capsys: Capture) -> None:
    _folder(_truncate)(tmp_path / "images")
    command = ["train", *flags({"run.steps": 1}), "--data", f"{tmp_path / 'images'}:all", "--skip-bad"]
    assert main(command) == 0
    assert "1 unreadable images were skipped" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path, capsys: Capture) -> None:
    Path("file").write_text("mine")
    line = refused(["train", *flags(), "--out", "file/run"], capsys)
    assert "file/run" in line


# -- sample ----------------------------------------------------------------------------------------


def _rows(place: Path) -> list[dict[str, str]]:
    with (place / "samples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_samples_are_pictures_a_grid_and_a_table(trained: Path, capsys: Capture) -> None:
    report = figures(["sample", str(trained), "-n", "5", "--out", "drawn"], capsys)
    assert set(report) == {"out", "n", "steps", "seed", "log_density_generator", "log_density_chain"}
    assert (report["out"], report["n"], report["steps"], report["seed"]) == ("drawn", 5, 3, 0)
    names = [f"{i:05d}.png" for i in range(5)]
    for kind in ("generator", "chain"):
        assert sorted(path.name for path in Path("drawn", kind).iterdir()) == names
    header = Path("drawn/samples.csv").read_text().splitlines()[0]
    assert header == "index,log_density_generator,log_density_chain"
    model = Model.from_pretrained(trained)
    before, after = model.sample(5, steps=0), model.sample(5)
    rows = _rows(Path("drawn"))
    assert [row["index"] for row in rows] == ["0", "1", "2", "3", "4"]
    for kind, x in (("generator", before), ("chain", after)):
        densities = [float(row[f"log_density_{kind}"]) for row in rows]
        assert densities == pytest.approx(model.log_density(x).tolist(), rel=1e-5)
        assert report[f"log_density_{kind}"] == pytest.approx(sum(densities) / 5)
        for name, pixels in zip(names, to_uint8(x), strict=True):
            with Image.open(Path("drawn", kind, name)) as picture:
                assert np.array_equal(np.asarray(picture), pixels[..., 0])
    with Image.open("drawn/grid.png") as grid:
        assert grid.size == (2 * (8 * 66 + 2) + 8, 66 + 2)


def test_another_batch_size_gives_the_same_images(trained: Path) -> None:
    """Up to rounding: log-densities are h / T, so 1e-6 / T in nats; pixels may round apart by 1."""
    for size in ("2", "5"):
        assert main(["sample", str(trained), "-n", "5", "--batch-size", size, "--out", f"of-{size}"]) == 0
    for kind in ("generator", "chain"):
        ours, theirs = (
            np.stack([np.asarray(Image.open(p), dtype=int) for p in sorted(Path(f"of-{size}", kind).iterdir())])
            for size in ("2", "5")
        )
        assert abs(ours - theirs).max() <= 1
        assert (ours != theirs).mean() < 0.01
        column = f"log_density_{kind}"
        ours, theirs = ([float(row[column]) for row in _rows(Path(f"of-{size}"))] for size in ("2", "5"))
        assert ours == pytest.approx(theirs, abs=1e-6 / 4e-6)


def test_samples_of_another_seed_length_or_of_live_weights_differ(trained: Path) -> None:
    for name, more in {
        "plain": [], "seed": ["--seed", "1"], "steps": ["--steps", "0"], "live": ["--weights", "live"]
    }.items():  # fmt: skip
        assert main(["sample", str(trained), "-n", "2", "--out", name, *more]) == 0
    drawn = {name: _rows(Path(name)) for name in ("plain", "seed", "steps", "live")}
    assert all(drawn["plain"] != drawn[name] for name in ("seed", "steps", "live"))
    assert all(row["log_density_generator"] == row["log_density_chain"] for row in drawn["steps"])


def test_samples_of_a_run_go_into_it_by_default(trained: Path) -> None:
    shutil.copytree(trained, "run")
    assert main(["sample", "run", "-n", "1"]) == 0
    assert Path("run/generated/grid.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "RUN"),
        (["nowhere"], "no model at nowhere"),
        (["RUN", "-n", "0"], "-n"),
        (["RUN", "-n", "-1"], "-n"),
        (["RUN", "--steps", "-1"], "--steps"),
        (["RUN", "--batch-size", "0"], "--batch-size"),
        (["RUN", "--weights", "best"], "'best'"),
        (["RUN", "--device", "tpu"], "unknown device 'tpu'"),
        (["RUN", "--out", "full"], "full is not empty"),
        (["RUN", "--out", "full/mine.txt"], "full/mine.txt is not empty"),
        (["RUN", "--json", "no/where.json"], "its folder does not exist"),
        (["RUN", "--frobnicate"], "--frobnicate"),
        (["RUN/model", "--weights", "live"], "checkpoint"),
    ],
)
def test_bad_arguments_of_sample_are_refused(
    arguments: list[str], said: str, trained: Path, capsys: Capture
) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    arguments = [word.replace("RUN", str(trained)) for word in arguments]
    assert said in refused(["sample", *arguments], capsys)


@pytest.mark.parametrize("verb", [["sample"], ["reconstruct", "--data", "digits"]])
def test_a_damaged_model_is_refused_by_every_verb(verb: list[str], trained: Path, capsys: Capture) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(trained / "model", "model")
    weights = load_file("model/model.safetensors")
    weights["energy.head.weight"].view(-1)[3] = float("nan")
    save_file(weights, "model/model.safetensors")
    assert "model.safetensors is not what was saved" in refused([*verb, "model"], capsys)
    pretrained.seal(Path("model"))
    line = refused([*verb, "model"], capsys)
    assert "energy.head.weight holds NaN or infinity" in line


# -- reconstruct -----------------------------------------------------------------------------------


def test_reconstruction_figures_are_those_of_the_model_in_both_scales(trained: Path, capsys: Capture) -> None:
    command = ["reconstruct", str(trained), "--data", "digits", "-n", "20", "--out", "picture.png"]
    report = figures(command, capsys)
    assert (report["n"], report["data"], report["skipped"]) == (20, "digits:test", 0)
    assert report["ssim_window"] == 7  # the largest odd number up to min(11, 8)
    model = Model.from_pretrained(trained)
    x = data.load("digits:test", model.config.images).tensor(range(20))
    for kind, steps in (("inference", 0), ("chain", None)):
        mse = (model.reconstruct(x, steps=steps) - x).square().flatten(1).mean(1)
        assert report["mse"][kind] == pytest.approx(mse.mean().item(), rel=1e-5)
        assert report["mse01"][kind] == pytest.approx(report["mse"][kind] / 4)
        assert report["psnr"][kind] == pytest.approx((10 * (4 / mse).log10()).mean().item(), rel=1e-5)
        assert -1 <= report["ssim"][kind] <= 1
    assert report["mse"]["inference"] != report["mse"]["chain"]
    with Image.open("picture.png") as picture:
        assert picture.size == (16 * 66 + 2, 3 * 66 + 2)


def test_reconstructing_in_other_batches_gives_the_same_figures(trained: Path, capsys: Capture) -> None:
    command = ["reconstruct", str(trained), "--data", "digits:train", "-n", "30"]
    ours, theirs = (
        figures([*command, "--batch-size", size, "--out", f"picture-{size}.png"], capsys) for size in ("7", "64")
    )
    for name in ("mse", "psnr", "ssim"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4)
    assert ours["data"] == "digits:train"


def test_a_users_own_folder_is_reconstructed_by_the_rule(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    count = _save_mixed_modes(tmp_path / "images")
    report = figures(["reconstruct", str(trained), "--data", "images", "--out", "picture.png"], capsys)
    assert report["n"] == count
    shutil.copytree(trained, "run")
    assert main(["reconstruct", "run", "--data", "images", "-n", "2", "--steps", "0"]) == 0
    assert Path("run/reconstruction.png").is_file()
    assert "latent chain" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN"], "--data"),
        (["RUN", "--data", "nowhere/"], "there is no file or folder"),
        (["RUN", "--data", "digits", "-n", "100000"], "digits has 297 images"),
        (["RUN", "--data", "digits", "-n", "0"], "-n"),
        (["RUN", "--data", "digits", "--steps", "-1"], "--steps"),
        (["RUN", "--data", "digits", "--device", "tpu"], "unknown device 'tpu'"),
        (["nowhere", "--data", "digits"], "no model at nowhere"),
    ],
)
def test_bad_arguments_of_reconstruct_are_refused(
    arguments: list[str], said: str, trained: Path, capsys: Capture
) -> None:
    arguments = [word.replace("RUN", str(trained)) for word in arguments]
    assert said in refused(["reconstruct", *arguments], capsys)


def test_all_of_a_trained_run_stays_as_it_was(trained: Path) -> None:
    """The commands above read it; nothing but what --out and the defaults name was written."""
    assert {entry.name for entry in trained.iterdir()} == {
        "config.json", "log.jsonl", "metrics.json", "samples", "checkpoints", "model", "tensorboard"
    }  # fmt: skip
    assert len(log(trained)) == 6


@pytest.mark.parametrize("out", ["picture.xyz", "picture", "", "nowhere/picture.png", "there.png"])
def test_reconstruct_refuses_a_picture_it_cannot_or_must_not_write(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"mine")
    assert main(["reconstruct", str(trained), "--data", "digits", "-n", "2", "--out", out or str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "there.png").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_typo_gets_the_flag_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--optim.batchsize", "3"]) == 2
    assert "(perhaps --optim.batch-size)" in capsys.readouterr().err


def test_a_dry_run_notices_data_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--data", "no/such/folder", "--dry-run"]) == 2
    assert "no/such/folder" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["evaluate", "sample", "doctor"])
def test_a_name_longer_than_any_file_has_is_bad_input(verb: str, capsys: Capture) -> None:
    assert "longer than a file's name can be" in refused([verb, "9" * 300], capsys)
