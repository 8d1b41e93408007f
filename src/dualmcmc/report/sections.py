"""The page's sections: which pictures, curves and tables go under which title."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dualmcmc.report import words
from dualmcmc.report.curves import Drawing
from dualmcmc.report.evaluations import TASKS, Evaluation
from dualmcmc.report.log_curves import TimeSplit, evaluation_drawings, log_drawings, time_split
from dualmcmc.report.pictures import Picture
from dualmcmc.report.reading import RunRecord
from dualmcmc.report.tables import Measured, measured
from dualmcmc.report.task_curves import task_drawings

STRIP_LENGTH = 6

Evaluations = dict[str, dict[str, Evaluation | None]]
"""By task, then by the run's name."""


@dataclass(frozen=True)
class Section:
    """A part of the page; it may lack anything but its title."""

    id: str
    title: str
    lead: str = ""
    pictures: list[Picture] = field(default_factory=list)
    strips: list[list[Picture]] = field(default_factory=list)
    """Per run, its samples over training."""
    drawings: list[Drawing] = field(default_factory=list)
    times: TimeSplit | None = None
    measured: Measured | None = None
    missing: list[tuple[str, str]] = field(default_factory=list)
    """Runs that were not evaluated, and the command that does it."""


@dataclass(frozen=True)
class Topic:
    """What a task's section is called, says first, and which of RUN/figures belong to it."""

    id: str
    title: str
    lead: str
    figures: tuple[str, ...]
    """Beginnings of file names."""


SAMPLES = Topic(
    "samples",
    "Samples",
    "Drawn by the generator, and the same ones after the data chain has revised them along the energy.",
    ("samples", "grid"),
)
TOPICS = (
    Topic(
        "generation",
        "Generation",
        "How near the samples are to the training images, from the generator alone and after steps of the data "
        "chain. A distance carries the name of the network whose features it is measured in, and the number of "
        "samples; only equal names can be compared.",
        ("generation", "fid", "fd"),
    ),
    Topic(
        "reconstruction",
        "Reconstruction (Figure 3)",
        "Images explained by a code and drawn again: by inference alone, and after steps of the latent chain from "
        "there or from noise. mse is per pixel and channel of images in [−1, 1], mse01 in [0, 1]; psnr is in dB.",
        ("figure3", "reconstruct"),
    ),
    Topic(
        "revision",
        "Revision (Figure 2)",
        "What the two chains change: h is the energy network's output, up is likelier; moved is the rms change of "
        "a pixel or code; outside is the share of pixels beyond [−1, 1]; drift is how much h still rises when "
        "the chain runs ten times as long.",
        ("figure2", "revision"),
    ),
    Topic(
        "interpolation",
        "Interpolation (Figure 4)",
        "Paths between two codes, straight or along the sphere, and how usual the images along them are: mean "
        "log-density in nats, up to one constant; dip is how far a path's lowest point lies below the straight "
        "line between its ends.",
        ("figure4", "interpolat"),
    ),
    Topic(
        "inpainting",
        "Inpainting (Figure 5)",
        "Hidden parts of images filled in three stages. psnr and ssim compare whole images without pasting "
        "visible pixels back (…_pasted: with it), …_hidden the hidden part alone; dB for psnr.",
        ("figure5", "inpaint"),
    ),
    Topic(
        "ood",
        "Out of distribution",
        "Telling held-out images from other ones by four scores: 0.5 is chance, 1 is perfect for auroc; fpr95 is "
        "the share of other images let in when 95 % of the held-out ones are.",
        ("ood",),
    ),
)
CAPTIONS = {
    "samples": "Samples of the generator, and after the data chain",
    "figure2": "What the two chains change",
    "figure3": "Reconstruction over the steps of the latent chain, from inference and from noise",
    "figure4": "Interpolation, linear and spherical",
    "figure5": "Inpainting: its three stages",
    "ood": "AUROC of each score on each set",
}


def sections_of(runs: Sequence[RunRecord], evaluations: Evaluations) -> Iterator[Section]:
    """All sections but the configuration, in the page's order."""
    points = max(80, min(400, 1600 // len(runs)))
    several = len(runs) > 1
    yield _samples(runs, several)
    yield Section(
        "curves",
        "Curves",
        "Of the training log. Thin: as logged; bold: a running mean over a twentieth of the points. Above each: "
        "its newest value.",
        drawings=log_drawings(runs, points),
        times=time_split(runs),
    )
    small = measured("training", evaluations["training"], several=several)
    if small:
        yield Section(
            "small",
            "Small evaluations (during training)",
            "Cheap, and there to choose among the checkpoints of one run; no score to compare runs by.",
            drawings=evaluation_drawings(runs, points),
            measured=small,
        )
    for topic in TOPICS:
        by_run, figures = evaluations[topic.id], _figures(runs, topic, several)
        drawn = _reconstructions(runs, several) if topic.id == "reconstruction" else []
        yield Section(
            topic.id,
            topic.title,
            topic.lead,
            [*figures, *drawn],
            drawings=task_drawings(topic.id, by_run, points, drawn=bool(figures) and not several),
            measured=measured(topic.id, by_run, several=several),
            missing=[(run.name, words.command(run, topic.id)) for run in runs if not by_run[run.name]],
        )
    yield from _more(runs, evaluations, several)


def _samples(runs: Sequence[RunRecord], several: bool) -> Section:
    """The newest samples in full, and a few earlier ones, which are drawn from the same noise."""
    shown, strips = [], []
    for run in runs:
        figures = _figures([run], SAMPLES, several)
        strip = [
            Picture(
                path, f"step {step:,}", f"samples of {run.name} at step {step}", run.name if several else "", True
            )
            for step, path in _spread(run.samples)
        ]
        if not figures and strip:
            last = strip.pop()
            figures = [Picture(last.path, f"Samples at {last.caption}", last.alt, last.run)]
        shown += figures
        strips += [strip] if len(strip) > 1 or (strip and figures) else []
    lead = (
        SAMPLES.lead if shown else "No samples are drawn yet; training draws some every run.sample_every updates."
    )
    return Section("samples", SAMPLES.title, lead, shown, strips)


def _spread(numbered: Sequence[tuple[int, Path]]) -> list[tuple[int, Path]]:
    """A few, evenly spread, the first and the last among them."""
    n = min(STRIP_LENGTH, len(numbered))
    return [numbered[i * (len(numbered) - 1) // max(n - 1, 1)] for i in range(n)]


def _figures(runs: Sequence[RunRecord], topic: Topic, several: bool) -> list[Picture]:
    return [
        _figure(run, name, path, several)
        for run in runs
        for name, path in run.figures.items()
        if name.startswith(topic.figures)
    ]


def _figure(run: RunRecord, name: str, path: Path, several: bool) -> Picture:
    caption = CAPTIONS.get(name, name.replace("_", " ").replace("-", " "))
    detailed = not name.startswith(SAMPLES.figures)
    return Picture(path, caption, f"{caption}; run {run.name}", run.name if several else "", detailed=detailed)


def _reconstructions(runs: Sequence[RunRecord], several: bool) -> list[Picture]:
    """The newest reconstructions that training drew."""
    return [
        Picture(
            path,
            f"Held-out images, by inference, after the latent chain (rows); training, step {step:,}",
            f"reconstructions of {run.name} at step {step}",
            run.name if several else "",
        )
        for run in runs
        for step, path in run.reconstructions[-1:]
    ]


def _more(runs: Sequence[RunRecord], evaluations: Evaluations, several: bool) -> Iterator[Section]:
    """What this version has no section for."""
    for task in evaluations:
        if task not in TASKS and (figures := measured(task, evaluations[task], several=several)):
            yield Section(f"task-{''.join(c if c.isalnum() else '-' for c in task)}", task, measured=figures)
    known = tuple(start for topic in (SAMPLES, *TOPICS) for start in topic.figures)
    others = [
        _figure(run, name, path, several)
        for run in runs
        for name, path in run.figures.items()
        if not name.startswith(known)
    ]
    if others:
        yield Section("pictures", "More pictures", pictures=others)
