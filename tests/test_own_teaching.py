"""`Trainer(..., teaching=)`: a page of the user's own is trained, resumed and named as the library's are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import assert_same, checkpoint, log, tiny, train
from torch import Tensor

from dualmcmc import InputError, Model
from dualmcmc.report.reading import read
from dualmcmc.report.words import about
from dualmcmc.teaching import DualMCMCTeaching, Losses
from dualmcmc.training.setup import new_trio


class Again(DualMCMCTeaching):
    """Algorithm 1 under another name."""


class GeneratorAlone(DualMCMCTeaching):
    """The generator's loss of Algorithm 1 and nothing else."""

    def losses(self, x_data: Tensor, *rest: Any) -> Losses:
        found = super().losses(x_data, *rest)
        return Losses(generator=found.generator, seen=found.seen)


def test_a_page_that_is_the_method_s_own_trains_the_same_weights(tmp_path: Path) -> None:
    """Bit for bit; the run's config.json names the page, and its log claims no share of a rate."""
    train(tmp_path / "own", teaching=Again)
    train(tmp_path / "library")
    assert_same(checkpoint(tmp_path / "own", 6), checkpoint(tmp_path / "library", 6))
    assert json.loads((tmp_path / "own" / "config.json").read_text())["teaching"] == "Again"
    assert "teaching" not in json.loads((tmp_path / "library" / "config.json").read_text())
    assert "convolution_share" not in log(tmp_path / "own")[-1]
    assert Model.from_pretrained(tmp_path / "own").sample(2).isfinite().all()


def test_what_a_page_does_not_teach_stays_as_it_was_drawn(tmp_path: Path) -> None:
    train(tmp_path / "run", teaching=GeneratorAlone)
    learned, start = checkpoint(tmp_path / "run", 6), new_trio(tiny())
    for network in ("energy", "generator", "inference"):
        same = [
            torch.equal(learned[f"weights/{network}.{name}"], value.detach())
            for name, value in start.get_submodule(network).named_parameters()
        ]
        assert not all(same) if network == "generator" else all(same), network


def test_a_run_goes_on_by_the_page_that_began_it_and_by_no_other(tmp_path: Path) -> None:
    train(tmp_path / "whole", teaching=Again)
    train(tmp_path / "parts", {"run.steps": 4}, teaching=Again)
    with pytest.raises(InputError, match=r"taught by Again, not its method's own page"):
        train(tmp_path / "parts", resume=True)
    with pytest.raises(InputError, match=r"taught by Again, not GeneratorAlone"):
        train(tmp_path / "parts", resume=True, teaching=GeneratorAlone)
    train(tmp_path / "parts", resume=True, teaching=Again)
    assert_same(checkpoint(tmp_path / "parts", 6), checkpoint(tmp_path / "whole", 6))


def test_a_report_names_the_page_beside_the_method_whose_settings_it_has(tmp_path: Path) -> None:
    train(tmp_path / "run", teaching=Again)
    (run,) = read([str(tmp_path / "run")])
    told = " ".join(about(run, {}))
    assert "Trained by Again, with the settings of Dual-MCMC teaching" in told
