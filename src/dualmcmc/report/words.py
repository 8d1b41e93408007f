"""What a run is and how far it came, in sentences; and the few figures to see first."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dualmcmc.methods import METHODS, title
from dualmcmc.report.evaluations import Evaluation, Place, Value
from dualmcmc.report.numbers import ARROWS, count, direction, duration, with_error
from dualmcmc.report.reading import RunRecord, setting

NETWORKS = {"energy": "energy network", "generator": "generator", "inference": "inference network"}


@dataclass(frozen=True)
class Headline:
    """A figure to see first."""

    name: str
    detail: str
    value: Value

    @property
    def arrow(self) -> str:
        """Which direction is better."""
        return ARROWS[direction(self.name)]


def about(run: RunRecord, evaluations: dict[str, Evaluation | None]) -> list[str]:
    """The run in a few sentences: what was trained on what, how long, and what the newest figures say."""
    training = " ".join([_progress(run), *_small(run)])
    return [f"{_data(run)} {_networks(run)}", training, _evaluated(run, evaluations)]


def command(run: RunRecord, task: str) -> str:
    """What evaluates a task of this run."""
    return f"dualmcmc evaluate {shlex.quote(str(run.path))} --tasks {task}"


def headlines(evaluations: dict[str, Evaluation | None]) -> list[Headline]:
    """The few figures to see first, one or two of each task that was evaluated."""
    found: list[Headline] = []
    for task, choose in _CHOICES.items():
        if evaluation := evaluations.get(task):
            found += choose(evaluation.figures)
    return found


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _data(run: RunRecord) -> str:
    size, channels = setting(run.config, "images.size"), setting(run.config, "images.channels")
    kind = {"1": "grey", "3": "RGB"}.get(str(channels), f"{channels}-channel") if channels else ""
    pixels = f" of {size}×{size} pixels" if size else ""
    n = f"{run.images:,} " if run.images is not None else ""
    images = f"{n}{kind} images{pixels}".strip()
    method = setting(run.config, "method.name")
    preset = setting(run.config, "preset")
    known = isinstance(method, str) and method in METHODS
    named = title(method) if known else method or "an unnamed method"
    own = run.about.get("teaching")  # a page of the user's
    return (
        f"Trained by {f'{own}, with the settings of {named},' if own else named} on {images}: "
        f"{setting(run.config, 'data') or 'unnamed data'}{f' (preset {preset})' if preset else ''}."
    )


def _networks(run: RunRecord) -> str:
    family, d = setting(run.config, "networks.family"), setting(run.config, "networks.latent_dim")
    sizes = [f"{NETWORKS.get(name, name)} {count(n)}" for name, n in run.parameters.items()]
    parameters = f", parameters: {', '.join(sizes)}" if sizes else ""
    latent = f" with {d} latent dimensions" if d else ""
    chains = []
    for name, words in (("data_chain", "the data chain"), ("latent_chain", "the latent chain")):
        steps = setting(run.config, f"method.{name}.steps")
        if steps is not None:
            chains.append(f"{words} {steps} steps")
    taught = f"; in training {listed(chains)}" if chains else ""
    return f"Networks: {f'{family} family' if family else 'unnamed'}{latent}{parameters}{taught}."


def _progress(run: RunRecord) -> str:
    done, planned = run.done, run.planned
    if not done:
        return f"No update is logged yet{f', of {planned:,}' if planned else ''}."
    batch = setting(run.config, "optim.batch_size")
    of = f" of {planned:,}" if planned else ""
    state = "" if not planned or done >= planned else f" ({done / planned:.0%}: in training, or stopped)"
    images = f", each of {batch} images" if batch else ""
    time = f", in {duration(run.seconds)} ({run.seconds / done:.3g} s an update)" if run.seconds else ""
    return f"{done:,}{of} updates{state}{images}{time}."


def _small(run: RunRecord) -> list[str]:
    """The newest small evaluation of the training, as the log or metrics.json has it."""
    entries = run.metrics.get("training") or run.evaluations
    try:
        entry = entries[-1]
        best = min(entries, key=lambda e: e["value"])["step"]
        which = f"step {entry['step']:,}" if entry["step"] == best else f"step {entry['step']:,} (best: {best:,})"
        inferred, revised = (with_error(entry[name], None) for name in ("mse_inference", "mse_chain"))
        return [
            f"The small evaluation during training, {which}: reconstruction MSE {inferred} by inference, "
            f"{revised} after the latent chain."
        ]
    except (IndexError, KeyError, TypeError, ValueError):
        return []


def _evaluated(run: RunRecord, evaluations: dict[str, Evaluation | None]) -> str:
    found = headlines(evaluations)
    if not found:
        return "Not evaluated yet."
    newest = [e.protocol["step"] for e in evaluations.values() if e and isinstance(e.protocol.get("step"), int)]
    at = f" at step {listed([f'{step:,}' for step in sorted(set(newest))])}" if newest else ""
    figures = [f"{h.name} {with_error(h.value.mean, None)} ({h.detail})" for h in found]
    return f"Evaluated{at}: {', '.join(figures)}."


Figures = dict[Place, Value]


def _generation(figures: Figures) -> list[Headline]:
    """The first distance there is: of the generator, and after the longest chain."""
    rows = [place.row for place in figures if direction(place.row) < 0]
    there = [place for place in figures if rows and place.row == rows[0]]
    ends = [there[0], there[-1]] if len(there) > 1 else there
    return [Headline(p.row, p.column, figures[p]) for p in ends]


def _reconstruction(figures: Figures) -> list[Headline]:
    """MSE and PSNR after the longest chain from inference."""
    rows = [p.row for p in figures if p.row == "inference" or p.row.endswith("from inference")]
    names = [(name, Place("", rows[-1], name)) for name in ("mse", "psnr")] if rows else []
    detail = f"reconstruction, {rows[-1]}" if rows else ""
    return [Headline(name, detail, figures[place]) for name, place in names if place in figures]


def _inpainting(figures: Figures) -> list[Headline]:
    """PSNR of the first mask at the last stage."""
    rows = [place for place in figures if place.table == "psnr"]
    there = [place for place in rows if place.row == rows[0].row]
    return [Headline("psnr", f"inpainting, {p.row}, {p.column}", figures[p]) for p in there[-1:]]


def _ood(figures: Figures) -> list[Headline]:
    """The log-density's AUROC, averaged over the sets."""
    means = [v.mean for p, v in figures.items() if p.table == "auroc" and p.column == "log_density"]
    detail = f"log_density, mean over {len(means)} sets of other images"
    return [Headline("auroc", detail, Value(sum(means) / len(means)))] if means else []


_CHOICES: dict[str, Callable[[Figures], list[Headline]]] = {
    "generation": _generation,
    "reconstruction": _reconstruction,
    "inpainting": _inpainting,
    "ood": _ood,
}
