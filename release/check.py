"""Is what we ship what we say it is? `make release-check`: some minutes, exit code 1 with a line per fault.

Each bundled model loads, is small enough, and its card's figures are those of its metrics file. The digits model
is then trained anew by the command on its card, measured under the same protocol, and compared figure by figure.
On the machine that made it, with one thread and the same torch, all figures come out equal. Elsewhere sums round
otherwise, which after 1,600 updates is as good as another seed (docs/results.md, "The demo": seed 0 twice, 0.0474
and 0.0512), so a figure may differ by three standard deviations of a difference of two runs, taken from seeds and
roundings there and in "Bundled models":

    reconstruction MSE, inference     0.0438 to 0.0512 in nine runs, deviation 4.2 %: 20 %
    reconstruction MSE, latent chain  0.0276 to 0.0303 in nine runs, deviation 2.7 %: 15 %
    distance in pixels' features      0.365 to 0.417 in four runs, deviation 5.8 %: 30 %
    AUROC                             0.839 to 0.876 in four runs (blurred images), deviation 0.017: 0.08

A figure that is better by more than that is a fault, too: the card does not describe what its command makes.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundle import measure

from dualmcmc import InputError, Model
from dualmcmc.cli import main as dualmcmc
from dualmcmc.storage import evaluations
from dualmcmc.storage.bundled import LARGEST, NAMES, folder
from dualmcmc.storage.card import CARD, front_matter
from dualmcmc.storage.evaluations import Figure, figures

RELATIVE = {"inference alone": 0.20, "latent chain": 0.15, "fd_pixels": 0.30}
"""Largest relative difference of a figure whose name holds the words."""
AUROC = 0.08
REMADE = "digits"


def recorded(name: str) -> list[Figure]:
    """The figures of a bundled model's metrics file."""
    model = Model.from_pretrained(folder(name))
    return figures(model.evaluations())


def faults_of(name: str) -> Iterator[str]:
    """What is wrong with a bundled model as it lies in the package."""
    size = (folder(name) / "model.safetensors").stat().st_size
    if size > LARGEST:
        yield f"{name}: {size:,} bytes of weights, more than {LARGEST:,}"
    measured = {(row.kind, row.name): row.value for row in recorded(name)}
    results = front_matter(folder(name)).get("model-index", [{}])[0].get("results", [])
    shown = {(m["type"], m["name"]): m["value"] for result in results for m in result["metrics"]}
    if not measured or shown != measured:
        yield f"{name}: the card's {len(shown)} figures are not the {len(measured)} of {evaluations.FILE}"


def tolerance(row: Figure) -> float:
    """By how much a figure of another run may differ."""
    if row.kind == "auroc":
        return AUROC
    return next(share for words, share in RELATIVE.items() if words in row.name) * abs(row.value)


def differences(ours: list[Figure], theirs: list[Figure]) -> Iterator[str]:
    """A line for each recorded figure that was not found again."""
    found = {row.name: row.value for row in theirs}
    for row in ours:
        value, allowed = found.get(row.name), tolerance(row)
        if value is None:
            yield f"{row.name} was {row.value:.4g}, and was not measured"
            continue
        print(f"{row.name:<55} {row.value:<9.4g} {value:<9.4g} +- {allowed:.2g}")
        if not abs(value - row.value) <= allowed:
            yield f"{row.name} is {value:.4g} now, {row.value:.4g} on the card: more than {allowed:.2g} apart"


def remade(name: str) -> list[Figure]:
    """The figures of a model trained anew by the command on the card."""
    (words,) = re.findall(r"(?m)^dualmcmc (train .*)$", (folder(name) / CARD).read_text(encoding="utf-8"))
    print(f"dualmcmc {words}, with {os.environ.get('OMP_NUM_THREADS', 'all')} threads", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        run = str(Path(temporary) / "run")
        if code := dualmcmc([*shlex.split(words), "--out", run]):
            raise InputError(f"training ended with exit code {code}")
        return figures(measure(Model.from_pretrained(run), name))


def main() -> int:
    """Looks at all, trains one; returns the exit code."""
    try:
        faults = [fault for name in NAMES for fault in faults_of(name)]
        faults += [f"{REMADE}: {line}" for line in differences(recorded(REMADE), remade(REMADE))]
    except (InputError, OSError) as error:
        faults = [str(error)]
    for fault in faults:
        print(f"release-check: {fault}", file=sys.stderr)
    if not faults:
        print(f"{', '.join(NAMES)} load, and {REMADE} is what its command makes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
