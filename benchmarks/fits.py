"""Lines through points: how a cost grows with work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Line(NamedTuple):
    """y = a + b x by least squares."""

    a: float
    b: float
    r2: float
    """Share of y's variance that it explains; 1 where y does not vary."""
    residual: float
    """Largest |residual| / y."""

    def at(self, x: float) -> float:
        return self.a + self.b * x

    def __str__(self) -> str:
        return f"{self.a:.3g} {self.b:+.3g} x"


class Power(NamedTuple):
    """y = factor x^exponent, a line through the logarithms."""

    factor: float
    exponent: float

    def at(self, x: float) -> float:
        return float(self.factor * x**self.exponent)

    def __str__(self) -> str:
        return f"{self.factor:.3g} x^{self.exponent:.2f}"


def line(xs: Sequence[float], ys: Sequence[float], *, relative: bool = False) -> Line:
    """ys positive, of two points at least; `relative` residuals are those to be small where y spans decades."""
    x, y = np.asarray(xs, float), np.asarray(ys, float)
    b, a = np.polyfit(x, y, 1, w=1 / y if relative else None)
    off = y - (a + b * x)
    spread = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - float((off**2).sum()) / spread if spread else 1.0
    return Line(float(a), float(b), r2, float(np.abs(off / y).max()))


def power(xs: Sequence[float], ys: Sequence[float]) -> Power:
    """xs, ys: positive, of two points at least."""
    exponent, logarithm = np.polyfit(np.log(xs), np.log(ys), 1)
    return Power(float(np.exp(logarithm)), float(exponent))


def plot(panels: dict[str, tuple[Sequence[float], Sequence[float], Line | Power]], across: str) -> Any:
    """A figure with a panel for each: points and the fit, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(4.2 * len(panels), 3.6), dpi=110, layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, (xs, ys, fit)) in zip(grid, panels.items(), strict=True):
        dense = np.geomspace(min(xs), max(xs), 100)
        axes.loglog(xs, ys, "o")
        axes.loglog(dense, [fit.at(x) for x in dense], "-", label=str(fit))
        axes.set(xlabel=across, title=name)
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.title.set_fontsize(9)
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize=8)
    return figure
