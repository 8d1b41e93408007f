"""Inpainting explains visible pixels only; masks hide what they say; a linear generator's answer is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from linear import assert_moments, linear_trio, settled_covariance
from PIL import Image
from tiny import tiny
from torch import Tensor

from dualmcmc import InputError, Model, masks
from dualmcmc.noise import BatchNoise
from dualmcmc.sampling import explain, inpaint
from dualmcmc.settings import Chain
from dualmcmc.storage import pretrained
from dualmcmc.training import setup


@pytest.fixture(scope="module")
def model() -> Model:
    config = tiny({"method.latent_chain.steps": 5, "method.test_chain.steps": 5})
    return Model(pretrained.plain_trio(setup.new_trio(config)), config)


def pictures(n: int) -> Tensor:
    return torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_latent_chain_reaches_the_posterior_given_the_visible_pixels() -> None:
    """Linear g(z) = W z + b: Gaussian, precision I + W_v' W_v / sigma^2, (M1); the step's bias by (L2)."""
    n, sigma, chain = 20_000, 0.5, Chain(steps=150, step=0.3)
    trio = linear_trio(6, 2, sigma=sigma)
    x = torch.tensor([0.8, -0.3, 0.5, 7.0, -7.0, 0.1])
    hidden = torch.tensor([False, False, False, True, True, False])
    w, b = trio.generator.weight.detach()[~hidden], trio.generator.bias.detach()[~hidden]  # type: ignore[union-attr,index]
    precision = torch.eye(2) + w.T @ w / sigma**2
    mean = torch.linalg.solve(precision, w.T @ (x[~hidden] - b) / sigma**2)
    assert chain.steps * chain.step**2 * torch.linalg.eigvalsh(precision)[0] > 10  # e^-5 of the start is left
    found = inpaint(
        trio, x.expand(n, 6), hidden.expand(n, 6), chain, Chain(steps=0, step=0.1), noise=BatchNoise(0, range(n))
    )
    assert_moments(found.z_post, mean, settled_covariance(precision, chain.step))


def test_the_joint_density_of_visible_pixels_is_the_whole_one_with_the_hidden_integrated_out() -> None:
    """Pixels are independent given z: log p(x, z) - log p(x_v, z) is the hidden pixels' Gaussian."""
    trio = linear_trio(5, 2, sigma=0.4)
    x, z = torch.randn(3, 5), torch.randn(3, 2)
    visible = torch.tensor([True, False, True, True, False]).expand(3, 5)
    hidden_part = torch.distributions.Normal(trio.g(z), 0.4).log_prob(x)[:, [1, 4]].sum(1)
    difference = trio.log_joint(x, z) - trio.log_joint(x, z, visible=visible)
    assert torch.allclose(difference, hidden_part, atol=1e-4)


def test_what_hidden_pixels_hold_cannot_change_the_result(model: Model) -> None:
    x, mask = pictures(4), "blocks:0.4"
    hidden = model.hidden(4, mask)
    other = torch.where(hidden, -x, x)
    for visible in ("free", "clamped"):
        ours = model.inpaint(x, mask, visible=visible)  # type: ignore[arg-type]
        assert torch.equal(ours, model.inpaint(other, mask, visible=visible))  # type: ignore[arg-type]
    stages, others = model.inpainting_stages(x, mask), model.inpainting_stages(other, mask)
    assert all(torch.equal(a, b) for a, b in zip(stages, others, strict=True))


def test_a_mask_that_hides_nothing_is_reconstruction(model: Model) -> None:
    x = pictures(3)
    stages = model.inpainting_stages(x, torch.zeros(8, 8, dtype=torch.bool))
    assert torch.equal(stages.by_inference, model.reconstruct(x, steps=0))
    assert torch.equal(stages.by_latent_chain, model.reconstruct(x))
    assert torch.equal(model.inpaint(x, torch.zeros(8, 8)), x)  # pasted: every pixel is given


def test_a_mask_that_hides_everything_leaves_the_prior() -> None:
    """(M1) without visible pixels is log p(z): the chain settles at N(0, 1 / (1 - s^2/4)), whatever x is."""
    trio, n, chain = linear_trio(4, 2, sigma=0.3), 20_000, Chain(steps=60, step=0.5)
    x = torch.full((n, 4), 0.9)
    z = explain(
        trio, x, chain, noise=BatchNoise(1, range(n)), start="mean", visible=torch.zeros(n, 4, dtype=torch.bool)
    )
    assert_moments(z.z_post, torch.zeros(2), settled_covariance(torch.eye(2), chain.step))


def test_clamped_pixels_stay_and_free_ones_move(model: Model) -> None:
    x, mask = pictures(4), "center:4"
    hidden = model.hidden(4, mask)
    clamped = model.inpainting_stages(x, mask, visible="clamped")
    free = model.inpainting_stages(x, mask)
    assert torch.equal(clamped.by_data_chain[~hidden], clamped.by_latent_chain[~hidden])
    assert not torch.equal(free.by_data_chain[~hidden], free.by_latent_chain[~hidden])
    assert not torch.equal(clamped.by_data_chain[hidden], clamped.by_latent_chain[hidden])
    for visible in ("free", "clamped"):
        assert torch.equal(model.inpaint(x, mask, visible=visible)[~hidden], x[~hidden])  # type: ignore[arg-type]


def test_the_clamped_chain_samples_hidden_pixels_given_the_visible_ones() -> None:
    """Quadratic h: the conditional Gaussian, precision A_hh, mean -A_hh^-1 A_hv x_v; the step's bias by (L2)."""
    n, chain = 20_000, Chain(steps=120, step=0.4)
    trio = linear_trio(3, 1, sigma=1.0)
    precision = torch.tensor([[1.5, 0.4, -0.3], [0.4, 1.0, 0.2], [-0.3, 0.2, 1.2]])
    trio.energy.matrix.data.copy_(precision)  # type: ignore[union-attr,operator]
    x = torch.tensor([9.0, -9.0, 0.7])
    hidden = torch.tensor([True, True, False])
    found = inpaint(
        trio,
        x.expand(n, 3),
        hidden.expand(n, 3),
        Chain(steps=0, step=0.1),
        chain,
        noise=BatchNoise(2, range(n)),
        visible_pixels="clamped",
    )
    block = precision[:2, :2]
    mean = -torch.linalg.solve(block, precision[:2, 2] * 0.7)
    assert_moments(found.by_data_chain[:, :2], mean, settled_covariance(block, chain.step))
    assert torch.equal(found.by_data_chain[:, 2], found.by_latent_chain[:, 2])


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 128, 256])
def test_masks_hide_the_share_they_say(size: int) -> None:
    cell = 1 / (49 if size == 28 else 64)
    for percent in (20, 30, 40):
        centre = masks.hidden(f"M{percent}", size, range(2))[0, 0]
        side = round(percent * size / 64)
        assert centre.sum() == side**2
        first = (size - side) // 2
        assert centre[first : first + side, first : first + side].all()
        blocks = masks.hidden(f"R{percent}", size, range(3))
        assert torch.allclose(blocks.float().mean((1, 2, 3)), torch.tensor(percent / 100), atol=cell / 2 + 1e-6)
        assert torch.equal(blocks, masks.hidden(f"blocks:{percent / 100}", size, range(3)))


def test_blocks_lie_by_seed_and_key_alone() -> None:
    all_of_them = masks.hidden("blocks:0.3", 16, range(5), seed=3)
    assert torch.equal(masks.hidden("blocks:0.3", 16, [4, 2], seed=3), all_of_them[[4, 2]])
    assert not torch.equal(masks.hidden("blocks:0.3", 16, range(5), seed=4), all_of_them)
    assert len({tuple(mask.flatten().tolist()) for mask in all_of_them}) == 5


def test_a_mask_picture_hides_its_white(tmp_path: Path) -> None:
    values = np.zeros((16, 16), np.uint8)
    values[4:8, 2:6] = 255
    Image.fromarray(values).save(tmp_path / "mask.png")
    expected = torch.from_numpy(values[::2, ::2] > 0).expand(2, 1, 8, 8)
    assert torch.equal(masks.hidden(str(tmp_path / "mask.png"), 8, range(2)), expected)
    assert torch.equal(masks.hidden(Image.fromarray(values), 8, range(2)), expected)
    assert torch.equal(masks.hidden(expected.numpy()[0], 8, range(2)), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda grey: Image.fromarray(grey.astype(np.uint16) * 257),  # 16 bits
        lambda grey: Image.fromarray(grey.astype(np.int32) * 257),  # Pillow's mode I
        lambda grey: Image.fromarray(grey > 0),
        lambda grey: Image.fromarray(grey).convert("P"),
        lambda grey: Image.fromarray(grey).convert("CMYK"),
        lambda grey: Image.fromarray(grey).convert("RGBA"),  # an alpha channel that is opaque throughout
    ],
)
def test_a_mask_picture_of_any_mode_is_the_same_mask(make: Callable[[np.ndarray], Image.Image]) -> None:
    """From the middle of the range on it is white: 128 of 255, 16-bit 32768 of 65535."""
    grey = np.zeros((8, 8), np.uint8)
    grey[2:5, 3:7] = 255
    assert torch.equal(masks.hidden(make(grey), 8, [0])[0, 0], torch.from_numpy(grey > 0))


def test_sixteen_bit_masks_are_cut_in_the_middle_of_their_range(tmp_path: Path) -> None:
    values = np.zeros((8, 8), np.uint16)
    values[0, :4] = 255, 32000, 33000, 65535
    Image.fromarray(values).save(tmp_path / "mask.png")
    hidden = masks.hidden(tmp_path / "mask.png", 8, [0])[0, 0]
    assert hidden[0, :4].tolist() == [False, False, True, True]
    assert hidden.sum() == 2


@pytest.mark.parametrize(
    "values",
    [
        np.eye(8)[::-1].astype(np.uint16),
        np.eye(8, dtype=">f4")[::-1],
        np.eye(8, dtype=np.longdouble)[::-1],
        np.frombuffer(np.eye(8, dtype=np.int8)[::-1].tobytes(), np.int8).reshape(8, 8),  # read-only
    ],
)
def test_arrays_of_any_number_type_are_masks(values: np.ndarray) -> None:
    assert torch.equal(masks.hidden(values, 8, [0])[0, 0], torch.eye(8).flip(0) > 0)


def _transparent(mode: str) -> Image.Image:
    picture = Image.new("RGBA", (8, 8), (255, 255, 255, 255))
    picture.putpixel((0, 0), (0, 0, 0, 0))
    return picture.convert("LA").convert(mode) if mode == "La" else picture.convert(mode)


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("center:9", "1 to 8"),
        ("center:²", "mask center:²: give a whole number"),
        ("center:٣", "mask center:٣: give a whole number"),
        ("center:" + "9" * 5000, "whole number"),
        ("M99", "mask M99: 12 of 8 pixels"),
        ("x" * 5000, "neither a specification nor a file"),
        (None, "a mask of type NoneType: expected an array"),
        ([[0, 1], [1, 0]], "a mask of type list: expected an array"),
        (np.full((8, 8), "white"), "expected bool"),
        (np.full((8, 8), None), "expected bool"),
        (_transparent("RGBA"), "the mask is transparent in places: save it without transparency"),
        (_transparent("LA"), "transparent"),
        (_transparent("La"), "transparent"),
        (Image.new("F", (8, 8)), "the mask: the picture holds floating-point values"),
        (Image.fromarray(np.full((8, 8), 70_000, np.int32)), "the mask: the picture's values go from"),
        (Image.new("L", (0, 0)), "no pixels"),
        ("center:x", "whole number"),
        ("blocks:1.5", "between 0 and 1"),
        ("blocks:nan", "between 0 and 1"),
        ("circle:3", "neither a specification nor a file"),
        ("no.png", "neither a specification nor a file"),
        (torch.zeros(7, 7), "shape"),
        (torch.full((8, 8), float("nan")), "NaN"),
        (Image.new("L", (8, 6)), "square"),
    ],
)
def test_masks_that_cannot_be_are_refused(model: Model, mask: masks.MaskLike, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model.inpaint(pictures(2), mask)


def test_a_file_that_is_no_picture_is_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("nothing")
    with pytest.raises(InputError, match=r"mask .*mask\.png cannot be read as a picture"):
        model.inpaint(pictures(1), str(tmp_path / "mask.png"))


def test_a_mask_file_is_read_as_safely_as_data_are(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other program is started, no giant unpacked; whatever a plugin raises is one line with the path."""
    path = tmp_path / "mask.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"mask\.png cannot be read as a picture"):
        model.inpaint(pictures(1), path)
    path.write_bytes(whole[:20] + b"\xff" * 30 + whole[50:])
    with pytest.raises(InputError, match=r"mask\.png"):
        model.inpaint(pictures(1), path)
    path.write_bytes(whole)
    for most in (3000, 1000):  # Pillow warns of the first, and refuses the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        with pytest.raises(InputError, match=rf"mask\.png has more than {most:,} pixels"):
            model.inpaint(pictures(1), path)
    (tmp_path / "mask.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(InputError, match=r"mask\.eps cannot be read as a picture \(cannot identify"):
        model.inpaint(pictures(1), tmp_path / "mask.eps")
    Image.new("P", (8, 8)).save(tmp_path / "clear.gif", transparency=0)
    with pytest.raises(InputError, match=r"clear\.gif is transparent in places"):
        model.inpaint(pictures(1), tmp_path / "clear.gif")


def test_results_are_independent_of_the_batch(model: Model) -> None:
    x = pictures(5)
    whole = model.inpaint(x, "blocks:0.3", paste=False)
    one = model.inpaint(x[3:4], "blocks:0.3", keys=[3], paste=False)
    assert (whole[3] - one[0]).abs().max() < 1e-4
