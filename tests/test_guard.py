"""The divergence guard: what trips it, what it goes back to, and what changes then."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, at_update, checkpoint, flags, listing, log, tiny, train

from dualmcmc.cli import main
from dualmcmc.errors import TrainingError
from dualmcmc.settings import Config, Guard
from dualmcmc.storage import checkpoints
from dualmcmc.storage.run_folder import RunFolder
from dualmcmc.teaching import DualMCMCTeaching, Losses
from dualmcmc.training import guard as guards
from dualmcmc.training import occasions, rollback
from dualmcmc.training.guard import HALF_LIFE, HORIZON, Trip
from dualmcmc.training.loop import Trainer


def guarded(**settings: Any) -> guards.Guard:
    return guards.Guard(replace(tiny(), guard=Guard(**settings)))


def feed(guard: guards.Guard, figures: dict[str, float], updates: int, first: int = 1) -> None:
    for step in range(first, first + updates):
        assert guard.watch(figures, step) is None
        guard.settle(figures)


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["loss_energy", "gradient_generator", "data_chain_moved", "energy_size_h"])
def test_what_is_not_finite_trips_at_once(name: str, value: float) -> None:
    trip = guarded().watch({"loss_generator": 1.0, name: value}, 1)
    assert trip is not None
    assert (trip.step, trip.signal) == (1, name)
    assert f"{name} is {value}" in trip.reason


RANGED = ["energy_gap_size", "energy_size_h", "data_chain_moved", "latent_chain_moved", "gradient_energy"]


@pytest.mark.parametrize("name", RANGED)
def test_a_range_is_the_largest_by_the_checkpoint_times_the_setting(name: str) -> None:
    """Seen: 20 at most, so the limit is 20 * 10; before the checkpoint, and before the warm-up, there is none."""
    guard = guarded(range=10.0, warmup=5)
    feed(guard, {name: 20.0}, 4)
    guard.mark()
    assert guard.watch({name: 5000.0}, 5) is None  # 4 updates: no range yet
    feed(guard, {name: 5.0}, 4, first=5)
    assert guard.watch({name: 5000.0}, 9) is None  # no checkpoint since
    guard.mark()
    faded = 20.0 * 0.5 ** (4 / HALF_LIFE)
    assert guard.watch({name: 10 * faded * 0.999}, 9) is None
    trip = guard.watch({name: -10 * faded * 1.001}, 9)
    assert trip is not None
    assert (trip.signal, trip.limit) == (name, pytest.approx(10 * faded))


def test_what_grows_slowly_leaves_its_range_within_the_horizon() -> None:
    """Doubling every 40 updates with a checkpoint every 20: at most log2(range) * 40 updates and a mark's age."""
    guard = guarded(range=50.0, warmup=20)
    for step in range(1, 2000):
        figures = {"energy_gap_size": 2 ** (step / 40)}
        if guard.watch(figures, step):
            break
        guard.settle(figures)
        if step % 20 == 0:
            guard.mark()
    # The first mark, of update 20, holds sqrt(2): its limit is passed at 20 + 40 log2 50.
    assert step == math.floor(20 + 40 * math.log2(50)) + 1
    assert step < HORIZON


def test_ordinary_growth_over_longer_than_the_horizon_is_no_divergence() -> None:
    """A factor 50 over 5,000 updates, as learning brings along."""
    guard = guarded(range=50.0, warmup=100)
    for step in range(1, 6001):
        figures = {"gradient_inference": 50 ** (step / 5000)}
        assert guard.watch(figures, step) is None
        guard.settle(figures)
        if step % 100 == 0:
            guard.mark()


def test_the_size_of_h_has_a_floor_and_ranges_wait_for_the_rates() -> None:
    """h's level is arbitrary and begins near 0; while rates warm up, figures are those of a network at rest."""
    guard = guarded(warmup=5)
    feed(guard, {"energy_size_h": 1e-4, "energy_gap_size": 1e-4}, 5)
    guard.mark()
    assert guard.watch({"energy_size_h": 99.0}, 6) is None
    assert guard.watch({"energy_size_h": 101.0}, 6) is not None
    assert guard.watch({"energy_gap_size": 1.0}, 6) is not None
    config = tiny({"optim.warmup": 50})
    slow = guards.Guard(replace(config, guard=Guard(warmup=5)))
    feed(slow, {"energy_gap_size": 1e-4}, 49)
    slow.mark()
    assert slow.watch({"energy_gap_size": 1.0}, 50) is None


def test_weights_that_burst_are_seen_before_the_checkpoint() -> None:
    guard = guarded(warmup=1, range=50.0)
    feed(guard, {"loss_energy": 1.0}, 2)
    assert guard.check_weights({"weights_energy": 3.0}, 2) is None
    guard.mark()
    assert guard.check_weights({"weights_energy": 149.0}, 4) is None
    trip = guard.check_weights({"weights_energy": 151.0}, 6)
    assert trip is not None
    assert guards.network_of(trip.signal) == "energy"


@pytest.mark.parametrize(
    ("signal", "network"),
    [
        ("loss_inference", "inference"),
        ("code_variance", "inference"),
        ("gradient_generator", "generator"),
        ("latent_chain_moved", "generator"),
        ("energy_gap_size", "energy"),
        ("average.generator.project.weight", "generator"),
        ("data_chain_moved", None),
        ("saturation", None),
    ],
)
def test_a_signal_is_about_a_network(signal: str, network: str | None) -> None:
    assert guards.network_of(signal) == network


def test_saturation_counts_against_its_setting_or_twice_what_was_always_there() -> None:
    guard = guarded(warmup=1, saturation=0.5)
    assert guard.watch({"saturation": 1.0}, 1) is None  # where chains begin in noise
    feed(guard, {"saturation": 0.1}, 2)
    guard.mark()
    assert guard.watch({"saturation": 0.5}, 3) is None
    assert guard.watch({"saturation": 0.51}, 3) is not None
    always = guarded(warmup=1, saturation=0.5)
    feed(always, {"saturation": 0.4}, 2)
    always.mark()
    assert always.watch({"saturation": 0.79}, 3) is None
    assert always.watch({"saturation": 0.81}, 3) is not None


def test_collapsed_codes_are_told_by_the_mean_log_variance() -> None:
    guard = guarded(collapse=1e-5)
    assert guard.check_codes(None, 7) is None  # a method without an inference network
    assert guard.check_codes(1.01e-5, 7) is None
    trip = guard.check_codes(0.99e-5, 7)
    assert trip is not None
    assert trip.signal == "code_variance"


def test_the_state_is_all_there_is() -> None:
    """A guard restored from JSON trips at the same figure of the same update."""
    ours, theirs = guarded(warmup=3), guarded(warmup=3)
    for step in range(1, 40):
        ours.settle({"energy_gap_size": 1 + math.sin(step), "gradient_energy": step / 7})
        if step % 10 == 0:
            ours.mark()
    theirs.restore(json.loads(json.dumps(ours.state())))
    assert theirs.state() == ours.state()
    for name in ("energy_gap_size", "gradient_energy"):
        for value in (60.0, 90.0, 120.0, 1e3):
            assert ours.watch({name: value}, 40) == theirs.watch({name: value}, 40)


def test_the_diagnosis_names_what_led() -> None:
    """h grows first, the gradient after it; the loss that trips is last."""
    guard = guarded(range=50.0, warmup=2)
    feed(guard, {"energy_size_h": 10.0, "gradient_energy": 1.0, "loss_energy": 1.0}, 5)
    guard.mark()
    feed(guard, {"energy_size_h": 200.0, "gradient_energy": 1.0, "loss_energy": 1.0}, 1, first=6)
    feed(guard, {"energy_size_h": 400.0, "gradient_energy": 45.0, "loss_energy": 1.0}, 1, first=7)
    trip = guard.watch({"energy_size_h": 450.0, "gradient_energy": 49.0, "loss_energy": math.nan}, 8)
    assert trip is not None
    assert trip.signal == "loss_energy"
    assert guard.leader(trip) == "energy_size_h led, 40% of its limit at step 6"


# -- roll-back ---------------------------------------------------------------------------------------


def spoil(_: DualMCMCTeaching, losses: Losses) -> Losses:
    return losses._replace(generator=losses.generator * float("nan"))


def test_a_divergence_goes_back_to_the_checkpoint_and_takes_other_noise(run_path: Path) -> None:
    """Update 4 of 6 diverges: back to 2, whose weights are as saved; from there on another attempt's noise."""
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, spoil)
        trainer = train(run_path)
    whole = train(run_path.with_name("whole"))
    assert trainer.state["attempt"] == 1
    (trip,) = trainer.state["trips"]
    assert (trip["diverged_at"], trip["signal"], trip["back_to"]) == (4, "loss_generator", 2)
    (line,) = log(run_path, "rollback")
    assert (line["step"], line["diverged_at"], line["attempt"]) == (2, 4, 1)
    ours, theirs = (checkpoint(path, 2) for path in (run_path, whole.run.path))
    assert_same(ours, theirs)  # the memory is none, the rest as it was
    assert [line["step"] for line in log(run_path)] == [1, 2, 3, 4, 5, 6]
    three = [log(path)[2] for path in (run_path, whole.run.path)]
    assert three[0]["loss_energy"] != three[1]["loss_energy"]
    for name in ("rate_energy", "rate_generator"):  # always the energy's, and that of the network that tripped
        assert three[0][name] == pytest.approx(0.25 * three[1][name])
    assert three[0]["rate_inference"] == three[1]["rate_inference"]


def test_a_roll_back_that_is_killed_is_made_again(run_path: Path) -> None:
    """The attempt is in the checkpoint at once, so a resumed run is the one that was not killed."""
    whole, parts = run_path.with_name("whole"), run_path
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, spoil)
        train(whole)
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, spoil)
        patch.setattr(Trainer, "_roll_back", _then_die(Trainer._roll_back))
        with pytest.raises(ZeroDivisionError):
            train(parts)
    assert checkpoints.newest(parts / "checkpoints")[0].state["attempt"] == 1
    train(parts, resume=True)
    assert_same(checkpoint(parts, 6), checkpoint(whole, 6))


def _then_die(roll_back: Any) -> Any:
    def patched(self: Trainer, trip: Trip) -> int:
        roll_back(self, trip)
        raise ZeroDivisionError

    return patched


def test_memory_goes_back_too(run_path: Path) -> None:
    """Back to step 0 a buffer is empty, as Adam is: the same updates follow as from the start with that noise."""
    with pytest.MonkeyPatch.context() as patch:
        calls: list[int] = []
        original = Trainer._update

        def update(self: Trainer, step: int) -> dict[str, float]:
            figures = original(self, step)
            calls.append(step)
            if len(calls) == 2:
                with torch.no_grad():
                    self.teaching.rows["buffer"].fill_(float("nan"))
            return figures

        patch.setattr(Trainer, "_update", update)
        trainer = train(run_path, {"run.checkpoint_every": 4, "method.buffer": 32}, method="persistent")
    assert trainer.state["trips"][0]["back_to"] == 0
    saved = checkpoint(run_path, 6)
    assert all(tensor.isfinite().all() for tensor in saved.values())
    steps = {name: value for name, value in saved.items() if name.endswith(":step")}
    assert steps
    assert all(value.item() == 6 for value in steps.values())


def test_no_checkpoint_holds_what_is_not_finite(run_path: Path) -> None:
    """A weight that is no number after update 4, when a checkpoint is due: it is found before, and undone."""
    original = Trainer._update
    done: list[int] = []

    def update(self: Trainer, step: int) -> dict[str, float]:
        figures = original(self, step)
        if step == 3 and not done:
            done.append(step)
            with torch.no_grad():
                self.average.trio.part("generator").get_parameter("project.weight").view(-1)[0] = float("inf")
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", update)
        trainer = train(run_path)
    (trip,) = trainer.state["trips"]
    assert trip["reason"] == "average.generator.project.weight is not finite"
    for step in checkpoints.steps(run_path / "checkpoints"):
        assert all(tensor.isfinite().all() for tensor in checkpoint(run_path, step).values())


def test_collapsed_codes_are_undone(run_path: Path) -> None:
    def collapse(self: DualMCMCTeaching, losses: Losses) -> Losses:
        with torch.no_grad():
            self.trio.part("inference").log_variance.bias.fill_(-30.0)  # type: ignore[union-attr, operator]
        return losses

    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, collapse)
        trainer = train(run_path)
    (trip,) = trainer.state["trips"]
    assert (trip["signal"], trip["diverged_at"], trip["back_to"]) == ("code_variance", 4, 2)


def test_the_remedy_may_be_a_longer_chain(run_path: Path) -> None:
    """Three steps, divided by a half: six after one roll-back, in a resumed run too."""
    changes = {"guard.remedy": "chain", "guard.factor": 0.5}
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, spoil)
        trainer = train(run_path, changes)
    assert trainer.teaching.settings.data_chain.steps == 6
    assert log(run_path)[-1]["rate_energy"] == pytest.approx(tiny().optim.energy.rate)
    again = train(run_path, {**changes, "run.steps": 7}, resume=True)
    assert again.teaching.settings.data_chain.steps == 6


def test_after_so_many_it_gives_up_with_a_diagnosis(
    run_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, begun = DualMCMCTeaching.forward, [0]

    def always(self: DualMCMCTeaching, *args: Any) -> Losses:
        begun[0] += 1
        losses = original(self, *args)
        return spoil(self, losses) if args[3].step == 3 else losses

    monkeypatch.setattr(DualMCMCTeaching, "forward", always)
    assert main(["train", *flags({"guard.trips": 2}), "--out", str(run_path)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "diverged at step 4: loss_generator is nan, after 2 roll-backs within 10,000 updates" in last
    assert "loss_generator led" in last
    rate = tiny().optim.energy.rate
    remedies = [f"--optim.energy.rate {rate / 10:g}", "--optim.energy.clip 1", "--method.data-chain.steps 6"]
    places = [last.index(remedy) for remedy in remedies]
    assert places == sorted(places)
    assert "intact" in last
    assert checkpoints.fault(run_path / "checkpoints" / "step-2") is None
    monkeypatch.setattr(DualMCMCTeaching, "forward", original)
    assert main(["train", *flags({"guard.trips": 9}), "--out", str(run_path), "--resume"]) == 0


def test_roll_backs_outside_the_window_do_not_count() -> None:
    trips = [{"diverged_at": step} for step in (10, 900, 950)]
    settings = Guard(trips=2, window=100)
    assert rollback.gives_up(Trip(960, "x", "x"), trips, settings)
    assert not rollback.gives_up(Trip(1010, "x", "x"), trips, settings)
    assert rollback.gives_up(Trip(1, "x", "x"), [], Guard(trips=0))


def saved_with(run: Path, step: int, gap: float, config: Config) -> None:
    state = {"guard": {"seen": step, "largest": {"energy_gap_size": gap}, "marks": []}, "settings": ""}
    parts = {part: {} for part in checkpoints.PARTS}
    checkpoints.save(run / "checkpoints", step, parts, state)


def test_it_goes_back_to_where_the_signal_was_calm(tmp_path: Path) -> None:
    """Limit 100: at 30 the gap had been 60, at 20 it was 2; after two failures from 20 it is 10; then as well."""
    config = tiny()
    for step, gap in ((10, 1.0), (20, 2.0), (30, 60.0)):
        saved_with(tmp_path, step, gap, config)
    run = RunFolder(tmp_path)
    trip = Trip(35, "energy_gap_size", "it grew", 100.0)
    assert rollback.bound(run, trip, []) == 21
    nan = Trip(35, "loss_energy", "it is nan")
    assert rollback.bound(run, nan, []) == 31
    checkpoints.prune(tmp_path / "checkpoints", keep=9, best=None, done=20)
    once = [{"back_to": 20}]
    assert rollback.bound(run, trip, once) == 21
    assert rollback.bound(run, trip, once * 2) == 11
    assert rollback.bound(run, Trip(35, "energy_gap_size", "always", 0.1), []) == 11


def test_the_model_of_an_undone_best_evaluation_is_undone(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Best at 2, better at 6, diverged at 7 and back to 4, calm there: model/ is that of 2 again, bit for bit."""
    values = iter([5.0, 6.0, 4.0, *[9.0] * 9])
    monkeypatch.setattr(occasions, "small_evaluation", lambda *_: {"value": next(values)})
    monkeypatch.setattr(rollback, "bound", lambda run, *_: 5)
    kept: list[dict[str, str]] = []

    def look(teaching: DualMCMCTeaching, losses: Losses) -> Losses:
        kept.append(listing(run_path / "model"))
        return losses

    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, look)
        at_update(patch, 7, spoil)
        train(run_path, {"run.steps": 8, "run.evaluate_every": 2, "run.checkpoint_every": 2, "run.keep": 9})
    assert json.loads((run_path / "checkpoints" / "index.json").read_text())["best"] == 2
    assert json.loads((run_path / "model" / "config.json").read_text())["step"] == 2
    assert listing(run_path / "model") == kept[0]


def test_an_evaluation_that_is_not_finite_is_a_divergence(run_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the test chain, longer than training's, runs off: nothing of that step is kept."""
    values = iter([5.0, float("nan"), *[4.0] * 9])
    monkeypatch.setattr(occasions, "small_evaluation", lambda *_: {"value": next(values)})
    trainer = train(run_path, {"run.evaluate_every": 2})
    (trip,) = trainer.state["trips"]
    assert (trip["diverged_at"], trip["signal"], trip["back_to"]) == (4, "value", 2)
    evaluated = json.loads((run_path / "metrics.json").read_text())["training"]
    assert [(entry["step"], entry["value"]) for entry in evaluated] == [(2, 5.0), (4, 4.0), (6, 4.0)]


def test_what_is_best_by_a_kept_checkpoint_is_kept(tmp_path: Path) -> None:
    """Best was 10 until 40 was better; the newest two are 30, by which it was 10, and 40."""
    for step, best in ((10, 10), (20, 10), (30, 10), (40, 40)):
        parts = {part: {} for part in checkpoints.PARTS}
        checkpoints.save(tmp_path, step, parts, {"best": {"step": best, "value": 1.0}})
    checkpoints.prune(tmp_path, keep=2, best=40, done=40)
    assert checkpoints.steps(tmp_path) == [10, 30, 40]


def test_a_signal_of_a_method_without_an_energy_eases_every_rate(run_path: Path) -> None:
    original, done = Trainer._update, []

    def update(self: Trainer, step: int) -> dict[str, float]:
        figures = original(self, step)
        if step == 3 and not done:
            done.append(step)
            with torch.no_grad():
                next(self.trio.parameters()).view(-1)[0] = float("nan")
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", update)
        train(run_path, method="vae")
    lines = log(run_path)
    for name in ("rate_generator", "rate_inference"):
        assert lines[-1][name] == pytest.approx(0.25 * lines[0][name])


def test_without_a_guard_the_first_divergence_is_the_last(run_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 4, spoil)
        with pytest.raises(TrainingError, match="diverged at step 4: loss_generator is nan; "):
            train(run_path, {"guard.trips": 0})
