"""Settings are checked with one line each, survive JSON, and the presets hold the released numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dualmcmc import config, presets
from dualmcmc.errors import InputError


def _changed(path: str, value: Any) -> dict[str, Any]:
    values = json.loads(json.dumps(config.to_dict(presets.preset("digits"))))
    *folders, name = path.split(".")
    place = values
    for folder in folders:
        place = place[folder]
    place[name] = value
    return values


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_are_valid_and_survive_json(name: str) -> None:
    preset = presets.preset(name)
    assert config.check(preset) == preset
    assert config.from_dict(json.loads(json.dumps(config.to_dict(preset)))) == preset
    assert config.differences(preset, preset) == []
    assert presets.SOURCES[name]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("method.data_chain.steps", -1),
        ("method.data_chain.step", 0),
        ("method.data_chain.temperature", -1),
        ("method.data_chain.temperature", 0),
        ("method.data_chain.temperature", float("nan")),
        ("method.data_chain.step", float("inf")),
        ("method.sigma", 0),
        ("method.start", "middle"),
        ("method.name", "alchemy"),
        ("networks.latent_dim", 0),
        ("networks.norm", "layer"),
        ("images.size", 33),
        ("images.channels", 2),
        ("optim.batch_size", 0),
        ("optim.batch_size", "many"),
        ("optim.energy.rate", -1e-4),
        ("optim.energy.betas", [0.5, 1.0]),
        ("optim.ema", 1.0),
        ("run.steps", 0),
        ("seed", -1),
        ("data", ""),
        ("colour", "blue"),
        ("method.colour", "blue"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(path: str, value: Any) -> None:
    with pytest.raises(InputError) as caught:
        config.from_dict(_changed(path, value))
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_widths_that_cannot_narrow_are_refused() -> None:
    celeba = presets.preset("celeba64")
    with pytest.raises(InputError, match=r"energy_width is 100.*multiple of 16"):
        config.check(replace(celeba, networks=replace(celeba.networks, energy_width=100)))


def test_differences_name_each_field() -> None:
    ours = presets.preset("digits")
    theirs = replace(ours, seed=3, optim=replace(ours.optim, ema=0.5))
    assert config.differences(ours, theirs) == ["optim.ema is 0.99, not 0.5", "seed is 0, not 3"]


def test_released_chains_are_the_released_step_and_noise_sizes() -> None:
    """s sqrt(T) is the code's noise size of 0.001 for every data chain, and 0.1 for the latent chain."""
    for name in ("cifar10", "celeba64"):
        method = presets.preset(name).method
        for chain, step in (
            (method.data_chain, {"cifar10": 0.5, "celeba64": 0.3}[name]),
            (method.test_chain, 0.4),
        ):
            assert chain.step == step
            assert abs(chain.step * chain.temperature**0.5 / 0.001 - 1) < 1e-12
        assert method.latent_chain.step * method.latent_chain.temperature**0.5 == 0.1


def test_released_losses_are_ours_times_two_sigma_squared() -> None:
    """SSE and decay 5e-4 there; both over 2 sigma^2 here, with sigma^2 = 0.3^2 / 2."""
    c = presets.preset("cifar10")
    factor = 2 * c.method.sigma**2
    assert abs(factor - 0.3**2) < 1e-12
    assert abs(c.optim.generator.weight_decay * factor - 5e-4) < 1e-12
    assert (c.method.generator_data_weight, c.method.generator_model_weight) == (1, 50)
    assert presets.preset("celeba64").method.generator_model_weight == 70


def test_method_defaults_weigh_as_the_paper_writes_it() -> None:
    m = presets.DualMCMC()
    weights = [
        m.generator_data_weight,
        m.generator_model_weight,
        m.inference_data_weight,
        m.inference_model_weight,
    ]
    assert weights == [1, 1, 1, 1]
