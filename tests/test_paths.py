"""Interpolation starts and ends at its ends, by the straight line or along the arc."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import tiny

from dualmcmc import InputError, Model, paths
from dualmcmc.storage import pretrained
from dualmcmc.training import setup


@pytest.fixture(scope="module")
def model() -> Model:
    config = tiny()
    return Model(pretrained.plain_trio(setup.new_trio(config)), config)


def codes(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("path", paths.PATHS)
def test_the_ends_of_a_path_are_the_end_points(path: paths.Path) -> None:
    a, b = codes(4, 7, 0), codes(4, 7, 1)
    z = paths.between(a, b, 5, path)
    assert torch.equal(z[:, 0], a)
    assert torch.equal(z[:, -1], b)
    assert torch.allclose(paths.between(b, a, 5, path).flip(1), z, atol=1e-6)  # there and back


def test_the_linear_path_is_the_mean_in_its_middle() -> None:
    a, b = codes(4, 7, 0), codes(4, 7, 1)
    assert torch.allclose(paths.between(a, b, 3, "linear")[:, 1], (a + b) / 2)


def test_the_spherical_path_keeps_the_length_and_turns_evenly() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    t = torch.linspace(0, math.pi / 2, 9)
    expected = 2 * torch.stack([t.cos(), t.sin()], 1)
    assert torch.allclose(paths.between(a, b, 9, "spherical")[0], expected, atol=1e-6)


def test_parallel_codes_have_a_straight_path() -> None:
    a = codes(1, 5, 0)
    for b in (a, 2 * a, -a):
        assert torch.allclose(paths.between(a, b, 4, "spherical"), paths.between(a, b, 4, "linear"), atol=1e-5)
    assert paths.between(a, 0 * a, 4, "spherical").isfinite().all()


@pytest.mark.parametrize("path", paths.PATHS)
def test_a_models_path_joins_the_two_reconstructions(model: Model, path: paths.Path) -> None:
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    a, b = x[:3], x[3:]
    images = model.interpolate(a, b, steps=4, path=path)
    assert images.shape == (3, 4, 1, 8, 8)
    assert torch.allclose(images[:, 0], model.reconstruct(a), atol=1e-4)
    assert torch.allclose(images[:, -1], model.reconstruct(b), atol=1e-4)
    still = model.interpolate(a, a, steps=3, path=path)
    assert torch.allclose(still[:, 1], still[:, 0], atol=1e-4)  # the path from an image to itself


def test_the_priors_codes_are_those_that_sample_decodes(model: Model) -> None:
    z = model.prior(3, seed=5, keys=[7, 1, 4])
    assert torch.equal(model.decode(z), model.sample(3, seed=5, keys=[7, 1, 4], steps=0))


def test_paths_that_cannot_be_are_refused(model: Model) -> None:
    x = torch.zeros(2, 1, 8, 8)
    with pytest.raises(InputError, match="2 or more"):
        model.interpolate(x, x, steps=1)
    with pytest.raises(InputError, match="equal shapes"):
        model.interpolate(x, x[:1])
    with pytest.raises(InputError, match="linear or spherical"):
        model.interpolate(x, x, path="cubic")  # type: ignore[arg-type]
