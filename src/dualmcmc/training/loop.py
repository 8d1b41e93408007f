"""The loop around a method: batch, losses, one backward, one update, and what is due once in a while.

It holds no mathematics. All randomness of update t is a function of (seed, t, attempt; position in the
global batch), so a resumed run equals an unbroken one, and any number of processes draws the same noise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualmcmc import compiling, data, methods
from dualmcmc import config as configs
from dualmcmc.errors import InputError, TrainingError
from dualmcmc.settings import Config
from dualmcmc.stopwatch import Stopwatch
from dualmcmc.storage import checkpoints
from dualmcmc.storage.lock import RunLock
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.teaching import Losses, Teaching, teaching
from dualmcmc.training import loglines, optimisation, processes, rollback, setup, streaming
from dualmcmc.training.batches import Batches
from dualmcmc.training.evaluation import statement
from dualmcmc.training.guard import DivergedError, Guard, Trip
from dualmcmc.training.occasions import Occasions, due
from dualmcmc.training.progress import Reporter, decoding
from dualmcmc.training.speed import Speed
from dualmcmc.training.stopping import Signals
from dualmcmc.training.tracking import check as check_tracking
from dualmcmc.training.tracking import tracking


@dataclass(frozen=True)
class Outcome:
    """A finished run: its folder, updates made in all, seconds this call took."""

    run: Path
    steps: int
    seconds: float
    rollbacks: int = 0
    """Divergences in all that the run went back from."""


class Trainer:
    """Trains the networks of a configuration into a run folder.

    Arguments:
        config: whole configuration; `presets.preset(name)` gives one.
        out: the run's folder, new or, with `resume`, one that holds a run of the same configuration.
        device: cpu, cuda, cuda:N or mps; None: the best there is.
        resume: continue from the newest complete checkpoint.
        init: a model to start from (fine-tuning): run, model folder or hub id.
        teaching: a page of your own to teach by instead of that of `config.method`, whose settings it is given;
            these still say which networks there are and how a trained model draws (docs/adding.md).
        skip_bad: leave unreadable images out, and count them, instead of refusing the data.
        verify: compare the data's contents, not only names, sizes and times, with what was decoded before.
        quiet: show nothing; the log is kept all the same.

    Raises:
        InputError: on `train`, before anything is written: some input cannot be used, or another process
            is writing the run.
    """

    def __init__(
        self,
        config: Config,
        out: str | Path,
        *,
        device: str | None = None,
        resume: bool = False,
        init: str | Path | None = None,
        teaching: type[Teaching] | None = None,
        skip_bad: bool = False,
        verify: bool = False,
        quiet: bool = False,
    ) -> None:
        self.config, self.run, self.lock = config, RunFolder(Path(out)), RunLock(Path(out))
        self.device, self.resume, self.init, self.page = device, resume, init, teaching
        self.skip_bad, self.verify, self.quiet = skip_bad, verify, quiet
        self.occasions: Occasions | None = None
        self.signals = Signals()

    def train(self) -> Outcome:
        """Trains to `config.run.steps` updates, or until `config.run.minutes` are spent on updates.

        Raises:
            InputError: some input cannot be used; nothing was written.
            TrainingError: training diverged more often than `config.guard` goes back from, another process is
                gone or computes something else, or the disk is full.
            KeyboardInterrupt: SIGINT or SIGTERM came; a checkpoint of the last update was saved.
        """
        began = time.monotonic()
        with ExitStack() as stack:
            stack.callback(self.lock.release)
            with self._peers():
                done, notes = self._prepare()
                memory = self.teaching.memory(self.accelerator.gather)
                if self.stream:
                    stack.callback(self.stream.stream.close)
                    self.state["stream"] = self.stream.state()
            stack.enter_context(self.signals)
            stack.enter_context(self._peers())
            try:
                if self.main:
                    tracker = stack.enter_context(tracking(self.config, self.run, quiet=self.quiet))
                    report = Reporter(
                        self.run, done=done, total=self.config.run.steps, quiet=self.quiet, tracker=tracker
                    )
                    stack.enter_context(report)
                    for line in notes:
                        report.say(line)
                    self.occasions = Occasions(
                        self.run,
                        self.config,
                        self.sets,
                        self.trio,
                        self.average,
                        self.optimiser,
                        report,
                        self.signals,
                        self.state,
                    )
                    self.occasions.memory = memory
                    self.occasions.begin(done)
                    self.speed = Speed(self.config, len(self.rows), self.accelerator.device)
                done = self._loop(done)
            except InputError as error:  # of a file that was sound when the run began
                raise TrainingError(f"{error}; {self._safe()}") from error
            except data.StreamError as error:
                raise TrainingError(f"{error}; {self._safe()}") from error
            except OSError as error:
                raise TrainingError(f"cannot write to {self.run.path} ({error}); {self._safe()}") from error
        return Outcome(self.run.path, done, time.monotonic() - began, len(self.state["trips"]))

    @contextmanager
    def _peers(self) -> Iterator[None]:
        """Within, what a collective raises where another process has ended says so."""
        try:
            yield
        except RuntimeError as error:
            if not processes.lost_peer(error):
                raise
            raise TrainingError(
                f"another process of this run is gone ({error}); {self._safe()}, --resume continues"
            ) from error

    def _safe(self) -> str:
        """What a run that fails leaves behind."""
        steps = checkpoints.steps(self.run.checkpoints)
        return f"the checkpoint of step {steps[-1]} is intact" if steps else "there is no checkpoint"

    # -- before the first update -----------------------------------------------------------------

    def _prepare(self) -> tuple[int, list[str]]:
        """Everything up to the first update: updates already made, lines to show."""
        c = self.config = configs.check(self.config)
        if self.resume:
            setup.check_resumable(self.run, c)
            setup.check_same_teaching(self.run, self.page)
        # Nobody knows what a page of the user's own leaves out.
        gaps = self.page is not None or methods.partial(c.method)
        self.accelerator = setup.accelerator(self.device, c.precision, partial=gaps)
        self.main = self.accelerator.is_main_process
        check_tracking(c)
        if not self.resume:
            self.run.check_free()
        compiling.check(c.run.chains, self.accelerator.device)
        self.rows = processes.share_of_batch(self.accelerator, c.optim.batch_size)
        with self.accelerator.main_process_first():
            self.sets = setup.load_sets(
                c,
                skip_bad=self.skip_bad,
                verify=self.verify,
                progress=None if self.quiet or not self.main else decoding(),
            )
        c = self.config = setup.with_classes(c, self.sets.train)
        if self.resume and not self.run.begun():
            first = self.run.read_about().get("init")
            self.init = first if isinstance(first, str) else None
        self.stream = None
        if data.is_stream(c.data):
            self.stream = streaming.Streaming(c, self.accelerator, skip_bad=self.skip_bad)
        self._build()
        self.teaching.check(self.rows, c.optim.batch_size)
        done, notes = 0, self._data_notes()
        if self.main:
            self._claim()
        self.accelerator.wait_for_everyone()  # what a killed process left is put back
        if self.resume:
            setup.check_same_data(self.run, self.sets.train)
            if self.run.begun():
                done, more = self._continue()
                notes += more
            if self.main:
                self.run.continue_with(c)
                self.run.cut_metrics(done)
            finished = ", its last: --steps goes further" if done == c.run.steps else ""
            notes.append(f"resuming {self.run.path} after step {done}{finished}")
        elif self.main:
            train, heldout = self.sets.train, self.sets.heldout
            about: dict[str, Any] = {"images": len(train), "heldout": heldout.title}
            about |= {"data_sha256": train.fingerprint, "init": self.init and str(self.init)}
            about |= {"teaching": self.page.__qualname__} if self.page else {}
            about |= self.stream.about() if self.stream else {}
            self.run.create(c, best=statement(c.method), **about)
        self.accelerator.wait_for_everyone()
        return done, notes

    def _continue(self) -> tuple[int, list[str]]:
        """The state of the newest complete checkpoint: its step, and a line for each that was passed over."""
        checkpoint, passed_over = self._restore()
        self.run.check_settings(self.config, checkpoint)
        self.state.update({name: checkpoint.state[name] for name in self.state})
        self._ease()
        if self.config.run.steps < checkpoint.step:
            wanted = self.config.run.steps
            raise InputError(f"--resume: {self.run.path} has made {checkpoint.step} updates, more than {wanted}")
        return checkpoint.step, passed_over

    def _restore(self, before: int | None = None) -> tuple[checkpoints.Checkpoint, list[str]]:
        """Everything as the newest complete checkpoint (before a step) has it, but for `state`; lines to show."""
        checkpoint, passed_over = setup.restore(self.run, self.trio, self.average, self.optimiser, before)
        self.teaching.remember(checkpoint.parts["memory"], self.rows, self.config.optim.batch_size)
        self.guard.restore(checkpoint.state["guard"])
        if self.stream:
            passed_over += self.stream.restore(checkpoint.state["stream"])
        return checkpoint, passed_over

    def _claim(self) -> None:
        """Makes the run this process's to write. Whoever else began in the meantime keeps theirs."""
        if not self.resume:
            self.run.make()
        self.lock.acquire()
        self.run.check_inside()
        checkpoints.mend(self.run.checkpoints)
        if not self.resume:
            self.run.check_new()

    def _build(self) -> None:
        c = self.config
        self.trio = setup.new_trio(c)
        if self.init:
            setup.start_from(self.trio, self.init, c)
        self.trio.at_once = c.run.micro_batch
        self.trio.to(self.accelerator.device)
        self.average = optimisation.Average(self.trio, c.optim)
        self.optimiser = optimisation.build_optimiser(self.trio, c.optim)
        self.teaching: Teaching = (self.page or teaching)(self.trio, c.method)
        self.teaching.chains = c.run.chains
        self.module = self.accelerator.prepare_model(self.teaching)
        self.batches = Batches(c, self.sets.train, self.stream, self.rows, self.accelerator.device)
        self.guard, self.state, self.tail = Guard(c), setup.new_state(), 0.0
        self.watch = Stopwatch(cuda=self.accelerator.device.type == "cuda")

    def _data_notes(self) -> list[str]:
        train, heldout = self.sets
        images = self.config.images
        notes = [f"{len(train)} training images ({images.size}x{images.size}x{images.channels}) of {train.title}"]
        if self.stream:
            notes = self.stream.notes(self.sets)
        if train.skipped:
            notes.append(f"{train.skipped} unreadable images were skipped")
        if heldout is train:
            notes.append("no images are held out: evaluations during training use training images")
        return notes

    # -- the loop --------------------------------------------------------------------------------

    def _loop(self, done: int) -> int:
        """Updates, and roll-backs, until the run is at its end; returns how many updates were made in all."""
        if processes.any_of(self.accelerator, self.signals.came != 0):  # while looks that were owed were taken
            raise KeyboardInterrupt(f"stopped after step {done}, which is saved; --resume continues")
        if self.config.run.minutes and self.state["seconds"] >= 60 * self.config.run.minutes:
            return done  # resumed after its time was spent
        while True:
            try:
                return self._updates(done)
            except DivergedError as failure:
                done = self._roll_back(failure.trip)

    def _updates(self, done: int) -> int:
        """Updates until `run.steps` are made or `run.minutes` are spent; returns how many were made in all.

        Raises:
            DivergedError: an update, or what it left, must not stand.
        """
        r = self.config.run
        window: list[dict[str, float]] = []
        began = time.monotonic()
        for step in range(done, r.steps):
            figures = self._update(step)
            window.append(figures)
            done, stopping = step + 1, figures["stop"] > 0
            last = done == r.steps or bool(r.minutes and figures["seconds"] >= 60 * r.minutes)
            now = due(r, done, last)
            if stopping or any(now):
                self._examine(done)
            if done % r.log_every == 0 or last:
                self._log(done, window, (time.monotonic() - began) / len(window))
                window.clear()
            if self.occasions:
                self.occasions.report.step(done)
            if now.save:
                self.guard.mark()
            if stopping or any(now):
                stopping = self._look(done, last, stopping)
            self.accelerator.wait_for_everyone()
            if last and not (stopping and processes.any_of(self.accelerator, bool(self.state["owed"]))):
                break
            if stopping:
                raise KeyboardInterrupt(f"stopped after step {done}, which is saved; --resume continues")
            if not window:
                began = time.monotonic()
        return done

    def _look(self, done: int, last: bool, stopping: bool) -> bool:
        """What is due once in a while; returns whether a signal to stop came, on any process, by its end.

        Raises:
            DivergedError: the averaged model's samples or reconstructions are not finite.
        """
        memory = self.teaching.memory(self.accelerator.gather)
        self.state["guard"] = self.guard.state()
        if self.stream:
            self.state["stream"] = self.stream.state()
        if self.occasions:
            for line in self.stream.news() if self.stream else ():
                self.occasions.report.say(line)
            self.occasions.memory = memory
            if stopping:
                self.occasions.postpone(done, last)
            else:
                self.occasions.after(done, last)
        unsound = self.occasions.unsound if self.occasions else ""
        if processes.any_of(self.accelerator, bool(unsound)):
            raise DivergedError(Trip(done, unsound or "evaluation", f"{unsound or 'evaluation'} is not finite"))
        return processes.any_of(self.accelerator, self.signals.came != 0)

    def _examine(self, done: int) -> None:
        """Refuses to keep what no checkpoint may hold.

        Raises:
            DivergedError: a number is not finite, or q has collapsed.
            TrainingError: processes hold different weights.
        """
        if different := processes.strangers(self.accelerator, self.trio):
            raise TrainingError(
                f"at step {done} the weights of process {', '.join(map(str, different))} are not those of the "
                f"others: its machine may be faulty; {self._safe()}, --resume continues"
            )
        flawed = setup.flaw(self.trio, self.average, self.optimiser, self.teaching)
        if processes.any_of(self.accelerator, flawed is not None):
            reason = f"{flawed} is not finite" if flawed else "another process holds what is not finite"
            raise DivergedError(Trip(done, flawed or "parameters", reason))
        norms = {f"weights_{name}": norm for name, norm in optimisation.weight_norms(self.trio).items()}
        trip = self.guard.check_weights(norms, done) or self.guard.check_codes(self._code_variance(), done)
        if trip:
            raise DivergedError(trip)

    @torch.no_grad()
    def _code_variance(self) -> float | None:
        """Geometric mean of q's variances on the last update's images; None without such a network."""
        if self.trio.inference is None:
            return None
        _, log_variance = self.trio.q(self.seen)
        seen = processes.means(self.accelerator, {"log_variance": log_variance.mean()})
        return float(np.exp(seen["log_variance"]))

    def _roll_back(self, trip: Trip) -> int:
        """Everything as it was at the newest complete checkpoint, but for the noise and the remedy; its step.

        Raises:
            TrainingError: it has come to that too often.
        """
        guard, trips, leader = self.config.guard, self.state["trips"], self.guard.leader(trip)
        if rollback.gives_up(trip, trips, guard):
            told = rollback.diagnosis(trip, leader, self.config)
            raise TrainingError(f"{told}; {self._safe()} in {self.run.checkpoints}")
        self.accelerator.wait_for_everyone()  # nobody is still writing
        try:
            checkpoint, _ = self._restore(rollback.bound(self.run, trip, trips))
        except InputError as error:
            raise TrainingError(f"training diverged at step {trip.step}: {trip.reason}; {error}") from error
        self.accelerator.wait_for_everyone()  # nobody is still reading
        done, attempt, seconds = checkpoint.step, self.state["attempt"] + 1, self.state["seconds"]
        past = {"diverged_at": trip.step, "signal": trip.signal, "reason": trip.reason, "back_to": done}
        self.state.update({name: checkpoint.state[name] for name in self.state})
        self.state.update(attempt=attempt, seconds=seconds, trips=[*trips, past])
        self._ease()
        memory = self.teaching.memory(self.accelerator.gather)
        if self.occasions:
            self.occasions.memory = memory
            self.occasions.rewind(done, {**past, "led": leader, "attempt": attempt})
        self.accelerator.wait_for_everyone()
        return done

    def _ease(self) -> None:
        """The remedy of all roll-backs so far; the rate's acts in `_step`."""
        self.teaching.settings = rollback.eased_method(self.config, self.state)

    def _log(self, done: int, window: list[dict[str, float]], seconds: float) -> None:
        line = loglines.summary(window, self.trio, self.optimiser, self.watch)
        if self.occasions:
            if self.page is None:  # the arithmetic that is known is that of the methods' own pages
                line |= self.speed.figures(self.teaching.settings, done - 1, seconds)
            self.occasions.report.log({"step": done, "kind": "train", "seconds_per_step": seconds, **line})

    def _update(self, step: int) -> dict[str, float]:
        """One iteration; returns its figures. A phase whose figures are not finite changes nothing.

        Seconds are those of all processes, in the mean, when the last figures were known; what came after counts
        for the next update: so all processes know at once, and alike, when the time is spent.
        """
        began = time.monotonic()
        self.watch.start()
        x, noise, update = self.batches.at(step, self.state["attempt"])
        self.seen = x
        figures: dict[str, float] = {}
        for phase in range(self.teaching.phases):
            losses: Losses = self.module(x, noise, self.watch, update._replace(phase=phase))
            self.accelerator.backward(losses.total())
            norms = optimisation.clip(self.trio, self.config.optim)
            self.watch.mark("losses")
            measured = time.monotonic()
            spent = self.state["seconds"] + self.tail + measured - began
            seen = loglines.figures(losses, norms, stop=float(self.signals.came != 0), seconds=spent)
            figures |= processes.means(self.accelerator, seen)
            if trip := self.guard.watch(figures, step + 1):
                self.optimiser.zero_grad()
                raise DivergedError(trip)
            self._step(step)
            self.watch.mark("update")
        self.teaching.settle(self.accelerator.gather)
        if self.config.networks.norm == "batch" and self.trio.generator is not None:
            processes.average_buffers(self.accelerator, self.trio.generator)
        self.average.update(self.trio, step)
        self.watch.mark("update")
        self.guard.settle(figures)
        self.state["seconds"] = figures["seconds"]
        self.tail = time.monotonic() - measured
        return figures

    def _step(self, step: int) -> None:
        """Moves the networks that have a gradient."""
        factor = optimisation.rate_factor(
            step,
            self.config.optim,
            steps=self.config.run.steps,
            steps_per_epoch=len(self.sets.train) // self.config.optim.batch_size,
        )
        ease = partial(rollback.rate_ease, self.state, self.config)
        optimisation.set_rates(self.trio, self.optimiser, self.config.optim, factor, ease)
        self.optimiser.step()
        self.optimiser.zero_grad()
