"""The tab key: bash itself is asked what it would offer, and what is offered is what the program takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dualmcmc import cli
from dualmcmc.cli import completion
from dualmcmc.cli.train import _options as train_options
from dualmcmc.data import NAMED
from dualmcmc.methods import METHODS
from dualmcmc.presets import PRESETS


@pytest.fixture(autouse=True)
def _one_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_verbs_presets_methods_and_sets_are_offered() -> None:
    assert completion.candidates([""]) == [*cli.VERBS]
    assert completion.candidates(["re"]) == ["reconstruct", "report", "reproduce"]
    assert completion.candidates(["train", ""]) == [*PRESETS]
    assert completion.candidates(["train", "digits", "--method", ""]) == [*METHODS]
    assert completion.candidates(["compare", "digits", "--methods", "vae", "w"]) == ["wae"]
    assert completion.candidates(["score", "runs/a", "--data", ""]) == [*NAMED]
    assert completion.candidates(["reproduce", "figure"]) == ["figure2", "figure3", "figure4", "figure5"]
    assert completion.candidates(["completion", ""]) == ["bash", "zsh", "fish"]


def test_the_models_that_are_bundled_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders with a config.json; anything else that is typed is a path, which the shell completes."""
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "__pycache__").mkdir()
    monkeypatch.setattr(completion, "BUNDLED", tmp_path)
    assert completion.candidates(["sample", ""]) == ["digits"]
    assert completion.candidates(["sample", "runs/"]) == []


def test_a_flags_choices_are_offered_also_where_help_breaks_the_line() -> None:
    assert completion.candidates(["sample", "runs/a", "--weights", ""]) == ["ema", "live"]
    tasks = ["generation", "reconstruction", "revision", "interpolation", "ood", "inpainting"]
    assert completion.candidates(["evaluate", "runs/a", "--tasks", ""]) == tasks
    assert completion.candidates(["evaluate", "runs/a", "--tasks", "ood", "in"]) == ["interpolation", "inpainting"]
    assert completion.candidates(["train", "digits", "--images.crop", "=", "sq"]) == ["square"]


@pytest.mark.parametrize(
    "words", [["nothing", ""], ["train", "nothing", "--o"], ["train", "digits", "--method", "x", "-"]]
)
def test_of_what_there_is_not_nothing_is_offered(words: list[str]) -> None:
    """Silence, as a shell expects it: no message in the middle of a line that is being typed."""
    assert completion.candidates(words) == []


@pytest.mark.parametrize("method", ["dual_mcmc", "vae", "persistent"])
def test_each_flag_offered_to_train_is_one_that_it_takes(method: str) -> None:
    """And each of the method's settings is offered: a method has flags of its own."""
    offered = completion.candidates(["train", "digits", "--method", method, "--"])
    for setting in fields(METHODS[method]):
        flag = "--method." + setting.name.replace("_", "-")
        assert any(word == flag or word.startswith(flag + ".") for word in offered), flag
    assert {"--out", "--seed", "--resume", "--no-resume", "--optim.batch-size", "--run.steps"} <= set(offered)
    alone = [word for word in offered if word.startswith("--") and word.replace("--", "").startswith("no-")]
    assert train_options(["digits", "--method", method, *alone]).resume is False


@pytest.mark.parametrize("verb", [*cli.VERBS])
def test_every_verb_tells_its_flags(verb: str) -> None:
    words = ["train", "digits", "--"] if verb == "train" else [verb, "x", "--"]
    offered = completion.candidates(words)
    assert "--help" in offered
    assert len(offered) == len(set(offered))


BASH = """
dualmcmc() {{ "{python}" -m dualmcmc "$@"; }}
source <(dualmcmc completion bash)
complete -p dualmcmc
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_dualmcmc
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("dualmcmc tr", ["train"]),
        ("dualmcmc train digits --method va", ["vaebm", "vae"]),
        ("dualmcmc train digits --method = vae --method.kl", ["--method.kl-weight"]),
        ("dualmcmc score runs/a --batch", ["--batch-size"]),
        ("dualmcmc score ./", [""]),
    ],
)
def test_bash_offers_the_same(words: str, offered: list[str]) -> None:
    script = BASH.format(python=sys.executable, words=words)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    registered, *found = done.stdout.splitlines()
    assert registered == "complete -o default -F _dualmcmc dualmcmc"
    assert found == offered


def test_an_unknown_shell_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "bash" in said
