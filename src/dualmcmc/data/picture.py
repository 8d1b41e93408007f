"""One encoded picture, or one array, decoded by the rule; and which files count as pictures.

Pillow knows formats that it merely identifies, or opens by running another program (Ghostscript). These
are left out, in folders and in data sets, so that a stray .pdf or .h5 beside the images is ignored.
"""

from __future__ import annotations

import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, UnidentifiedImageError

from dualmcmc import limits
from dualmcmc.data.rule import fit
from dualmcmc.errors import InputError
from dualmcmc.settings import Images

_NOT_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read."""
    Image.init()
    return tuple(name for name in Image.OPEN if name not in _NOT_PICTURES)


@lru_cache(maxsize=1)
def extensions() -> frozenset[str]:
    """Lower-case file extensions, with their dot, of the formats that are read."""
    known = Image.registered_extensions()
    return frozenset(extension for extension, name in known.items() if name in formats())


def decode(content: bytes | np.ndarray, rule: Images, *, most: int = limits.PICTURE_PIXELS) -> np.ndarray:
    """A training image, uint8 (size, size, channels).

    Arguments:
        content: an encoded file, or uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).
        rule: what the image becomes.
        most: pixels that are decoded.

    Raises:
        InputError: why it cannot be read, without its name, which the caller knows.
    """
    with warnings.catch_warnings():
        # Pillow warns of harmless oddities in metadata; one of a giant picture is not harmless.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if isinstance(content, np.ndarray):
                _check_pixels(content.shape[0], content.shape[1], most)
                return fit(Image.fromarray(content[..., 0] if content.shape[2:] == (1,) else content), rule)
            if len(content) > limits.PICTURE_BYTES:
                raise InputError(f"the picture has {len(content):,} bytes, more than {limits.PICTURE_BYTES:,}")
            with Image.open(io.BytesIO(content), formats=formats()) as image:
                check_pixels(image, most)
                image.load()
                check_pixels(image, most)  # some formats hold pictures of other sizes than they say at first
                return fit(image, rule)
        except InputError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise InputError(f"the picture has more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
        except UnidentifiedImageError as error:
            raise InputError(f"not a picture in a known format ({len(content)} bytes)") from error
        except Exception as error:
            # Format plugins raise whatever their parsing meets: OSError, SyntaxError, struct.error, ...
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"the picture cannot be decoded ({reason})") from error


def check_pixels(image: Image.Image, most: int = limits.PICTURE_PIXELS) -> None:
    """Refuses a picture of more than `most` pixels, before it is decoded.

    Raises:
        InputError: saying how many there are.
    """
    _check_pixels(image.height, image.width, most)


def _check_pixels(height: int, width: int, most: int) -> None:
    if height * width > most:
        raise InputError(f"the picture is {width}x{height}, more than {most:,} pixels")
