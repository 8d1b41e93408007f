"""`dualmcmc completion SHELL`: what a shell needs to complete verbs, names and flags on the tab key.

The script that it prints asks `dualmcmc completion words WORD ...` at each tab, so that it never lags behind the
program: the last word is the one being typed, the answer one candidate a line. Flags come from the verb's help.
Where there is no candidate, the shell completes file names.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import tyro

from dualmcmc.cli.arguments import parse
from dualmcmc.errors import InputError

SCRIPTS = {
    "bash": """\
_dualmcmc() {
    local IFS=$'\\n'
    COMPREPLY=($(dualmcmc completion words "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _dualmcmc dualmcmc""",
    "zsh": """\
#compdef dualmcmc
_dualmcmc() {
    local -a found
    found=(${(f)"$(dualmcmc completion words "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( $#found )); then compadd -a found; else _files; fi
}
if [[ $funcstack[1] == _dualmcmc ]]; then _dualmcmc "$@"; else compdef _dualmcmc dualmcmc; fi""",
    "fish": """\
complete -c dualmcmc -n 'test (count (commandline -opc)) -lt 2' -f
complete -c dualmcmc -a '(dualmcmc completion words (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'""",
}

OF_PRESETS = ("train", "compare")
LISTS = ("--methods", "--tasks")
"""Flags of several words."""
OF_MODELS = ("sample", "reconstruct", "inpaint", "interpolate", "score", "evaluate", "app", "push")


@dataclass(frozen=True)
class Completion:
    """Prints a script for the shell. For bash, in ~/.bashrc: source <(dualmcmc completion bash)

    For zsh, in ~/.zshrc after compinit: source <(dualmcmc completion zsh). For fish:
    dualmcmc completion fish > ~/.config/fish/completions/dualmcmc.fish
    """

    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]
    """bash, zsh or fish."""


def completion(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    if args[:1] == ["words"]:
        os.environ["COLUMNS"] = (
            "80"  # help in one column, as `parse_help` reads it; this process does nothing else
        )
        print("\n".join(candidates(args[1:])))
        return
    print(SCRIPTS[parse(Completion, args, "completion").shell])


def candidates(words: list[str]) -> list[str]:
    """What the last of the words after `dualmcmc` may become; none where a file is wanted or nothing is known.

    Bash makes three words of `--flag=value`.
    """
    *before, typed = [word for word in words[:-1] if word != "="] + words[-1:] or [""]
    typed = "" if typed == "=" else typed
    return [word for word in _all(before, typed) if word.startswith(typed)]


def _all(before: list[str], typed: str) -> list[str]:
    from dualmcmc.cli import VERBS

    if not before:
        return [*VERBS]
    verb, *given = before
    if verb not in VERBS:
        return []
    flags = _flags(verb, given) if typed.startswith("-") or given else {}
    if typed.startswith("-"):
        return [*flags]
    if not given:
        return _first(verb)
    flag = next((word for word in reversed(given) if word.startswith("-")), "")
    return _values(flag, flags) if flag == given[-1] or flag in LISTS else []


def _first(verb: str) -> list[str]:
    """Of the word after the verb."""
    if verb in OF_PRESETS:
        from dualmcmc.presets import PRESETS

        return [*PRESETS]
    if verb in OF_MODELS:
        return sorted(entry.parent.name for entry in BUNDLED.glob("*/config.json"))
    if verb == "reproduce":
        from dualmcmc.reproduce.sweeps import SWEEPS

        return [*SWEEPS]
    return [*SCRIPTS] if verb == "completion" else []


BUNDLED = Path(__file__).parent.parent / "bundled"


def _values(flag: str, flags: dict[str, list[str]]) -> list[str]:
    """Of the word after a flag."""
    if flag in ("--method", "--method.name", "--methods"):
        from dualmcmc.methods import METHODS

        return [*METHODS]
    if flag in ("--data", "--reference"):
        from dualmcmc.data import NAMED

        return [*NAMED]
    return flags.get(flag, [])


def _flags(verb: str, given: list[str]) -> dict[str, list[str]]:
    """Each flag of the verb's help, with the words that its value may be where help lists them.

    A method's settings are flags of its own, so `train` is asked with the preset and the method that were given.
    """
    from dualmcmc.cli import VERBS

    context: list[str] = []
    if verb == "train":
        context = [word for word in given[:1] if not word.startswith("-")]
        for flag, name in pairwise(given):
            context += ["--method", name] if flag == "--method" else []
    said = io.StringIO()
    with redirect_stdout(said):
        try:
            getattr(import_module(f"dualmcmc.cli.{VERBS[verb][0]}"), verb)([*context, "--help"])
        except SystemExit:
            pass
        except InputError:  # no such preset or method
            return {}
    return parse_help(said.getvalue())


def parse_help(text: str) -> dict[str, list[str]]:
    """Flags and their choices from tyro's help at 80 columns.

    An entry is a line that starts with a flag; in `{None}|{a,b}` the last braces hold the choices, which may go on
    in the next line.
    """
    lines = [line.strip("│").strip() for line in text.splitlines()]
    found = {}
    for i, line in enumerate(lines):
        if not line.startswith("-"):
            continue
        spec = re.split(r"\s{2,}", line)[0]
        if spec.count("{") > spec.count("}"):
            spec += lines[i + 1]
        lists = [words for words in re.findall(r"\{([\w,.-]+)\}", spec) if words != "None"]
        for flag in re.findall(r"(?<![\w-])(--?[a-z][\w.-]*)", spec):
            found[flag] = lists[-1].split(",") if lists else []
    return found
