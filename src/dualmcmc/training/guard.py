"""Has training diverged? Signals, each with its limit, looked at before an update changes anything.

    not finite       any loss, gradient norm, movement of a chain; before a checkpoint any number it would hold
    beyond a limit   the gap of h and the losses (`optim.max_energy_gap`, `optim.max_loss`); q's variance at
                     checkpoints (`guard.collapse`)
    out of range     gap and size of h, movements of chains, gradient norms: beyond `guard.range` times the largest
                     value that had been seen some time ago; the share of pixels of x- far outside [-1, 1]: beyond
                     `guard.saturation`, and twice that largest, which is 0 for most methods; norms of
                     weights, at checkpoints

The largest value forgets by half every `HALF_LIFE` updates. "Some time ago" is at the newest checkpoint, or at one
of those of the `HORIZON` updates before it, whichever had the least: what doubles every fifty updates would carry
a range of its own recent past along, and never leave it. Figures are means over processes, so that all of them
see the same and do the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from dualmcmc.settings import Config

HALF_LIFE = 2000
"""Updates in which a largest value is forgotten by half."""
HORIZON = 500
"""Updates before the newest checkpoint, within which a range may not have grown by more than `guard.range`."""
RANGED = ("energy_gap_size", "energy_size_h", "data_chain_moved", "latent_chain_moved", "saturation")
"""Figures that have a range, beside the norms of gradients."""
REMEMBERED = 200
"""Updates that a diagnosis looks back on."""
LEVEL = 0.01
"""Of `optim.max_energy_gap`: no size of h below is out of range; the level of h is arbitrary and begins near 0."""
SATURATING = 2.0
"""Times its largest share of far pixels, at which a method that has always had many has more than before."""
UNEASY = 0.1
"""The share of its limit from which on a signal is no longer calm; most ordinary values are below a fiftieth."""


class Trip(NamedTuple):
    """A divergence: at which update (from 1), by which figure, and what is wrong with it."""

    step: int
    signal: str
    reason: str
    limit: float = math.inf
    """Of the signal; infinite where it is not a number."""


class DivergedError(Exception):
    """An update that must not stand; the loop goes back from it."""

    def __init__(self, trip: Trip) -> None:
        super().__init__(trip.reason)
        self.trip = trip


class Guard:
    """Watches the figures of updates.

    Arguments:
        config: the run's; its `guard` and `optim` hold the limits.
    """

    def __init__(self, config: Config) -> None:
        self.settings, self.warmup = config.guard, max(config.guard.warmup, config.optim.warmup)
        self._floors = {"energy_size_h": LEVEL * config.optim.max_energy_gap}
        per_number, images = config.optim.max_loss, config.images
        self._limits = {
            "energy_gap_size": config.optim.max_energy_gap,
            "loss_generator": per_number * images.channels * images.size**2,
            "loss_inference": per_number * config.networks.latent_dim,
        }
        self._largest: dict[str, float] = {}
        self._marks: list[tuple[int, dict[str, float]]] = []
        self._range: dict[str, float] = {}
        self._seen = 0
        self._recent: deque[tuple[int, dict[str, float]]] = deque(maxlen=REMEMBERED)

    def watch(self, figures: Mapping[str, float], step: int) -> Trip | None:
        """What is wrong with the figures of update `step` (from 1), which are remembered; None if nothing is."""
        if self._recent and self._recent[-1][0] == step:  # an earlier phase of the same update
            self._recent.pop()
        self._recent.append((step, {name: self._share(name, value) for name, value in figures.items()}))
        for name, value in figures.items():
            if not math.isfinite(value):
                return Trip(step, name, f"{name} is {value}")
        for name, value in figures.items():
            if abs(value) > self._limit(name):
                limit = self._limit(name)
                return Trip(step, name, f"{name} is {value:.4g}, beyond {limit:.4g}", limit)
        return None

    def check_weights(self, norms: Mapping[str, float], step: int) -> Trip | None:
        """What is wrong with the norms of networks' weights after update `step`; None if nothing is.

        They are looked at before checkpoints: weights that have just burst show in no figure of their update.
        """
        for name, value in norms.items():
            if value > (limit := self._limit(name)):
                return Trip(step, name, f"{name} is {value:.4g}, beyond {limit:.4g}", limit)
        self._largest |= norms
        return None

    def check_codes(self, variance: float | None, step: int) -> Trip | None:
        """What is wrong with the geometric mean of q's variances after update `step`; None if nothing is."""
        if variance is None or variance >= self.settings.collapse:
            return None
        reason = f"code_variance is {variance:.4g}, below {self.settings.collapse:.4g}"
        return Trip(step, "code_variance", reason)

    def settle(self, figures: Mapping[str, float]) -> None:
        """The update of these figures was made: they extend what has been seen."""
        self._seen += 1
        fade = 0.5 ** (1 / HALF_LIFE)
        for name, value in figures.items():
            if _ranged(name):
                self._largest[name] = max(abs(value), self._largest.get(name, 0.0) * fade)

    def mark(self) -> None:
        """A checkpoint is about to be saved: what has been seen by now counts for the range."""
        if self._seen >= self.warmup:
            self._marks.append((self._seen, dict(self._largest)))
            self._marks = [mark for mark in self._marks if mark[0] >= self._seen - HORIZON]
            self._find_range()

    def _find_range(self) -> None:
        names = self._marks[-1][1] if self._marks else ()
        self._range = {name: min(seen.get(name, math.inf) for _, seen in self._marks) for name in names}

    def _limit(self, name: str) -> float:
        limit = self._limits.get(name, math.inf)
        if name == "saturation" and name in self._range:
            return max(self.settings.saturation, SATURATING * self._range[name])
        if self._range.get(name, 0.0) > 0:
            limit = min(limit, max(self._floors.get(name, 0.0), self.settings.range * self._range[name]))
        return limit

    def _share(self, name: str, value: float) -> float:
        return abs(value) / self._limit(name) if math.isfinite(value) else math.inf

    def leader(self, trip: Trip) -> str:
        """Which signal came near its limit first, in words: what a cure should start from."""
        for step, shares in self._recent:
            uneasy = {name: share for name, share in shares.items() if share > UNEASY}
            if uneasy and step < trip.step:
                name = max(uneasy, key=lambda each: uneasy[each])
                how = f"{uneasy[name]:.0%} of its limit" if math.isfinite(uneasy[name]) else "no number"
                return f"{name} led, {how} at step {step}"
        return f"{trip.signal} led, without a warning in the {len(self._recent)} updates before"

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"seen": self._seen, "largest": dict(self._largest), "marks": [list(mark) for mark in self._marks]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state`; what led to a divergence is forgotten with it."""
        self._seen, self._largest = state["seen"], dict(state["largest"])
        self._marks = [(seen, dict(largest)) for seen, largest in state["marks"]]
        self._find_range()
        self._recent.clear()


def calm(state: Mapping[str, Any], trip: Trip) -> bool:
    """Whether, by the state of a checkpoint, the signal had not come near the limit that it then passed."""
    return bool(state["largest"].get(trip.signal, 0.0) <= UNEASY * trip.limit)


def _ranged(name: str) -> bool:
    return name in RANGED or name.startswith("gradient_")


def network_of(signal: str) -> str | None:
    """The network whose learning a signal is about; None where it is none's in particular."""
    if signal == "code_variance":
        return "inference"
    if signal == "latent_chain_moved":
        return "generator"
    words = signal.replace(".", "_").split("_")
    return next((name for name in ("energy", "generator", "inference") if name in words), None)
