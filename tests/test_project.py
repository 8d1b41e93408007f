"""What stands around the code cannot drift from it: version, Pythons, make targets, issue forms, the citation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import dualmcmc

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"


def _text(place: str) -> str:
    return (ROOT / place).read_text(encoding="utf-8")


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_version_is_one() -> None:
    assert re.findall(r'(?m)^version = "(.+)"$', _text("pyproject.toml")) == [dualmcmc.__version__]
    assert _yaml(ROOT / "CITATION.cff")["version"] == dualmcmc.__version__


def test_the_citation_names_the_paper() -> None:
    (paper,) = _yaml(ROOT / "CITATION.cff")["references"]
    assert paper["title"] == "Learning Energy-based Model via Dual-MCMC Teaching"
    assert [author["family-names"] for author in paper["authors"]] == ["Cui", "Han"]


def test_workflows_and_the_release_checklist_call_make_targets_that_there_are() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", _text("Makefile")))
    workflows = sorted((GITHUB / "workflows").glob("*.yml"))
    assert [path.name for path in workflows] == ["ci.yml", "docs.yml", "release.yml"]
    called = re.findall(r"`make ([a-z-]+)`", _text("docs/releasing.md"))
    for path in workflows:
        for job in _yaml(path)["jobs"].values():
            runs = [step["run"] for step in job["steps"] if "run" in step]
            called += [words[1] for words in map(str.split, runs) if words[0] == "make"]
    assert {"check", "test", "pins", "package-check", "docs", "release-check"} <= set(called)
    assert set(called) <= targets


def test_what_we_claim_to_support_is_what_ci_and_the_pins_try() -> None:
    claimed = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', _text("pyproject.toml"))
    matrix = _yaml(GITHUB / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]
    assert matrix == {"os": ["ubuntu-latest", "macos-latest", "windows-latest"], "python": claimed}
    pythons = re.findall(r"^PYTHONS = \((.*)\)$", _text("release/pins.py"), flags=re.M)
    assert pythons == [", ".join(f'"{python}"' for python in claimed)]
    assert f'requires-python = ">={claimed[0]}"' in _text("pyproject.toml")


@pytest.mark.parametrize("name", ["bug", "figure", "wish"])
def test_issue_forms_are_forms(name: str) -> None:
    form = _yaml(GITHUB / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert set(form) == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    assert {part["type"] for part in form["body"]} <= {"input", "textarea"}
    assert all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_what_is_asked_for_by_name_has_a_pin() -> None:
    """Whatever pyproject.toml asks for by name, constraints.txt holds a version of."""
    wanted = re.findall(r'(?m)"([A-Za-z_-]+)>=[\d.]+"', _text("pyproject.toml"))
    pinned = {
        re.sub("[-_.]+", "-", name).lower() for name in re.findall(r"(?m)^([\w.-]+)==", _text("constraints.txt"))
    }
    assert len(wanted) > 25
    assert {name.lower().replace("_", "-") for name in wanted} <= pinned
