"""Every method by the same trainer: equal starts and batches, memory that resumes bit for bit, any networks."""

from __future__ import annotations

import json
import math
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, at_update, checkpoint, flags, listing, log, timeless, tiny, train
from torch import Tensor

from dualmcmc import InputError, Model, cost, methods, presets
from dualmcmc.cli import main
from dualmcmc.counting import flops_of
from dualmcmc.methods import METHODS
from dualmcmc.noise import BatchNoise
from dualmcmc.settings import Chain, Config, Images, Networks
from dualmcmc.storage.pretrained import build_trio
from dualmcmc.teaching import Update, teaching
from dualmcmc.training import setup

MODES = ("reuse", "redraw", "redraw_unrevised", "persistent", "mixed")
EPS = torch.finfo(torch.float32).eps
SHORT = {"run.steps": 4, "run.checkpoint_every": 0, "optim.batch_size": 16}


def changes_of(method: str) -> dict[str, Any]:
    """Tiny settings that some methods need beside `tiny.TINY`."""
    own = {
        "persistent": {"method.buffer": 64},
        "improved_cd": {"method.buffer": 64},
        "jem": {"method.buffer": 64},
        "hat": {"method.bank": 64},
        "vaebm": {"method.vae_steps": 2, "method.noise_chain.steps": 2},
        "recovery_likelihood": {"method.levels": 3, "method.level_steps": 2},
    }
    return {**SHORT, **own.get(method, {})}


@pytest.mark.parametrize("method", METHODS)
def test_2k_updates_equal_k_stop_resume_k_bit_for_bit(method: str, tmp_path: Path) -> None:
    """Weights, average, moments, and what the method remembers; log lines but for the clock's."""
    changes = changes_of(method)
    train(tmp_path / "whole", changes, method)
    train(tmp_path / "parts", {**changes, "run.steps": 2}, method)
    train(tmp_path / "parts", changes, method, resume=True)
    assert_same(checkpoint(tmp_path / "parts", 4), checkpoint(tmp_path / "whole", 4))
    assert timeless(log(tmp_path / "parts")) == timeless(log(tmp_path / "whole"))


@pytest.mark.parametrize("negatives", MODES)
@pytest.mark.parametrize("pair", ["prior", "reinferred"])
def test_every_way_of_drawing_negatives_resumes_bit_for_bit(negatives: str, pair: str, tmp_path: Path) -> None:
    changes = {**SHORT, "method.negatives": negatives, "method.pair": pair, "method.buffer": 64}
    train(tmp_path / "whole", changes)
    train(tmp_path / "parts", {**changes, "run.steps": 2})
    train(tmp_path / "parts", changes, resume=True)
    ours, theirs = (checkpoint(tmp_path / name, 4) for name in ("parts", "whole"))
    assert_same(ours, theirs)
    assert ("memory/rows.buffer" in ours) == (negatives in ("persistent", "mixed"))


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_start_from_the_same_networks_and_see_the_same_batches(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A network's first weights do not depend on what stands beside it; batches are a function of the seed."""
    config, reference = tiny(changes_of(method), method), setup.new_trio(tiny(SHORT))
    if isinstance(config.method, methods.JEM):
        config = replace(config, method=replace(config.method, classes=10))
    trio, theirs = setup.new_trio(config), dict(reference.named_parameters())
    # JEM's head has other outputs, recovery likelihood's first layer other inputs: those networks are their own.
    own = ("extra", "energy") if method in ("jem", "recovery_likelihood") else ("extra",)
    for name, parameter in trio.named_parameters():
        if not name.startswith(own):
            assert torch.equal(parameter, theirs[name]), name
    seen: list[Tensor] = []
    page = type(teaching(trio, config.method))
    forward = page.forward

    def recording(self: Any, x: Tensor, *args: Any) -> Any:
        seen.append(x.clone())
        return forward(self, x, *args)

    monkeypatch.setattr(page, "forward", recording)
    train(tmp_path / "run", {**changes_of(method), "run.steps": 2}, method)
    from dualmcmc import data

    images = data.load("digits:train", config.images)
    for step, x in enumerate(seen):
        rows = data.batch_indices(step, images=len(images), batch_size=16, seed=config.seed)
        assert torch.equal(x, images.tensor(rows))


KINDS = {
    "8 grey": (Images(size=8, channels=1), "simple", "batch"),
    "28 grey": (Images(size=28, channels=1), "simple", "group"),
    "16 colour": (Images(size=16, channels=3), "residual", "batch"),
    "32 colour": (Images(size=32, channels=3), "residual", "group"),
    "64 colour": (Images(size=64, channels=3), "residual", "group"),
}


def small(method: str, images: Images, family: Any, norm: Any) -> Config:
    """One step of every chain, width 16 (8 for simple networks)."""
    width = 8 if family == "simple" else 16
    config = presets.preset("digits", method)
    networks = Networks(
        family=family, latent_dim=4, energy_width=width, generator_width=width, inference_width=width, norm=norm
    )
    m = config.method
    short: dict[str, Any] = {
        name: replace(getattr(m, name), steps=1)
        for name in ("data_chain", "latent_chain", "test_chain", "noise_chain")
        if hasattr(m, name)
    }
    short |= {name: 4 for name in ("buffer", "bank", "neighbours", "posterior_draws") if hasattr(m, name)}
    short |= {"vae_steps": 1} if hasattr(m, "vae_steps") else {}
    short |= {"levels": 2, "level_steps": 1} if hasattr(m, "levels") else {}
    short |= {"classes": 3} if hasattr(m, "classes") else {}
    optim = replace(config.optim, batch_size=2)
    return replace(config, images=images, networks=networks, method=replace(m, **short), optim=optim)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_with_every_kind_of_networks_and_images(method: str, kind: str) -> None:
    """Two updates of two images: finite losses, and a gradient for every network that the method has."""
    config = small(method, *KINDS[kind])
    trio = setup.new_trio(config)
    module, reached = teaching(trio, config.method), set()
    x = torch.rand(2, config.images.channels, config.images.size, config.images.size) * 2 - 1
    for step in range(2):
        update = Update(step=step, batch=2, total=2, images=torch.arange(2), labels=torch.tensor([0, 2]))
        for phase in range(module.phases):
            losses = module(x, BatchNoise(0, range(2), path=("train", step)), None, update._replace(phase=phase))
            losses.total().backward()
            assert all(loss.isfinite() for loss in losses.named().values())
            reached |= {name.split(".")[0] for name, p in trio.named_parameters() if p.grad is not None}
            module.zero_grad()
        module.settle(lambda rows: rows)
    assert reached >= set(config.method.PARTS)


def _ran(config: Config) -> int:
    """FLOPs of a real update of these settings, the second that their memory sees, after any first phase."""
    module = teaching(setup.new_trio(config), config.method)
    x = torch.rand(2, config.images.channels, config.images.size, config.images.size) * 2 - 1
    update = Update(batch=2, total=2, images=torch.arange(2), labels=torch.tensor([0, 2]))

    def run(step: int) -> None:
        for phase in range(module.phases):
            noise = BatchNoise(0, range(2), path=("train", step))
            module(x, noise, None, update._replace(step=step, phase=phase)).total().backward()
            module.zero_grad()

    run(1)
    return flops_of(lambda: run(2))


@pytest.mark.parametrize("method", METHODS)
def test_costs_are_worked_out_for_every_method(method: str) -> None:
    """FLOPs by part and in all, those that run; longer chains cost more, by the same amount for each step."""
    config = small(method, Images(size=8, channels=1), "simple", "group")
    config = replace(config, networks=replace(config.networks, spectral_norm=False))
    told = cost.iteration(config)
    parts = told["flops_by_part"]
    assert told["flops_per_iteration"] == sum(parts.values()) - parts["optimiser"] == _ran(config) > 0
    for name in ("energy", "generator", "inference"):  # losses of two networks stand under the generator's
        assert bool(parts[f"loss_{name}"]) <= (name in config.method.PARTS or method == "no_mcmc")
    assert set(told["bytes_moved_by_part"]) == set(told["operators_by_part"]) == set(parts)
    assert all(told["bytes_moved_by_part"][part] > 0 for part in parts if parts[part])
    assert {name for name, count in told["parameters"].items() if count} - {"extra"} == set(config.method.PARTS)
    for name in ("data_chain", "latent_chain"):
        if not hasattr(config.method, name):
            continue
        chain: Chain = getattr(config.method, name)
        at = [
            cost.iteration(replace(config, method=replace(config.method, **{name: replace(chain, steps=k)})))
            for k in (1, 2, 3)
        ]
        flops = [seen["flops_per_iteration"] for seen in at]
        assert flops[2] - flops[1] == flops[1] - flops[0] >= 0


@pytest.mark.parametrize("method", METHODS)
def test_verbs_do_what_the_methods_networks_allow_and_say_what_they_do_not(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 with files, or exit 2 with one line that names the missing network and nothing written."""
    run = tmp_path / "run"
    train(run, {**changes_of(method), "run.evaluate_every": 4, "run.sample_every": 4}, method)
    parts, before = set(METHODS[method].PARTS), listing(run)
    needed = {
        "reconstruct": {"generator"},
        "inpaint": {"generator"},
        "interpolate": {"generator"},
        "score": {"energy"},
    }
    arguments = {
        "sample": ["-n", "4"],
        "reconstruct": ["--data", "digits", "-n", "4"],
        "inpaint": ["--data", "digits", "-n", "4", "--mask", "center:4"],
        "interpolate": ["-n", "2"],
        "score": ["--data", "digits", "-n", "4"],
        "evaluate": ["--features", "pixels", "-n", "20", "--held-out", "10", "--chains", "20", "--ood", "means"],
    }
    capsys.readouterr()
    for verb, more in arguments.items():
        code = main([verb, str(run), "--device", "cpu", *more])
        said = capsys.readouterr().err
        if missing := needed.get(verb, set()) - parts:
            assert code == 2, verb
            assert len(said.splitlines()) == 1
            assert next(iter(missing)) in said
        else:
            assert code == 0, (verb, said)
    if not parts & {"generator"}:
        assert main(["evaluate", str(run), "--tasks", "reconstruction", "--features", "pixels"]) == 2
        assert "generator" in capsys.readouterr().err
    after = listing(run)
    assert {name: value for name, value in after.items() if name in before and name != "metrics.json"} == {
        name: value for name, value in before.items() if name != "metrics.json"
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_trained_models_draws_depend_on_seed_and_key_alone(method: str, tmp_path: Path) -> None:
    """Any batch, any neighbours; the state after k steps of a longer chain is the end of one of k."""
    train(tmp_path / "run", changes_of(method), method)
    model = Model.from_pretrained(tmp_path / "run")
    x = model.sample(6, seed=3)
    assert x.isfinite().all()
    assert x.abs().max() <= 1
    assert (x - model.sample(6, seed=3, batch_size=4)).abs().max() < 1e-4
    assert (x[[4, 1]] - model.sample(2, seed=3, keys=[4, 1])).abs().max() < 1e-4
    assert not torch.equal(x, model.sample(6, seed=4))
    last = methods.test_chain(model.config.method).steps
    states = model.data_trajectory(6, {0, last // 2, last}, seed=3).states
    for k, state in states.items():
        assert (state.clamp(-1, 1) - model.sample(6, seed=3, steps=k)).abs().max() < 1e-4
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(Model.from_pretrained(tmp_path / "model").sample(6, seed=3), x)
    if method == "rae":
        with pytest.raises(InputError, match="density fitted to codes"):
            Model.from_pretrained(tmp_path / "run", weights="live")
    else:
        assert Model.from_pretrained(tmp_path / "run", weights="live").sample(2).isfinite().all()


def test_a_time_budget_ends_a_run_that_is_whole(tmp_path: Path) -> None:
    """Minutes count updates only, over all calls; at the end everything is saved, and a resumed run is done."""
    changes = {"run.steps": 10**6, "run.minutes": 1e-4, "run.evaluate_every": 10**6}
    trainer = train(tmp_path / "run", changes)
    lines = log(tmp_path / "run")
    done = lines[-1]["step"]
    assert done >= 1
    assert (
        json.loads((tmp_path / "run" / "checkpoints" / f"step-{done}" / "state.json").read_text())["seconds"]
        >= 60e-4
    )
    assert log(tmp_path / "run", "evaluation")[-1]["step"] == done
    assert trainer.train.__doc__
    before = listing(tmp_path / "run" / "checkpoints")
    train(tmp_path / "run", changes, resume=True)
    assert listing(tmp_path / "run" / "checkpoints") == before
    assert log(tmp_path / "run")[-1]["step"] == done


def test_jem_needs_labels_and_takes_the_classes_of_the_data(tmp_path: Path) -> None:
    import numpy as np

    trainer = train(tmp_path / "run", changes_of("jem"), "jem")
    assert trainer.config.method.classes == 10
    assert Model.from_pretrained(tmp_path / "run").config.method.classes == 10
    np.save(tmp_path / "plain.npy", np.zeros((32, 8, 8), np.uint8))
    with pytest.raises(InputError, match="needs labels"):
        train(tmp_path / "none", {**changes_of("jem"), "data": str(tmp_path / "plain.npy")}, "jem")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("method", "changes", "what"),
    [
        ("dual_mcmc", {"method.negatives": "mixed", "optim.batch_size": 15}, "even number"),
        ("improved_cd", {"method.data_chain.steps": 0}, "steps is 0"),
        ("improved_cd", {"method.buffer": 16}, "two states"),
        ("wae", {"optim.batch_size": 1}, "two images"),
        ("dual_mcmc", {"run.minutes": 1.0, "optim.schedule": "cosine"}, "budget of time"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_anything_is_written(
    method: str, changes: dict[str, Any], what: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=what):
        train(tmp_path / "run", {**changes_of(method), **changes}, method)
    assert not (tmp_path / "run").exists()


def test_init_takes_the_networks_that_methods_share_and_refuses_others(tmp_path: Path) -> None:
    """VAE to dual-MCMC: generator and inference network; JEM's logits are no network of both."""
    train(tmp_path / "vae", changes_of("vae"), "vae")
    source = Model.from_pretrained(tmp_path / "vae").trio
    trio = setup.new_trio(tiny(SHORT))
    setup.start_from(trio, tmp_path / "vae", tiny(SHORT))
    z = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(trio.g(z), source.g(z))
    train(tmp_path / "jem", changes_of("jem"), "jem")
    before = {name: value.clone() for name, value in trio.state_dict().items()}
    with pytest.raises(InputError, match="another energy network"):
        setup.start_from(trio, tmp_path / "jem", tiny(SHORT))
    config = tiny(changes_of("persistent"), "persistent")
    with pytest.raises(InputError, match="no network"):
        setup.start_from(setup.new_trio(config), tmp_path / "vae", config)
    assert all(torch.equal(value, before[name]) for name, value in trio.state_dict().items())


def test_vaebms_data_chain_has_no_part_in_inpainting(tmp_path: Path) -> None:
    train(tmp_path / "run", changes_of("vaebm"), "vaebm")
    model, x = Model.from_pretrained(tmp_path / "run"), torch.zeros(2, 1, 8, 8)
    stages = model.inpainting_stages(x, "center:4")
    assert torch.equal(stages.by_data_chain, stages.by_latent_chain)
    with pytest.raises(InputError, match="data_steps 0"):
        model.inpaint(x, "center:4", data_steps=3)


def test_figures_of_a_window_are_means_over_the_updates_that_have_them(tmp_path: Path) -> None:
    """VAEBM changes what it teaches after update 3; the second window has one update of either kind."""
    changes = {**changes_of("vaebm"), "method.vae_steps": 3, "run.log_every": 2}
    train(tmp_path / "two", changes, "vaebm")
    train(tmp_path / "one", {**changes, "run.log_every": 1}, "vaebm")
    single = log(tmp_path / "one")
    assert log(tmp_path / "two")[1]["loss_generator"] == single[2]["loss_generator"]
    assert log(tmp_path / "two")[1]["loss_energy"] == single[3]["loss_energy"]


def test_a_run_is_not_resumed_by_another_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "run", changes_of("vae"), "vae")
    assert main(["train", "digits", "--out", str(tmp_path / "run"), "--resume", "--method", "abp"]) == 2
    assert "method vae, not abp" in capsys.readouterr().err
    with pytest.raises(InputError, match="method is abp, not vae"):
        train(tmp_path / "run", changes_of("abp"), "abp", resume=True)


def test_methods_are_named_and_their_flags_are_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--method", "alchemy"]) == 2
    assert "unknown method 'alchemy': choose one of dual_mcmc" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "digits", "--method", "persistent", "--help"])
    shown = capsys.readouterr().out
    assert "--method.restart" in shown
    assert "--method.latent-chain" not in shown


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.SHARED])
def test_what_methods_share_is_the_presets(method: str) -> None:
    """Equal chains and sigma are what makes a comparison; for every preset."""
    for name, preset in presets.PRESETS.items():
        ours = presets.preset(name, method)
        for field in METHODS[method].SHARED:
            assert getattr(ours.method, field) == getattr(preset.method, field)
        assert replace(ours, method=preset.method) == preset


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("dual_mcmc", {"method.negatives": "redraw"}),
        ("dual_mcmc", {"method.negatives": "mixed", "method.buffer": 32}),
        ("abp", {}),
    ],
    ids=["two phases", "rows", "tables"],
)
def test_two_processes_train_and_remember_as_one_does(
    method: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    """Means of half batches, noise by place: only rounding differs, as in test_training's test of the same.

    Here by up to 1e-3 of the movement: rounding may put one unit of one image on the other side of its ReLU's
    kink, which changes a gradient by that unit's share (seen: 1e-6, and 1e-4 where it happened); half a batch
    that was not averaged in would change it by 1.
    """
    changes = {"run.steps": 3, "run.checkpoint_every": 0, **changes}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(port), "-m", "dualmcmc"]
    arguments = ["train", *flags(changes, method), "--out", str(tmp_path / "two")]
    process = subprocess.Popen(
        [sys.executable, "-m", *launch, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    one = train(tmp_path / "one", changes, method)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    ours, theirs = (checkpoint(tmp_path / name, 3) for name in ("two", "one"))
    assert ours.keys() == theirs.keys()
    start = setup.new_trio(one.config)
    for network in one.config.method.PARTS:
        names = [f"{network}.{name}" for name, _ in start.get_submodule(network).named_parameters()]
        gap = math.hypot(*((ours[f"weights/{n}"] - theirs[f"weights/{n}"]).norm() for n in names))
        moved = math.hypot(*((theirs[f"weights/{n}"] - start.get_parameter(n).detach()).norm() for n in names))
        assert gap < 1e-3 * moved, (network, gap / moved)
    for name in (name for name in theirs if name.startswith("memory/")):
        # States and codes are of order 1; three updates of chains carry rounding to 1e-4 at most (docs/maths.md).
        assert (ours[name].float() - theirs[name].float()).abs().max() < 1e-4, name


def test_a_stopped_run_keeps_its_memory(tmp_path: Path) -> None:
    """SIGINT between checkpoints: the buffer is saved with the weights."""
    changes = {**SHORT, "method.negatives": "persistent", "method.buffer": 64}
    train(tmp_path / "whole", changes)
    with pytest.MonkeyPatch.context() as patch:
        at_update(patch, 3, lambda _, losses: (signal.raise_signal(signal.SIGINT), losses)[1])
        with pytest.raises(KeyboardInterrupt, match="step 3"):
            train(tmp_path / "parts", changes)
    train(tmp_path / "parts", changes, resume=True)
    assert_same(checkpoint(tmp_path / "parts", 4), checkpoint(tmp_path / "whole", 4))


def test_trained_trios_of_every_method_hold_what_they_draw_from() -> None:
    config = small("persistent", Images(size=8, channels=1), "simple", "group")
    assert "extra.images" not in build_trio(config).state_dict()
    assert build_trio(config, trained=True).state_dict()["extra.images"].dtype == torch.uint8
