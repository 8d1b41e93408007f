"""Model cards: what the hub reads, what people read, and that both say what was measured of these very weights."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import EvalResult, ModelCard
from PIL import Image
from tiny import tiny, train

from dualmcmc import InputError, Model
from dualmcmc.methods import METHODS
from dualmcmc.pictures import tile
from dualmcmc.sharing import export
from dualmcmc.storage import card, evaluations, pretrained
from dualmcmc.storage.card import About
from dualmcmc.tasks.plan import Plan
from dualmcmc.tasks.running import run, setting_of
from dualmcmc.tasks.setting import Setting


@pytest.fixture(scope="module")
def evaluated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with evaluations of its model, older ones, and ones that are not its model's."""
    place = tmp_path_factory.mktemp("evaluated") / "run"
    shutil.copytree(trained, place)
    model = Model.from_pretrained(place)
    setting: Setting = setting_of(model, None, 12, quiet=True, about={"run": "/home/me/run", "weights": "ema"})
    plan = Plan(n=24, noise_steps=(), masks=("center:4",), ood=("uniform", "blurred"))
    names: Any = ("generation", "reconstruction", "ood", "inpainting")
    found = dict(run(names, setting, plan, "pixels"))
    folder = pretrained_run(place)
    for task, (figures, _) in found.items():
        how = figures["protocol"]
        folder.add_metrics(task, {**figures, "protocol": {**how, "seed": 7}})  # older
        folder.add_metrics(task, figures)
        for other in ({"step": model.step + 1}, {"weights": "live"}):
            folder.add_metrics(task, {**figures, "protocol": {**how, **other, "seed": 8}})
        elsewhere = {**how, "data": "mnist:test", "reference": {**how.get("reference", {}), "data": "mnist:train"}}
        folder.add_metrics(task, {**figures, "protocol": {**elsewhere, "seed": 9}})
    return place


def pretrained_run(place: Path) -> Any:
    from dualmcmc.storage.run_folder import RunFolder

    return RunFolder(place)


@pytest.fixture(scope="module")
def saved(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    Model.from_pretrained(evaluated).save_pretrained(folder, license="mit")
    return folder


def _results(folder: Path) -> list[EvalResult]:
    found = ModelCard.load(folder / "README.md").data.eval_results  # raises where the hub's library would
    assert found is not None
    return found


def test_the_front_matter_is_what_the_hub_reads(saved: Path) -> None:
    data = ModelCard.load(saved / "README.md").data
    assert (data.library_name, data.license, data.pipeline_tag) == (
        "dualmcmc", "mit", "unconditional-image-generation",
    )  # fmt: skip
    assert {"energy-based-model", "dual-mcmc"} <= set(data.tags)
    assert data.datasets is None  # the digits are on no hub
    assert set(data.metrics) == {row.metric_type for row in _results(saved)}


def test_figures_are_of_these_weights_on_their_own_data_and_the_newest(evaluated: Path, saved: Path) -> None:
    kept = json.loads((saved / "metrics.json").read_text())
    assert set(kept) == {"generation", "reconstruction", "ood", "inpainting", "training"}
    step = Model.from_pretrained(evaluated).step
    for task, (entry,) in kept.items():
        if task != "training":
            assert (entry["protocol"]["seed"], entry["protocol"]["step"]) == (0, step)
            assert "run" not in entry["protocol"]
    values = {result.metric_name: result.metric_value for result in _results(saved)}
    ood, reconstruction = kept["ood"][0], kept["reconstruction"][0]
    assert values["reconstruction MSE, inference alone"] == reconstruction["inference"]["mse"]
    assert values["AUROC against blurred, by log_density"] == ood["sets"]["blurred"]["log_density"]["auroc"]
    assert values["fd_pixels_24, generator alone"] == kept["generation"][0]["figures"]["fd_pixels_24"]["0"]
    assert any(name.startswith("inpainting center:4") for name in values)
    text = (saved / "README.md").read_text()
    for name, value in values.items():
        assert f"| {name} | {value:.4g} |" in text


def test_what_the_log_density_is_blind_for_is_said_among_the_limits() -> None:
    by = {"log_density": {"auroc": 0.44}, "combination": {"auroc": 0.99}}
    sets = {"inverted": {"n": 5, **by}, "uniform": {"n": 5, "log_density": {"auroc": 0.97}}}
    ood = {"sets": sets, "protocol": {"n": 5, "seed": 0, "data": "digits:test"}}
    text = card.render(tiny(), 10, About(evaluations={"ood": ood}))
    (line,) = [line for line in text.splitlines() if "does not tell these apart" in line]
    assert "inverted 0.44" in line
    assert "uniform" not in line
    assert "| AUROC against inverted, by combination | 0.99 |" in text
    assert "does not tell these apart" not in card.render(tiny(), 10, About())


def test_a_copy_of_a_copy_tells_the_same(saved: Path, tmp_path: Path) -> None:
    Model.from_pretrained(saved).save_pretrained(tmp_path / "again", license=card.license_of(saved))
    for name in ("README.md", "metrics.json", "picture.png", "config.json", "manifest.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_the_picture_shows_the_models_own_samples(saved: Path) -> None:
    x = Model.from_pretrained(saved).sample(32)
    assert np.array_equal(np.asarray(Image.open(saved / "picture.png")), tile(x, 8)[..., 0])
    assert (saved / "picture.png").stat().st_size < 100_000


def test_without_a_licence_the_card_says_so_and_a_bad_one_is_refused(trained: Path, tmp_path: Path) -> None:
    model = Model.from_pretrained(trained)
    model.save_pretrained(tmp_path / "m")
    assert card.license_of(tmp_path / "m") is None
    assert "None is stated" in (tmp_path / "m" / "README.md").read_text()
    for bad in ("Apache 2.0", "", "a" * 100, "mit\nlibrary_name: x"):
        with pytest.raises(InputError, match="give the hub's identifier"):
            model.save_pretrained(tmp_path / "n", license=bad)
    assert not (tmp_path / "n").exists()


def test_training_draws_no_picture_and_its_card_is_one_all_the_same(trained: Path) -> None:
    assert not (trained / "model" / "picture.png").exists()
    text = (trained / "model" / "README.md").read_text()
    assert "picture.png" not in text
    assert ModelCard(text).data.library_name == "dualmcmc"
    fresh = evaluations.figures(Model.from_pretrained(trained).evaluations())  # nobody has evaluated it yet
    assert [row.kind for row in fresh] == ["mse", "mse"]
    assert "it decided which step was kept" in fresh[0].how


def test_a_model_saved_before_there_were_pictures_and_metrics_loads(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "model", tmp_path / "old")
    (tmp_path / "old" / "README.md").unlink()
    assert set(json.loads((tmp_path / "old" / "manifest.json").read_text())) == {
        "model.safetensors", "config.json", "scores.json",
    }  # fmt: skip
    assert torch.equal(Model.from_pretrained(tmp_path / "old").sample(2), Model.from_pretrained(trained).sample(2))
    assert card.front_matter(tmp_path / "old") == {}


def test_rounded_weights_have_no_figures_of_the_others(evaluated: Path, tmp_path: Path) -> None:
    Model.from_pretrained(evaluated).save_pretrained(tmp_path / "half", weights="bf16")
    assert not (tmp_path / "half" / "metrics.json").exists()
    assert "## Figures" not in (tmp_path / "half" / "README.md").read_text()


def test_live_weights_have_no_figures_of_the_average(evaluated: Path) -> None:
    assert Model.from_pretrained(evaluated, weights="live").evaluations() == {}


@pytest.mark.parametrize("name", METHODS)
def test_every_methods_card_says_what_it_has_and_nothing_more(name: str) -> None:
    settings = tiny(method=name)
    text = card.render(settings, 10, About())
    assert ModelCard(text).data.tags is not None
    assert ("log_density" in text) == ("energy" in settings.method.PARTS)
    assert ("reconstruct" in text) == ("generator" in settings.method.PARTS)
    assert ("Cui, Jiali" in text) == (name == "dual_mcmc")


def test_limits_say_how_the_energy_was_taught() -> None:
    short, long = (card.render(tiny({"method.negatives": kind}), 10, About()) for kind in ("reuse", "persistent"))
    assert "along others it is blind" in short
    assert "along others it is blind" not in long
    assert "go on from update to update" in long


@pytest.mark.parametrize(
    ("data", "repository"),
    [
        ("digits", None),
        ("fashion_mnist", "zalando-datasets/fashion_mnist"),
        ("stream:hf:some/set@abc:train", "some/set"),
        ("/home/me/photos", None),
    ],
)
def test_the_data_set_is_named_where_it_has_an_address(data: str, repository: str | None) -> None:
    text = card.render(replace(tiny(), data=data), 10, About())
    assert ModelCard(text).data.datasets == repository or ModelCard(text).data.datasets == [repository]
    assert "/home" not in text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *_strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, str):
        yield value


def test_what_is_published_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    """Data from a folder: its last name is left, in settings, scores, evaluations and card."""
    (tmp_path / "photos").mkdir()
    for i in range(20):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)).save(
            tmp_path / "photos" / f"{i}.png"
        )
    train(tmp_path / "run", {"data": str(tmp_path / "photos"), "run.evaluate_every": 2})
    model = Model.from_pretrained(tmp_path / "run")
    export(model, tmp_path / "out", About(evaluations=model.evaluations()))
    for path in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
    shared = Model.from_pretrained(tmp_path / "out")
    assert shared.config == replace(model.config, data="photos")
    assert shared.training_scores is not None
    assert shared.training_scores.data.startswith("photos:")
    assert "photos" in (tmp_path / "out" / "README.md").read_text()
    assert shared.evaluations()["training"]["protocol"]["heldout"].startswith("photos:")
    assert not [text for text in _strings(shared.evaluations()) if Path(text).is_absolute()]


def test_damaged_evaluations_and_cards_are_refused_in_one_line(saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path / "m")
    kept = json.loads((saved / "metrics.json").read_text())
    kept["ood"][0]["sets"] = {"x": {"n": 1}}
    (tmp_path / "m" / "metrics.json").write_text(json.dumps(kept))
    model = Model.from_pretrained(tmp_path / "m")  # which needs none of it
    with pytest.raises(InputError, match="the evaluation under 'ood' is damaged"):
        model.save_pretrained(tmp_path / "n")
    (tmp_path / "m" / "README.md").write_text("---\n[: \n---\n")
    with pytest.raises(InputError, match=r"README\.md is damaged"):
        card.license_of(tmp_path / "m")
    assert not (tmp_path / "n").exists()


def test_samples_that_are_no_numbers_make_no_picture(trained: Path, tmp_path: Path) -> None:
    model = Model.from_pretrained(trained)
    with torch.no_grad():
        for parameter in model.trio.part("energy").parameters():
            parameter.mul_(1e20)
    with pytest.raises(InputError, match="samples are not finite"):
        model.save_pretrained(tmp_path / "m")
    model.save_pretrained(tmp_path / "m", picture=False)
    assert {path.name for path in (tmp_path / "m").iterdir()} <= pretrained.FILES


def test_the_cards_python_runs(saved: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (saved / "README.md").read_text(), flags=re.S)
    names: dict[str, Any] = {}
    exec(block.replace("path/or/hub-id", str(saved)), names)
    assert names["x"].shape == (16, 1, 8, 8)
    assert names["score"].shape == (16,)


@pytest.mark.parametrize(
    ("ref", "public"),
    [
        ("/home/alice/photos:train", "photos:train"),
        ("stream:/home/alice/photos", "stream:photos"),
        ("../clients/acme/photos", "photos"),
        ("clients/acme/photos/:train", "photos:train"),
        ("C:\\Users\\alice\\photos:test", "photos:test"),
        ("hf:owner/name:train", "hf:owner/name:train"),
        ("stream:hf:owner/name", "stream:hf:owner/name"),
        ("cifar10:test", "cifar10:test"),
    ],
)
def test_a_data_reference_is_published_without_its_folders(ref: str, public: str) -> None:
    assert evaluations.public_reference(ref) == public


def test_sets_named_by_paths_are_published_by_their_last_names_and_stay_apart() -> None:
    sets = {name: {"n": 3, "log_density": {"auroc": value}} for name, value in (("/a/x", 0.5), ("/b/x", 0.75))}
    entry = {"sets": sets, "protocol": {"n": 3, "seed": 0, "data": "/home/alice/photos:test"}}
    rows = evaluations.figures({"ood": entry})
    assert [row.name for row in rows] == ["AUROC against x, by log_density", "AUROC against x (2), by log_density"]
    assert {row.data for row in rows} == {"photos:test"}
    assert "alice" not in json.dumps(evaluations.kept({"ood": entry}))


@pytest.mark.parametrize(
    ("data", "own"),
    [("cifar10:test", True), ("cifar10", True), ("cifar100:test", False), ("stream:cifar10:train", True)],
)
def test_an_evaluation_is_the_models_own_on_its_data_by_whole_names(data: str, own: bool) -> None:
    entry = {"step": 3, "protocol": {"data": data, "weights": "ema"}}
    for trained_on in ("cifar10", "stream:cifar10"):
        assert evaluations._is_own(entry, replace(tiny(), data=trained_on), 3) is own


@pytest.mark.parametrize("license", [["mit", "apache-2.0"], 1.0])
def test_a_card_may_state_no_licence_that_is_no_word(license: Any) -> None:
    with pytest.raises(InputError, match="give the hub's identifier"):
        card.check_license(license)


@pytest.mark.parametrize(
    "ref", ["/home/a b/acme/photos", "stream:/home/acme/photos", "acme/photos", "/acme/photos/"]
)
def test_wherever_an_evaluation_names_its_data_no_folder_is_published(ref: str) -> None:
    title, said = f"{ref}:train", "standardised on 9 images of "
    how = {"data": title, "heldout": title, "features": {"pca_data": title}, "combination": f"{said}{title}"}
    found = evaluations.public({"protocol": how})["protocol"]
    name = "stream:photos:train" if ref.startswith("stream:") else "photos:train"
    assert found == {
        "data": name, "heldout": name, "features": {"pca_data": name}, "combination": f"{said}{name}",
    }  # fmt: skip
    assert "acme" not in card.render(replace(tiny(), data=ref), 10, About())
    assert evaluations._is_own({"step": 3, "protocol": how}, replace(tiny(), data=ref), 3)
