"""Planted code, names that lead out, and spoilt inputs, in short; `benchmarks/faults.py` tries thousands."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from faulty import fuzzing, plants, probing

from dualmcmc.storage.run_folder import RunFolder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that is tried on, trained once."""
    folder = tmp_path_factory.mktemp("source")
    with probing.place(folder):
        return probing.trained(folder / "source")


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    probing.copy(source, tmp_path / "source")
    return tmp_path


def test_no_planted_code_runs_and_no_name_leads_out(folder: Path) -> None:
    """Every plant once."""
    outcome = plants.run(len(plants.PLANTS), 0, folder)
    assert outcome.failures == []
    assert outcome.tried == len(plants.PLANTS) >= 24


def test_the_canary_sings_where_a_plant_is_unpickled(tmp_path: Path) -> None:
    import pickle

    pickle.loads(pickle.dumps(plants.Planted(tmp_path / "canary")))
    assert (tmp_path / "canary").exists()


def test_spoilt_inputs_are_done_or_refused_in_one_line(folder: Path) -> None:
    outcome = fuzzing.run(100, 0, folder)
    assert outcome.failures == []
    assert outcome.tried >= 100


def test_what_may_not_be_is_seen() -> None:
    """The judge itself."""
    line = "dualmcmc: no\n"
    assert probing.fault(probing.Ended(0, "", "", ""), "sample") == ""
    assert probing.fault(probing.Ended(2, "", line, ""), "sample") == ""
    assert "KeyError" in probing.fault(probing.Ended(None, "", "", "KeyError at x"), "sample")
    assert "exit code 1" in probing.fault(probing.Ended(1, "", line, ""), "sample")
    assert "2 lines" in probing.fault(probing.Ended(2, "", line * 2, ""), "sample")
    assert "changed" in probing.fault(probing.Ended(2, "", line, ""), "sample", {}, {"a": ()})
    assert probing.call(["sample", "nowhere"]).code == 2


def test_a_command_that_hangs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(probing, "main", lambda _: time.sleep(10))
    assert probing.fault(probing.call(["sample"], seconds=0.2), "sample") == "not done after 0.2 s"


def test_equal_seeds_try_equal_things(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[list[str]]] = []
    for _ in range(2):
        seen: list[list[str]] = []
        tried.append(seen)

        def note(self: object, stage: object, name: str, command: list[str], seen: list = seen) -> None:
            seen.append([name, *command])

        monkeypatch.setattr(fuzzing._Trial, "_judge", note)
        fuzzing.run(40, 3, folder)
    assert tried[0] == tried[1]
    assert len(tried[0]) >= 40


def test_a_report_waits_for_no_pipe_and_shows_an_entry_without_protocol(source: Path, tmp_path: Path) -> None:
    """Weights that are a pipe are not counted; the demo's own figures, which state no protocol, are shown."""
    run = Path(shutil.copytree(source, tmp_path / "run"))
    RunFolder(run).add_metrics("demo", {"n": 10, "mse": {"inference": 0.123456}})
    (run / "model" / "model.safetensors").unlink()
    os.mkfifo(run / "model" / "model.safetensors")
    ended = probing.call(["report", str(run), "--out", str(tmp_path / "report.html")])
    assert (ended.code, ended.trouble) == (0, "")
    assert "0.123" in (tmp_path / "report.html").read_text()
