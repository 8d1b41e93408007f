"""Numbers as people read them: four significant digits, an error with two, which direction is better."""

from __future__ import annotations

import re
from math import floor, isfinite, log10
from typing import Any

MINUS = "\u2212"
ARROWS = {1: "↑", -1: "↓", 0: ""}
"""Which direction is better."""
LOWER = re.compile(r"(fid|fd|kid|kd|mse|fpr|feature_distance|value)(\d|_|$)")
HIGHER = re.compile(r"(is|psnr|ssim|auroc|aupr)(\d|_|$)")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def direction(*names: str) -> int:
    """+1 where the first figure known among `names` is better when higher, -1 when lower, else 0."""
    for name in names:
        if HIGHER.match(name):
            return 1
        if LOWER.match(name):
            return -1
    return 0


def number(value: float) -> str:
    """Whole numbers in full, others with four significant digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace("-", MINUS)
    if not isfinite(value):
        return "not finite"
    return _digits(value, 4)


def with_error(value: float, error: float | None) -> str:
    """The value and its standard error, both to the error's second digit."""
    if error is None or not isfinite(value) or not isfinite(error) or error <= 0:
        return number(float(value))
    decimals = 1 - _exponent(error, 2)
    if decimals > 6:
        return f"{_digits(value, 4)} ± {_digits(error, 2)}"
    return f"{_fixed(value, max(decimals, 0))} ± {_fixed(error, max(decimals, 0))}"


def compact(value: float) -> str:
    """For an axis: as short as it can be said."""
    if value == 0:
        return "0"
    if abs(value) >= 1e4 or abs(value) < 1e-3:
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if 1 <= abs(value) / size < 1e3:
                return f"{value / size:.4g}{letter}".replace("-", MINUS)
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        mantissa = "" if float(mantissa) == 1 else f"{float(mantissa):g}×"
        return f"{mantissa}10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", MINUS)
    return f"{value:,.4g}".replace("-", MINUS) if abs(value) < 1000 else f"{value:,.0f}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days: the largest unit of which there are two or more."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def count(n: float) -> str:
    """Roughly how many: 1.2 million."""
    for size, unit in ((1e9, "billion"), (1e6, "million")):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n:,.0f}"


def plain(value: Any) -> str:
    """A setting or a protocol's value, exactly as it is kept."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == {}:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(plain, value)) or "none"
    return repr(value) if isinstance(value, float) else str(value)


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    exponent = _exponent(value, digits)
    if exponent < -3:
        return f"{_fixed(value / 10.0**exponent, digits - 1)}×10{str(exponent).translate(SUPERSCRIPTS)}"
    if exponent >= 15:
        mantissa = _fixed(value / 10.0**exponent, digits - 1)
        return f"{mantissa}×10{str(exponent).translate(SUPERSCRIPTS)}"
    return _fixed(value, max(digits - 1 - exponent, 0))


def _fixed(value: float, decimals: int) -> str:
    text = f"{value:,.{decimals}f}"
    return (text if float(text.replace(",", "")) else text.lstrip("-")).replace("-", MINUS)


def _exponent(value: float, digits: int) -> int:
    """Of the leading digit, once rounded to so many digits."""
    return floor(log10(abs(float(f"{value:.{digits - 1}e}"))))
