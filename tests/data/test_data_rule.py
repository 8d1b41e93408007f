"""The rule from any picture to a training image: exact pixels, wherever they can be worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dualmcmc.data import fit, to_float, to_uint8
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

GREY, RGB = Images(size=8, channels=1), Images(size=8, channels=3)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=2)


def saved(image: Image.Image, form: str, **options: object) -> Image.Image:
    """The picture as it comes back from a file."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return Image.open(io.BytesIO(file.getvalue()))


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R 601 in Pillow's 16-bit integers."""
    r, g, b = np.moveaxis(rgb.astype(np.int64), 2, 0)
    return ((19595 * r + 38470 * g + 7471 * b + 32768) >> 16).astype(np.uint8)


def test_grey_and_rgb_of_the_right_size_are_unchanged():
    assert np.array_equal(fit(Image.fromarray(RAMP), GREY)[..., 0], RAMP)
    assert np.array_equal(fit(Image.fromarray(COLOUR), RGB), COLOUR)
    assert np.array_equal(fit(Image.fromarray(COLOUR), GREY)[..., 0], luma(COLOUR))
    assert np.array_equal(fit(Image.fromarray(RAMP), RGB), np.repeat(RAMP[..., None], 3, 2))


def test_one_bit_becomes_0_and_255():
    bits = RAMP > 100
    assert np.array_equal(fit(Image.fromarray(bits), GREY)[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_composited_over_white(mode: str):
    grey = Image.fromarray(np.full((8, 8), 100, np.uint8))
    image = grey.convert(mode)
    alpha = np.full((8, 8), 255, np.uint8)
    alpha[:4] = 0
    image.putalpha(Image.fromarray(alpha))
    expected = np.where(alpha == 0, 255, 100)
    for rule in (GREY, RGB):
        assert np.array_equal(fit(image, rule), np.repeat(expected[..., None], rule.channels, 2))


@pytest.mark.parametrize(("mode", "premultiplied"), [("RGBA", "RGBa"), ("LA", "La")])
def test_premultiplied_transparency_is_composited_over_white(mode: str, premultiplied: str):
    image = Image.new("L", (8, 8), 100).convert(mode)
    image.putalpha(Image.new("L", (8, 8), 0))
    assert (fit(image.convert(premultiplied), GREY) == 255).all()


def test_half_transparent_black_is_mid_grey():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert (fit(image, RGB) == 127).all()


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_are_looked_up_and_their_transparent_colour_is_white(transparent: bool):
    image = Image.new("P", (8, 8))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.paste(1, (0, 0, 8, 4))
    options = {"transparency": 1} if transparent else {}
    found = fit(saved(image, "PNG", **options), RGB)
    assert (found[4:] == (10, 20, 30)).all()
    assert (found[:4] == ((255, 255, 255) if transparent else (200, 100, 0))).all()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_by_a_257th_and_rounded(form: str):
    values = (np.arange(64, dtype=np.uint16) * 1040).reshape(8, 8)
    values[0, :4] = 128, 129, 65535, 385
    image = saved(Image.fromarray(values), form)
    assert image.mode.startswith("I")
    expected = np.floor(values / 257 + 0.5).astype(np.uint8)  # 257 is odd, so nothing lies half-way
    assert expected[0, :4].tolist() == [0, 1, 255, 1]
    assert np.array_equal(fit(image, GREY)[..., 0], expected)
    assert np.array_equal(fit(image, RGB)[..., 2], expected)


@pytest.mark.parametrize("values", [np.full((8, 8), 65536, np.int32), np.full((8, 8), -1, np.int32)])
def test_more_than_sixteen_bits_are_refused(values: np.ndarray):
    with pytest.raises(InputError, match="65535"):
        fit(Image.fromarray(values), GREY)


def test_float_pictures_are_refused():
    with pytest.raises(InputError, match="mode F"):
        fit(Image.fromarray(np.zeros((8, 8), np.float32)), GREY)


def test_a_picture_without_pixels_is_refused():
    with pytest.raises(InputError, match="no pixels"):
        fit(Image.new("L", (0, 8)), GREY)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_colour_modes_become_what_pillow_makes_of_them(mode: str):
    image = Image.fromarray(COLOUR).convert(mode)
    assert np.array_equal(fit(image, RGB), np.asarray(image.convert("RGB")))
    assert np.array_equal(fit(image, GREY)[..., 0], luma(np.asarray(image.convert("RGB"))))


def test_white_in_cmyk_is_white():
    assert (fit(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), GREY) == 255).all()


TURNS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = saved(Image.fromarray(RAMP), "PNG", exif=exif)
    assert np.array_equal(fit(image, GREY)[..., 0], TURNS[orientation](RAMP))


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("L", (8, 8), value) for value in (40, 200)]
    image = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (fit(image, GREY) == 40).all()


@pytest.mark.parametrize(("width", "height", "left", "top"), [(12, 8, 2, 0), (8, 13, 0, 2), (11, 8, 1, 0)])
def test_the_square_crop_is_centred(width: int, height: int, left: int, top: int):
    values = np.random.RandomState(0).randint(0, 256, (height, width)).astype(np.uint8)
    found = fit(Image.fromarray(values), GREY)[..., 0]
    assert np.array_equal(found, values[top : top + 8, left : left + 8])


def test_resizing_is_pillows_lanczos_after_the_crop():
    values = np.random.RandomState(0).randint(0, 256, (40, 60, 3)).astype(np.uint8)
    square = Image.fromarray(values[:, 10:50])
    expected = np.asarray(square.resize((8, 8), Image.Resampling.LANCZOS))
    assert np.array_equal(fit(Image.fromarray(values), RGB), expected)


def test_nothing_is_resized_that_has_the_size(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("resized")

    monkeypatch.setattr(Image.Image, "resize", refuse)
    fit(Image.fromarray(COLOUR), RGB)


def test_the_celeba_crop_is_its_box_and_needs_its_size():
    rule = Images(size=64, channels=3, crop="celeba")
    values = np.random.RandomState(0).randint(0, 256, (218, 178, 3)).astype(np.uint8)
    expected = Image.fromarray(values[40:188, 15:163]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(fit(Image.fromarray(values), rule), np.asarray(expected))
    with pytest.raises(InputError, match=r"64x64.*178x218"):
        fit(Image.new("RGB", (64, 64)), rule)


def test_all_256_values_survive_the_way_to_float_and_back():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, 3)
    x = to_float(pixels)
    assert (x.shape, x.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (x.min(), x.max()) == (-1, 1)
    assert np.array_equal(to_uint8(x), pixels)
    assert torch.equal(to_float(torch.from_numpy(pixels)), x)


def test_values_outside_are_clamped():
    assert to_uint8(torch.tensor([-3.0, -1.0, 0.999, 7.0]).view(1, 1, 2, 2)).ravel().tolist() == [
        0,
        0,
        255,
        255,
    ]


@pytest.mark.parametrize("pixels", [np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8), np.uint8)])
def test_only_8_bit_batches_become_floats(pixels: np.ndarray):
    with pytest.raises(InputError, match="uint8"):
        to_float(pixels)
