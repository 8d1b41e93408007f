"""Curves as small inline SVG: no script, no font, colours from the page's style, so that they print and go dark.

A curve of many points keeps the lowest and the highest of every stretch, so no spike is lost; the bold line is
a running mean. Where a few points would flatten all others, the panel leaves them out and says how many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from xml.etree import ElementTree as Xml

from dualmcmc.report.numbers import MINUS, compact, number

WIDTH, HEIGHT = 400, 220
LEFT, TOP, RIGHT, BOTTOM = 52, 8, 12, 26
COLOURS, DASHES = 8, 4
SMOOTH = 20
"""From so many points on, a curve has a running mean over a twentieth of them."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve."""

    run: str
    series: str
    points: Sequence[Point]
    run_index: int = 0
    series_index: int = 0


@dataclass(frozen=True)
class Panel:
    """Curves over one pair of axes."""

    title: str
    unit: str
    lines: Sequence[Line]
    x: str = "step"
    log: bool = False
    smooth: bool = True


@dataclass(frozen=True)
class Key:
    """An entry of a legend: what, and the classes of its stroke."""

    text: str
    classes: str


@dataclass(frozen=True)
class Drawing:
    """A panel as the page shows it."""

    title: str
    unit: str
    svg: str
    keys: list[Key]
    newest: str
    note: str


def draw(panel: Panel, *, points: int = 400) -> Drawing | None:
    """The panel as SVG with its legend; None if there is nothing to draw.

    Arguments:
        panel: what to draw.
        points: of each curve, at most.
    """
    several = len({line.run for line in panel.lines}) > 1
    lines = [(line, _usable(line.points, panel.log)) for line in panel.lines]
    lines = [(line, seen) for line, seen in lines if seen]
    if not lines:
        return None
    seen = [point for _, some in lines for point in some]
    x = _Axis(min(p[0] for p in seen), max(p[0] for p in seen), LEFT, WIDTH - RIGHT)
    low, high, outside = _limits([p[1] for p in seen], panel.log)
    y = _Axis(low, high, HEIGHT - BOTTOM, TOP, log=panel.log)
    svg = _frame(panel, x, y)
    inner = _add(
        svg,
        "svg",
        x=LEFT,
        y=TOP - 2,
        width=WIDTH - RIGHT - LEFT + 2,
        height=HEIGHT - BOTTOM - TOP + 4,
        viewBox=f"{LEFT} {TOP - 2} {WIDTH - RIGHT - LEFT + 2} {HEIGHT - BOTTOM - TOP + 4}",
    )
    for line, some in lines:
        classes = _classes(line, several)
        smooth = panel.smooth and len(some) >= SMOOTH
        _path(inner, f"l thin {classes}" if smooth else f"l {classes}", thinned(some, points), x, y)
        if smooth:
            _path(inner, f"l {classes}", _every(running_mean(some, panel.log), points // 2), x, y)
    note = f"{outside} of {len(seen)} points lie outside, between {_range(seen)}." if outside else ""
    alone = len(lines) == 1
    newest = number(float(lines[0][1][-1][1])) if alone else ""
    text = Xml.tostring(svg, encoding="unicode")
    return Drawing(panel.title, panel.unit, text, [] if alone else _keys(panel.lines, several), newest, note)


def bar(shares: Sequence[tuple[str, float]]) -> str:
    """Parts of a whole as one horizontal bar: SVG."""
    described = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    svg = _svg("0 0 400 16", described, "bar")
    svg.set("preserveAspectRatio", "none")
    left, total = 0.0, sum(share for _, share in shares) or 1.0
    for i, (_, share) in enumerate(shares):
        width = 400 * share / total
        _add(svg, "rect", x=_short(left), y=0, width=_short(width), height=16, **{"class": f"f{i % COLOURS}"})
        left += width
    return Xml.tostring(svg, encoding="unicode")


def thinned(points: Sequence[Point], limit: int) -> list[Point]:
    """At most `limit` points: the lowest and the highest of each stretch, in their order."""
    if len(points) <= limit:
        return list(points)
    kept: list[Point] = []
    stretches = limit // 2
    for i in range(stretches):
        stretch = points[i * len(points) // stretches : (i + 1) * len(points) // stretches]
        kept += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return kept


def running_mean(points: Sequence[Point], log: bool = False) -> list[Point]:
    """Centred means over a twentieth of the points (fewer at the ends); geometric ones for a log axis."""
    values = [log10(y) if log else y for _, y in points]
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    n, half = len(points), max(1, len(points) // 40)
    means = []
    for i, (x, _) in enumerate(points):
        reach = min(half, i, n - 1 - i)
        mean = (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)
        means.append((x, 10**mean if log else mean))
    return means


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) between two values, about so many."""
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** floor(log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    decimals = max(0, -floor(log10(step)))
    return [round(i * step, decimals) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two positive values, or round numbers where there are fewer than two."""
    powers = range(ceil(log10(low) - 1e-9), floor(log10(high) + 1e-9) + 1)
    if len(powers) < 2:
        return [tick for tick in ticks(low, high, 4) if tick > 0]
    apart = ceil(len(powers) / 6)
    return [10.0**p for p in powers if p % apart == 0]


class _Axis:
    """From values to places on the page, with a little room beyond the ends."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self._scale: Callable[[float], float] = log10 if log else float
        self.ticks = log_ticks(low, high) if log else ticks(low, high)
        self.low, self.high = self._scale(low), self._scale(high)
        if self.high == self.low:
            room = abs(self.low) / 2 or 0.5
            self.low, self.high = self.low - room, self.high + room
        self.start, self.end = start, end
        apart = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 and not log else 0.0
        self._decimals = max(0, -floor(log10(apart))) if apart else 0
        # Where the short form cannot tell neighbours apart, or decimals would be ragged, all have as many digits.
        ragged = 0 < self._decimals <= 4 or len(set(map(compact, self.ticks))) < len(self.ticks)
        self._fixed = bool(apart) and ragged

    def label(self, tick: float) -> str:
        """A tick as text."""
        if not self._fixed or tick == 0:
            return compact(tick)
        return f"{tick:,.{self._decimals}f}".replace("-", MINUS)

    def __call__(self, value: float) -> float:
        return self.start + (self._scale(value) - self.low) / (self.high - self.low) * (self.end - self.start)


def _usable(points: Sequence[Point], log: bool) -> list[Point]:
    return [(x, y) for x, y in points if isfinite(x) and isfinite(y) and (y > 0 or not log)]


def _limits(values: Sequence[float], log: bool) -> tuple[float, float, int]:
    """Lowest and highest value of the axis, and how many values are beyond it."""
    low, high = min(values), max(values)
    ordered = sorted(values)
    n = len(ordered)
    if not log and n >= SMOOTH:
        q_low, q_high = ordered[ceil(0.02 * n)], ordered[n - 1 - ceil(0.02 * n)]
        room = 0.25 * (q_high - q_low)
        if 0 < 3 * (q_high - q_low) < high - low:
            low, high = max(low, q_low - room), min(high, q_high + room)
    return low, high, sum(not low <= value <= high for value in values)


def _range(points: Sequence[Point]) -> str:
    values = [y for _, y in points]
    return f"{number(float(min(values)))} and {number(float(max(values)))}"


def _classes(line: Line, several: bool) -> str:
    """Colour tells runs apart, dashes their series; the series of a single run have colours."""
    colour, dash = (line.run_index, line.series_index) if several else (line.series_index, 0)
    dash += colour // COLOURS
    return f"c{colour % COLOURS}" + (f" d{dash % DASHES}" if dash else "")


def _keys(lines: Sequence[Line], several: bool) -> list[Key]:
    if not several:
        return [Key(line.series, _classes(line, False)) for line in lines]
    runs = {line.run: Key(line.run, _classes(Line("", "", (), line.run_index), True)) for line in lines}
    series = {line.series: Key(line.series, f"grey d{line.series_index % DASHES}") for line in lines}
    return [*runs.values(), *(series.values() if len(series) > 1 else ())]


def _frame(panel: Panel, x: _Axis, y: _Axis) -> Xml.Element:
    about = f"{panel.title} ({panel.unit}) over {panel.x}" if panel.unit else f"{panel.title} over {panel.x}"
    svg = _svg(f"0 0 {WIDTH} {HEIGHT}", about, "chart")
    for tick in y.ticks:
        at = _short(y(tick))
        _add(svg, "path", d=f"M{LEFT} {at}H{WIDTH - RIGHT}", **{"class": "zero" if tick == 0 else "grid"})
        _text(svg, y.label(tick), LEFT - 6, float(at) + 4, "end")
    for tick in x.ticks:
        _text(svg, x.label(tick), x(tick), HEIGHT - 9, "middle")
    _add(svg, "path", d=f"M{LEFT} {HEIGHT - BOTTOM}H{WIDTH - RIGHT}", **{"class": "axis"})
    _text(svg, panel.x, 0, HEIGHT - 9, "start")
    return svg


def _path(parent: Xml.Element, classes: str, points: Sequence[Point], x: _Axis, y: _Axis) -> None:
    if len(points) == 1:
        at = {"cx": _short(x(points[0][0])), "cy": _short(y(points[0][1]))}
        _add(parent, "circle", **at, r=2.5, **{"class": classes.replace("l ", "dot ")})
        return
    places = " ".join(f"{_short(x(a))},{_short(y(b))}" for a, b in points)
    _add(parent, "polyline", points=places, **{"class": classes})


def _every(points: Sequence[Point], limit: int) -> list[Point]:
    """At most so many points, evenly, the last one among them."""
    if len(points) <= limit:
        return list(points)
    return [points[(i * (len(points) - 1)) // (limit - 1)] for i in range(limit)]


def _svg(box: str, about: str, name: str) -> Xml.Element:
    return Xml.Element("svg", {"viewBox": box, "role": "img", "aria-label": about, "class": name})


def _add(parent: Xml.Element, tag: str, **attributes: object) -> Xml.Element:
    return Xml.SubElement(parent, tag, {name: str(value) for name, value in attributes.items()})


def _text(parent: Xml.Element, text: str, x: float, y: float, anchor: str) -> None:
    element = _add(parent, "text", x=_short(x), y=_short(y), **{"text-anchor": anchor})
    element.text = text


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
