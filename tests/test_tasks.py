"""The tasks measure what they say: known answers, one pass for all lengths, the same whatever the batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from dualmcmc import InputError, Model, data, features, figures
from dualmcmc.metrics import compare, compare_where
from dualmcmc.parallel import Processes
from dualmcmc.tasks.generation import Names, generation, of_images
from dualmcmc.tasks.inpainting import STAGES, compare_stages, inpainting
from dualmcmc.tasks.interpolation import interpolation
from dualmcmc.tasks.linear import principal_components
from dualmcmc.tasks.ood import ood
from dualmcmc.tasks.others import OTHERS
from dualmcmc.tasks.plan import TASKS, Plan
from dualmcmc.tasks.reconstruction import reconstruction
from dualmcmc.tasks.reference import reference
from dualmcmc.tasks.revision import revision
from dualmcmc.tasks.running import run, setting_of
from dualmcmc.tasks.setting import Result, Setting

PLAN = Plan(n=40, held_out=30, steps=(0, 3), noise_steps=(2, 4), chains=20, pairs=5, masks=("M20", "R30"))


@pytest.fixture(scope="module")
def setting(trained: Path) -> Setting:
    model = Model.from_pretrained(trained)
    return setting_of(model, None, 30, batch_size=16, processes=Processes(), quiet=True)


@pytest.fixture(scope="module")
def network() -> features.FeatureNetwork:
    return features.load("pixels")


@pytest.fixture(scope="module")
def results(setting: Setting) -> dict[str, Result]:
    return dict(run(TASKS, setting, PLAN, "pixels"))


def close(a: Any, b: Any, tolerance: float = 1e-4) -> bool:
    """Nested figures equal up to rounding, relative to their size."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return bool(a == b or abs(a - b) <= tolerance * max(1.0, abs(a), abs(b)))


def without_protocol(result: Result) -> dict[str, Any]:
    return {k: v for k, v in result.figures.items() if k != "protocol" and not k.startswith("seconds")}


@pytest.mark.parametrize(
    ("label", "n", "expected"),
    [
        ("fid", 50_000, ["fid", "kid", "is"]),
        ("fid", 10_000, ["fid_10k", "kid_10k", "is_10k"]),
        ("fid768", 10_000, ["fid768_10k", "kid768_10k", "is768_10k"]),
        ("fd_resnet20", 1234, ["fd_resnet20_1234", "kd_resnet20_1234", "is_resnet20_1234"]),
    ],
)
def test_a_distance_is_called_by_its_network_and_its_number_of_samples(
    label: str, n: int, expected: list[str]
) -> None:
    names = Names(label, n)
    assert [names.frechet, names.kernel, names.score] == expected


def test_the_training_images_themselves_are_at_distance_zero(
    setting: Setting, network: features.FeatureNetwork
) -> None:
    """Equal moments; the trace term's square roots leave 1e-7 of the total variance."""
    statistics = reference(setting, network)
    result = of_images(setting, network, statistics, setting.train)
    n = len(setting.train)
    variance = float(statistics.moments.covariance.trace())
    assert abs(result.figures["figures"][f"fd_pixels_{n}"]["images"]) < 1e-6 * variance
    assert len(statistics.features) == n


def test_cached_statistics_are_those_that_were_measured(
    setting: Setting, network: features.FeatureNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = reference(setting, network, 100)

    def unread(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr("dualmcmc.tasks.reference._measure", unread)
    again = reference(setting, network, 100)
    assert torch.equal(first.moments.mean, again.moments.mean)
    assert torch.equal(first.moments.covariance, again.moments.covariance)
    assert again.about["n"] == 100
    with pytest.raises(AssertionError, match="measured again"):
        reference(setting, network, 101)
    for entry in data.statistics_folder().iterdir():
        entry.write_bytes(entry.read_bytes()[:100])
    with pytest.raises(AssertionError, match="measured again"):  # a damaged entry is none
        reference(setting, network, 100)
    monkeypatch.setattr(data.place, "_entries", list)  # the images may stay
    before = data.cache_size()
    assert data.clear_cache() == before > 0
    with pytest.raises(AssertionError, match="measured again"):
        reference(setting, network, 100)


def test_one_pass_of_the_longest_chain_serves_all_lengths(
    setting: Setting, network: features.FeatureNetwork
) -> None:
    statistics = reference(setting, network)
    together = generation(setting, network, statistics, n=30, steps=(0, 2, 3)).figures
    for k in (0, 2):
        alone = generation(setting, network, statistics, n=30, steps=(k,)).figures
        for name in together["figures"]:
            assert close(together["figures"][name][str(k)], alone["figures"][name][str(k)])
        assert close(together["log_density"][str(k)], alone["log_density"][str(k)])


def test_trajectories_pass_through_what_sample_and_infer_give(setting: Setting) -> None:
    model = setting.model
    passed = model.data_trajectory(5, (0, 2, 3), seed=4)
    for k, x in passed.states.items():
        assert torch.equal(x.clamp(-1, 1), model.sample(5, seed=4, steps=k))
        assert torch.allclose(passed.log_density[:, k], model.trio.h(x), atol=1e-6)
    x = setting.heldout.tensor(range(5))
    codes = model.latent_trajectory(x, (0, 1, 2), seed=4).states
    for k, z in codes.items():
        assert torch.equal(z, model.infer(x, seed=4, steps=k))


def test_figures_do_not_depend_on_the_batch(setting: Setting, results: dict[str, Result]) -> None:
    again = dict(run(TASKS, replace(setting, batch_size=7), PLAN, "pixels"))
    for task, result in results.items():
        assert close(without_protocol(result), without_protocol(again[task]), 2e-3), task


def test_other_seeds_give_other_figures(setting: Setting, results: dict[str, Result]) -> None:
    again = dict(run(("generation", "reconstruction"), replace(setting, seed=1), PLAN, "pixels"))
    for task, result in again.items():
        assert without_protocol(result) != without_protocol(results[task])
    assert again["reconstruction"].figures["inference"] == results["reconstruction"].figures["inference"]


def test_the_pca_line_is_the_variance_that_its_components_leave(trained: Path) -> None:
    """On the images it was fitted to: the sum of the smaller eigenvalues, per pixel."""
    model = Model.from_pretrained(trained)
    setting = setting_of(model, "digits:train", 297, processes=Processes(), quiet=True)
    setting = replace(setting, heldout=setting.train, images=len(setting.train))
    found = reconstruction(setting, steps=(), noise_steps=()).figures["pca"]
    rows = setting.train.tensor(range(len(setting.train))).flatten(1).double()
    values = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0))
    left = float(values[: -model.trio.latent_dim].sum()) / rows.shape[1]
    assert found["mse"] == pytest.approx(left, rel=1e-5)
    assert found["dimensions"] == model.trio.latent_dim


def test_components_of_large_images_are_found_without_their_covariance(setting: Setting) -> None:
    """Subspace iteration leaves the same error as the eigenvectors: the trailing eigenvalues, to 1e-4."""
    x = setting.train.tensor(range(1500))
    for k in (3, 10):
        errors = [
            float((x - principal_components(setting, k, exact=exact)(x)).square().mean()) for exact in (3072, 0)
        ]
        assert errors[1] == pytest.approx(errors[0], rel=1e-4)
    few = replace(setting, train=replace(setting.train, pixels=setting.train.pixels[:5]))
    assert principal_components(few, 10).components.shape == (64, 4)


def test_a_reference_that_names_a_split_is_measured_on_it(setting: Setting) -> None:
    model = setting.model
    named = setting_of(model, "digits:test")
    assert (named.train.split, named.heldout.split) == ("train", "test")
    whole = setting_of(model, "digits:train")
    assert (whole.train.split, whole.heldout.split) == ("train", "test")
    assert "held_out_is_training" not in named.protocol()


def test_data_with_one_split_are_measured_on_themselves_and_say_so(setting: Setting, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", test=np.asarray(setting.train.pixels[:40, ..., 0]))
    found = setting_of(setting.model, f"{tmp_path / 'a.npz'}:test")
    assert found.protocol()["held_out_is_training"] is True


def test_bf16_computes_networks_coarsely_and_keeps_float32(trained: Path) -> None:
    """8 bits of mantissa: h to about 1 %; chain states stay float32, so a chain of T = 0 moves pixels by less."""
    fine, coarse = (Model.from_pretrained(trained, precision=p) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    x = fine.sample(4)
    again = coarse.sample(4)
    assert again.dtype == torch.float32
    assert 0 < (x - again).abs().max() < 0.1
    assert not torch.equal(coarse.log_density(x), fine.log_density(x))
    h, gradient = fine.gradient(x)
    assert torch.allclose(h / fine.trio.temperature, fine.log_density(x))
    assert gradient.shape == x.shape
    with pytest.raises(InputError, match="fp32 or bf16"):
        Model.from_pretrained(trained, precision="fp16")  # type: ignore[arg-type]


def test_reconstruction_is_the_models(setting: Setting, results: dict[str, Result]) -> None:
    x, model = setting.heldout.tensor(range(30)), setting.model
    entry = results["reconstruction"].figures
    for start, k, found in (
        ("mean", 0, entry["inference"]),
        ("mean", 2, entry["from_inference"]["2"]),
        ("prior", 4, entry["from_noise"]["4"]),
    ):
        y = model.reconstruct(x, steps=k, start=start)  # type: ignore[arg-type]
        assert found["mse"] == pytest.approx(float((x - y).square().mean()), rel=1e-4)
        assert found["mse01"] == pytest.approx(found["mse"] / 4)
        assert found["psnr"] == pytest.approx(float(compare(x, y).psnr.mean()), rel=1e-4)


def test_revision_begins_with_the_generator_and_with_inference(
    setting: Setting, results: dict[str, Result]
) -> None:
    model, entry = setting.model, results["revision"].figures
    h = entry["data_chain"]["h"]
    for k, place in ((0, 0), (3, -1)):
        x = model.data_trajectory(20, (k,)).states[k]
        assert h[place] == pytest.approx(float(model.trio.h(x).mean()), abs=1e-5)
    assert entry["data_chain"]["log_density"][0] == pytest.approx(h[0] / model.trio.temperature)
    long = entry["data_chain"]["long"]
    assert len(long["h"]) == 31
    assert long["drift"] == pytest.approx(long["h"][-1] - long["h"][3])
    assert entry["latent_chain"]["mse"][0] == pytest.approx(
        results["reconstruction"].figures["inference"]["mse"], rel=1e-4
    )
    generated = results["generation"].figures["figures"]
    assert entry["distance"] == {"name": "fd_pixels_40", **generated["fd_pixels_40"]}


def test_paths_begin_and_end_at_codes_and_dip_by_nothing_on_a_straight_line(results: dict[str, Result]) -> None:
    entry = results["interpolation"].figures
    for kind in ("prior", "images"):
        linear, spherical = (entry[kind][path]["log_density"] for path in ("linear", "spherical"))
        assert linear[0] == pytest.approx(spherical[0], rel=1e-4)
        assert linear[-1] == pytest.approx(spherical[-1], rel=1e-4)
        assert entry[kind]["linear"]["dip"] >= -1e-6  # the ends lie on the line


def test_other_images_are_what_they_are_called(setting: Setting) -> None:
    n = 60
    keys = range(n)
    made = {name: make(setting.heldout, keys, n, 0) for name, make in OTHERS.items()}
    x = setting.heldout.tensor(keys)
    count = x.numel()
    assert all(images.shape == x.shape and images.abs().max() <= 1 + 1e-6 for images in made.values())
    # Uniform on [-1, 1]: mean 0, variance 1/3, fourth moment 1/5, so the sample variance errs by sqrt(4/45/n).
    assert abs(made["uniform"].mean()) < 5 * (1 / 3 / count) ** 0.5
    assert abs(made["uniform"].var() - 1 / 3) < 5 * (4 / 45 / count) ** 0.5
    assert (made["constants"].flatten(2).std(2) < 1e-6).all()
    assert torch.equal(made["shuffled"].flatten(1).sort(1)[0], x.flatten(1).sort(1)[0])
    assert not torch.equal(made["shuffled"], x)
    assert torch.equal(made["inverted"], -x)
    assert torch.equal(made["means"][5], (x[5] + x[35]) / 2)
    assert torch.equal(made["means"][50], (x[50] + x[20]) / 2)
    flat = replace(setting.heldout, pixels=np.full((2, 8, 8, 1), 51, np.uint8))
    assert torch.allclose(OTHERS["blurred"](flat, range(2), 2, 0), torch.tensor(51 / 127.5 - 1), atol=1e-6)
    for name, make in OTHERS.items():
        assert torch.allclose(make(setting.heldout, [7], n, 0), made[name][7:8], atol=1e-6), name


def test_a_set_is_not_told_from_itself(setting: Setting) -> None:
    found = ood(setting, builtin=(), sets={"same": replace(setting.heldout, pixels=setting.heldout.pixels[:30])})
    for score in ("log_density", "reconstruction_error", "gradient_norm", "combination"):
        assert found.figures["sets"]["same"][score]["auroc"] == pytest.approx(0.5)


def test_hidden_and_visible_errors_make_up_the_whole(setting: Setting) -> None:
    """Pasted: only hidden pixels err, so MSE is their share times their own."""
    x = setting.heldout.tensor(range(6))
    hidden = setting.model.hidden(6, "blocks:0.3")
    y = setting.model.reconstruct(x)
    found = compare_stages(x, [y, y, y], hidden)
    share = hidden.flatten(1).double().mean(1)
    for stage in STAGES:
        assert torch.allclose(found[stage, "pasted"].mse, share * found[stage, "hidden"].mse, rtol=1e-5)
        visible = compare_where(x, y, ~hidden).mse
        whole = share * found[stage, "hidden"].mse + (1 - share) * visible
        assert torch.allclose(found[stage, "whole"].mse, whole, rtol=1e-5)


def test_inpainting_figures_are_those_of_the_models_stages(setting: Setting, results: dict[str, Result]) -> None:
    x = setting.heldout.tensor(range(30))
    stages = setting.model.inpainting_stages(x, "M20")
    entry = results["inpainting"].figures["masks"]["M20"]
    assert entry["hidden"] == pytest.approx(4 / 64)
    for name, y in zip(STAGES, stages, strict=False):
        assert entry["stages"][name]["psnr"] == pytest.approx(float(compare(x, y).psnr.mean()), abs=1e-3)


def test_protocols_hold_what_is_needed_to_find_a_figure_again(results: dict[str, Result]) -> None:
    for task, result in results.items():
        protocol = result.figures["protocol"]
        for key in ("version", "step", "seed", "device", "precision", "test_chain", "latent_chain"):
            assert key in protocol, (task, key)
        if task != "generation":
            assert protocol["n"] == 30
            assert protocol["fingerprint"]
    protocol = results["generation"].figures["protocol"]
    assert protocol["samples"] == 40
    assert "n" not in protocol  # no held-out image is used
    assert protocol["reference"]["n"] == 1500
    assert protocol["features"]["network"] == "pixels"


def lines(axes: Axes) -> dict[str, list[float]]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float).tolist() for line in axes.get_lines()}


def test_figure_2_has_its_four_panels_and_the_jsons_numbers(results: dict[str, Result]) -> None:
    result = results["revision"]
    frames_x, frames_z, curve_h, curve_mse = figures.figure2(result).axes
    assert "data chain" in frames_x.get_title()
    assert "latent chain" in frames_z.get_title()
    assert [*lines(curve_h).values()] == [result.figures["data_chain"]["log_density"]]
    assert [*lines(curve_mse).values()] == [result.figures["latent_chain"]["mse"]]
    assert len(frames_x.images) == len(frames_z.images) == 1


def test_figure_3_has_its_three_panels_and_the_jsons_numbers(results: dict[str, Result]) -> None:
    result = results["reconstruction"]
    entry = result.figures
    *panels, pictures = figures.figure3(result).axes
    assert [axes.get_title() for axes in panels] == ["MSE", "SSIM", "PSNR"]
    for axes, name in zip(panels, ("mse", "ssim", "psnr"), strict=True):
        drawn = lines(axes)
        assert drawn["from inference"] == [entry["inference"][name], entry["from_inference"]["2"][name]]
        assert drawn["from noise"] == [entry["from_noise"][k][name] for k in ("2", "4")]
        assert entry["pca"][name] in drawn["PCA, 4 dimensions"]
    assert len(pictures.images) == 1


def test_figure_4_has_both_kinds_of_paths_and_the_jsons_numbers(results: dict[str, Result]) -> None:
    result = results["interpolation"]
    axes = figures.figure4(result).axes
    assert len(axes) == 6
    for curve, kind in ((axes[2], "prior"), (axes[5], "images")):
        drawn = lines(curve)
        for path in ("linear", "spherical"):
            assert drawn[path] == result.figures[kind][path]["log_density"]


def test_figure_5_has_a_panel_per_mask_with_the_jsons_numbers(results: dict[str, Result]) -> None:
    result = results["inpainting"]
    axes = [a for a in figures.figure5(result).axes if a.images]
    assert len(axes) == 2
    for panel, mask in zip(axes, ("M20", "R30"), strict=True):
        assert mask in panel.get_title()
        for stage in result.figures["masks"][mask]["stages"].values():
            assert f"{stage['psnr']:.2f} dB, {stage['ssim']:.3f}" in panel.get_title()


def test_samples_and_detection_are_drawn_with_the_jsons_numbers(results: dict[str, Result]) -> None:
    result = results["generation"]
    titles = [axes.get_title() for axes in figures.samples(result).axes]
    values = result.figures["figures"]["fd_pixels_40"]
    assert titles == [
        f"generator: fd_pixels_40 {values['0']:.4g}",
        f"after 3 steps: fd_pixels_40 {values['3']:.4g}",
    ]
    bars = [bar.get_width() for bar in figures.ood(results["ood"]).axes[0].patches]
    sets = results["ood"].figures["sets"].values()
    kinds = ("log_density", "reconstruction_error", "gradient_norm", "combination")
    assert bars == [values[kind]["auroc"] for kind in kinds for values in sets]


def test_every_drawing_is_a_png(results: dict[str, Result], tmp_path: Path) -> None:
    names = set()
    for task, result in results.items():
        path = figures.save(task, result, tmp_path / "figures")
        names.add(path.name)
        with Image.open(path) as picture:
            assert picture.format == "PNG"
    assert names == {"samples.png", "figure2.png", "figure3.png", "figure4.png", "figure5.png", "ood.png"}


def test_more_than_there_is_is_refused(setting: Setting, trained: Path) -> None:
    model = setting.model
    with pytest.raises(InputError, match="297 images"):
        setting_of(model, None, 298)
    with pytest.raises(InputError, match="1500 images"):
        reference(setting, features.load("pixels"), 1501)
    with pytest.raises(InputError, match="20 or more"):
        list(run(("generation",), setting, replace(PLAN, n=5), "pixels"))
    with pytest.raises(InputError, match="16 pairs of 30"):
        interpolation(setting, pairs=16)
    with pytest.raises(InputError, match="16 pairs of 30"):
        list(run(TASKS, setting, replace(PLAN, pairs=16), "pixels"))
    with pytest.raises(InputError, match="needs a feature network"):
        list(run(("generation",), setting, PLAN, None))


def test_data_of_another_size_or_other_colours_are_refused_unless_resized(
    setting: Setting, tmp_path: Path
) -> None:
    model = setting.model
    for array, said in (
        (np.zeros((30, 16, 16), np.uint8), "16x16 grey"),
        (np.zeros((30, 8, 8, 3), np.uint8), "8x8 colour"),
    ):
        path = tmp_path / "images.npy"
        np.save(path, array)
        with pytest.raises(InputError, match=said):
            setting_of(model, str(path))
        assert len(setting_of(model, str(path), resize=True).train) == 27
    np.save(path, np.zeros((30, 8, 8), np.uint8))
    assert len(setting_of(model, str(path)).train) == 27
    with pytest.raises(InputError, match="28x28 grey"):
        setting_of(model, "mnist")


def test_native_sizes_are_read_before_the_rule(tmp_path: Path) -> None:
    Image.new("RGB", (12, 9)).save(tmp_path / "a.png")
    (tmp_path / "Broken.png").write_bytes(b"nothing")
    assert data.natives(str(tmp_path)) == {(12, 9, 3)}
    Image.new("I;16", (8, 8)).save(tmp_path / "b.png")
    assert data.natives(str(tmp_path)) == {(12, 9, 3), (8, 8, 1)}
    assert data.natives("digits:test") == {(8, 8, 1)}


def test_tasks_ask_for_no_more_pictures_than_there_are(trained: Path) -> None:
    """One held-out image, one chain: every task that can be done is."""
    setting = setting_of(Model.from_pretrained(trained), None, 2, processes=Processes(), quiet=True)
    assert inpainting(setting, masks=("M40",)).pictures["M40"].shape[1] == 2
    assert revision(setting, samples=1, distance=None).figures["distance"] is None
    assert interpolation(setting, pairs=1).figures["pairs"] == 1
