"""What training does once in a while: pictures, the small evaluation, checkpoints, the model folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dualmcmc import __version__, spectral
from dualmcmc import config as configs
from dualmcmc.errors import TrainingError
from dualmcmc.model import Model
from dualmcmc.pictures import save_rows, save_side_by_side
from dualmcmc.settings import Config, Run
from dualmcmc.storage import checkpoints, pretrained
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.training import optimisation, rollback
from dualmcmc.training.evaluation import evaluation_protocol, small_evaluation
from dualmcmc.training.progress import Reporter
from dualmcmc.training.setup import Sets, new_trio
from dualmcmc.training.stopping import Interrupted, Signals
from dualmcmc.trio import Trio

SAMPLES, RECONSTRUCTIONS = 64, 12
PICTURE_SEED = 1


class Due(NamedTuple):
    """What is due after an update."""

    evaluate: bool
    save: bool
    draw: bool

    def looks(self) -> list[str]:
        """Those of evaluate and draw that are."""
        return [name for name in ("evaluate", "draw") if getattr(self, name)]


def due(run: Run, done: int, last: bool) -> Due:
    """What is due after `done` updates; at the last one, everything that is on."""

    def now(every: int) -> bool:
        return bool(every) and (last or done % every == 0)

    evaluate = now(run.evaluate_every)
    return Due(evaluate, last or evaluate or now(run.checkpoint_every), now(run.sample_every))


@dataclass
class Occasions:
    """The run's state beyond the step, and how it reaches the disk; used by the main process only."""

    run: RunFolder
    config: Config
    sets: Sets
    trio: Trio
    average: optimisation.Average
    optimiser: torch.optim.Adam
    report: Reporter
    signals: Signals
    state: dict[str, Any]
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """The method's, of all processes, as it is at the step that is due (`Teaching.memory`)."""
    unsound: str = ""
    """What the step's evaluation found not to be finite; nothing of that step is kept then."""

    def after(self, done: int, last: bool) -> None:
        """Whatever is due after `done` updates; a signal puts off looks, which write nothing before their end."""
        now = due(self.config.run, done, last)
        self._look(done, now.looks(), save=now.save)

    def postpone(self, done: int, last: bool) -> None:
        """A checkpoint now; the looks that are due, when the run is resumed."""
        self.state["owed"] = due(self.config.run, done, last).looks()
        self.save(done, stopping=not last)

    def _look(self, done: int, looks: list[str], *, save: bool) -> None:
        """An evaluation and pictures, if asked for, and a checkpoint between them."""
        self.state["owed"], self.unsound = [], ""
        left = list(looks)
        try:
            if "evaluate" in left:
                self.evaluate(done)
                left.remove("evaluate")
            if self.unsound:
                return
            if save:
                self.save(done)
            if "draw" in left:
                self.draw(done)
        except Interrupted:
            self.state["owed"] = left
            self.save(done, stopping=True)

    def model(self, step: int) -> Model:
        """The averaged networks as they are now; they share storage with the average."""
        with spectral.estimates_kept(self.average.trio):
            plain = pretrained.plain_trio(self.average.trio, self.config, self.memory)
        model = Model(plain, self.config, step=step)
        model.fit_codes(self.sets.train)
        return model

    def draw(self, done: int) -> None:
        """Pictures on fixed noise (generator, after the test chain) and of fixed held-out images."""
        rows: list[Tensor] = []
        with self.signals.at_once():
            model = self.model(done)
            before = model.sample(SAMPLES, seed=PICTURE_SEED, steps=0)
            after = model.sample(SAMPLES, seed=PICTURE_SEED)
            if model.has("generator"):
                heldout = self.sets.heldout
                n = min(RECONSTRUCTIONS, len(heldout))
                x = heldout.tensor([i * len(heldout) // n for i in range(n)])
                rows = [x, *(model.reconstruct(x, seed=PICTURE_SEED, steps=steps) for steps in (0, None))]
        samples = self.run.samples / f"step-{done:07d}.png"
        save_side_by_side(samples, [before, after], columns=8)
        self.report.picture(done, "samples", samples)
        if rows:
            reconstructions = self.run.samples / f"reconstructions-{done:07d}.png"
            save_rows(reconstructions, rows)
            self.report.picture(done, "reconstructions", reconstructions)

    def evaluate(self, done: int) -> None:
        """The small evaluation; the best value so far becomes the model folder."""
        best = self.state["best"]
        with self.signals.at_once():
            model = self.model(done)
            sets, images = self.sets, self.config.run.evaluate_images
            figures = small_evaluation(model, sets.train, sets.heldout, images)
            self.unsound = next((name for name, value in figures.items() if not math.isfinite(value)), "")
            if self.unsound:
                return
            better = best is None or figures["value"] < best["value"]
            if better:
                self._calibrate(model)
        if better:
            self.state["best"] = {"step": done, "value": figures["value"]}
            self._export(model)
        how = {"images": images, "heldout": self.sets.heldout.title, "weights": "ema"}
        protocol = {**how, **evaluation_protocol(self.config), "version": __version__}
        self.run.add_metrics("training", {"step": done, **figures, "protocol": protocol})
        self.report.log({"step": done, "kind": "evaluation", **figures, "best_step": self.state["best"]["step"]})
        errors = {"mse_inference": "by inference", "mse_chain": "after the latent chain"}
        seen = ", ".join(f"{figures[name]:.4f} {how}" for name, how in errors.items() if name in figures)
        self.report.say(
            f"step {done}: {f'reconstruction MSE {seen}; ' if seen else ''}"
            f"selection score {figures['value']:.4f}, lower is better "
            f"(best {self.state['best']['value']:.4f} at step {self.state['best']['step']})"
        )

    def save(self, done: int, *, stopping: bool = False) -> None:
        """A complete checkpoint, older ones pruned; the model folder too, where no evaluation decides it.

        A run that is `stopping` leaves a model as it is, but one that has none yet is not left without.

        Raises:
            TrainingError: it could not be written; earlier checkpoints are intact.
        """
        parts = {
            "weights": self.trio.state_dict(),
            "average": self.average.trio.state_dict(),
            "optimiser": optimisation.state_tensors(self.trio, self.optimiser),
            "memory": self.memory,
        }
        state = {**self.state, "settings": configs.identity(self.config)}
        checkpoints.save(self.run.checkpoints, done, parts, state)
        best = self.state["best"]
        checkpoints.prune(self.run.checkpoints, self.config.run.keep, best and best["step"], done)
        decides = not self.config.run.evaluate_every and not stopping
        if done and (decides or not self.run.model.exists()):
            model = self.model(done)
            self._calibrate(model)
            self._export(model)

    def begin(self, done: int) -> None:
        """Before the first update: later checkpoints, passed over, are put aside; a new run's start is kept.

        So every checkpoint that is there is one to rely on, and a run killed at any moment can be resumed. Looks
        that a signal put off are taken.
        """
        checkpoints.put_aside(self.run.checkpoints, done)
        best = self.state["best"]
        checkpoints.prune(self.run.checkpoints, self.config.run.keep, best and best["step"], done)
        if owed := self.state["owed"]:
            if "evaluate" in owed:
                self.run.cut_metrics(done - 1)
            self._look(done, owed, save=True)
        self.ensure_saved(done)

    def rewind(self, done: int, told: dict[str, Any]) -> None:
        """After a roll-back to step `done`: later lines, evaluations and checkpoints go; the attempt stays."""
        self.report.rewind(done)
        self.run.cut_metrics(done)
        self._restore_best()
        self.save(done)
        self.report.log({"step": done, "kind": "rollback", **told})
        where = f"step {told['diverged_at']}: {told['reason']} ({told['led']})"
        remedy = rollback.remedy(self.config, told["signal"])
        self.report.say(f"{where}; back to step {done} with new noise and {remedy}")

    def _restore_best(self) -> None:
        """Makes the model folder that of the best evaluation again, where a better one was undone."""
        if not self.config.run.evaluate_every:
            return
        best = self.state["best"]
        if best is None:
            shutil.rmtree(self.run.model, ignore_errors=True)
        elif pretrained.step_of(self.run.model) != best["step"]:
            found, _ = checkpoints.newest(self.run.checkpoints, best["step"] + 1)
            trio = new_trio(self.config)
            pretrained.fill(trio, found.parts["average"], f"step-{found.step}")
            plain = pretrained.plain_trio(trio, self.config, found.parts["memory"])
            model = Model(plain, self.config, step=best["step"], device=next(self.trio.parameters()).device)
            model.fit_codes(self.sets.train)
            self._calibrate(model)
            self._export(model)

    def ensure_saved(self, done: int) -> None:
        """A checkpoint of this step, if there is none yet."""
        if done not in checkpoints.steps(self.run.checkpoints):
            self.save(done)

    def _calibrate(self, model: Model) -> None:
        if model.has("energy"):
            model.calibrate(self.sets.train)

    def _export(self, model: Model) -> None:
        try:
            model.save_pretrained(self.run.model, picture=False)  # it is written often, and nobody reads it yet
        except OSError as error:
            raise TrainingError(
                f"could not write {self.run.model} ({error}); the checkpoints in {self.run.checkpoints} are intact"
            ) from error
