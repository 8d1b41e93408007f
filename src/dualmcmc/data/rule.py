"""The rule by which any picture becomes a training image, and 8-bit pixels become numbers in [-1, 1].

In this order:

    1. the first frame, turned upright as its EXIF orientation says;
    2. transparency composited over white;
    3. 16-bit grey scaled by 1/257 and rounded (65535 becomes 255); float pictures are refused;
    4. converted by Pillow to grey (ITU-R 601 luma) or RGB;
    5. cropped: `square` takes the centred largest square, `celeba` the box (15, 40, 163, 188);
    6. resized with Pillow's LANCZOS, if the side differs from the one asked for.

Then x = v / 127.5 - 1 for v in 0..255. `to_uint8` undoes it exactly. Mirroring is not part of the rule:
it is drawn anew at each visit.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dualmcmc.errors import InputError
from dualmcmc.settings import Images

_ORIENTATION = 0x0112  # the EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CELEBA_SIZE, _CELEBA_BOX = (178, 218), (15, 40, 163, 188)


def fit(image: Image.Image, rule: Images) -> np.ndarray:
    """One picture by the rule.

    Arguments:
        image: any Pillow image; it is left as it is.
        rule: size, channels and crop; `flip` is not used.

    Returns:
        uint8, shape (size, size, channels).

    Raises:
        InputError: a float picture, values beyond 16 bits, no pixels, or a size that the crop forbids.
    """
    if 0 in image.size:
        raise InputError(f"the picture is {image.width}x{image.height} and has no pixels")
    upright = _upright(image)
    plain = _crop(_plain(upright).convert("L" if rule.channels == 1 else "RGB"), rule.crop)
    if plain.size != (rule.size, rule.size):
        plain = plain.resize((rule.size, rule.size), Image.Resampling.LANCZOS)
    return np.array(plain, dtype=np.uint8).reshape(rule.size, rule.size, rule.channels)


def _upright(image: Image.Image) -> Image.Image:
    try:
        method = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Pillow raises half a dozen types on broken EXIF; a picture without readable EXIF has no orientation.
        method = None
    return image if method is None else image.transpose(method)


def _plain(image: Image.Image) -> Image.Image:
    """Opaque and 8-bit: mode L or RGB."""
    if image.mode == "F":
        raise InputError("the picture holds floating-point values (mode F): save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _eight_bit(image)
    if image.has_transparency_data:
        if image.mode == "La":  # Pillow cannot take the premultiplied grey mode to RGBA at once
            image = image.convert("LA")
        colour = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, colour).convert("RGB")
    if image.mode in ("1", "L", "RGB"):
        return image.convert("L") if image.mode == "1" else image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise InputError(f"the picture's mode {image.mode} cannot be converted to RGB: save it as RGB") from error


def _eight_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int32)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(
            f"the picture's values go from {values.min()} to {values.max()}: 0 to 65535 (16 bits) can be read"
        )
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _crop(image: Image.Image, crop: str) -> Image.Image:
    width, height = image.size
    if crop == "celeba":
        if image.size != _CELEBA_SIZE:
            raise InputError(
                f"the picture is {width}x{height}; the celeba crop needs 178x218: use --images.crop square"
            )
        return image.crop(_CELEBA_BOX)
    if width == height:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def to_float(pixels: np.ndarray | Tensor) -> Tensor:
    """v / 127.5 - 1: uint8 (N, H, W, C) to float32 (N, C, H, W) in [-1, 1].

    Raises:
        InputError: another type or number of dimensions.
    """
    if pixels.dtype not in (torch.uint8, np.uint8) or pixels.ndim != 4:
        raise InputError(
            f"pixels are {pixels.dtype} of shape {tuple(pixels.shape)}: uint8 (N, H, W, C) is expected"
        )
    if isinstance(pixels, np.ndarray):
        pixels = torch.from_numpy(np.array(pixels, order="C"))  # a copy: torch takes no read-only array
    return pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1)


def to_uint8(images: Tensor) -> np.ndarray:
    """Undo `to_float`: float (N, C, H, W), clamped to [-1, 1] and rounded, to uint8 (N, H, W, C)."""
    scaled = images.detach().float().clamp(-1, 1).add(1).mul(127.5).round()
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
