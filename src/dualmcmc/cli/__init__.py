"""The command line: parse, call, exit code. Each verb is a file; `--help` loads none of them.

Exit codes: 0 done; 1 the work failed; 2 bad input, one line, nothing harmed; 130 stopped by the user.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from dualmcmc import __version__

VERBS = {
    "train": (
        "train",
        "train a preset's networks: train PRESET [--method NAME] [--data REF] [--out RUN] [--field.path value]",
    ),
    "sample": ("sample", "draw images from the generator and after the data chain: sample RUN [-n N]"),
    "reconstruct": ("reconstruct", "explain images and measure it: reconstruct RUN --data REF"),
    "inpaint": ("inpaint", "find hidden pixels: inpaint RUN --data REF --mask SPEC"),
    "interpolate": ("interpolate", "paths between prior draws and between images: interpolate RUN"),
    "score": ("score", "how usual images are: score RUN --data REF [--out scores.csv] [--heatmap FOLDER]"),
    "evaluate": ("evaluate", "what the paper measures: evaluate RUN [--tasks ...] [--data REF]"),
    "compare": ("compare", "methods under one budget, in one table: compare PRESET --methods ... [--budget 10m]"),
    "app": ("app", "a local page in the browser: draw, inpaint, reconstruct, score: app [RUN ...]"),
    "report": ("report", "one self-contained HTML file: report RUN ... [--out FILE]"),
    "reproduce": ("reproduce", "the paper's tables and figures, its numbers beside ours: reproduce TABLE"),
    "push": ("push", "a model onto the Hugging Face hub: push RUN OWNER/NAME [--license NAME] [--dry-run]"),
    "convert": ("convert", "a checkpoint of the released code as a model folder: convert FILE.pth --preset NAME"),
    "doctor": ("doctor", "is this machine, and is this run, in order: doctor [RUN]"),
    "presets": ("listings", "the presets there are"),
    "methods": ("listings", "the ways of teaching there are"),
    "datasets": ("listings", "the data sets there are, and the cache"),
    "completion": ("completion", "a script for the tab key: completion bash, zsh or fish"),
}

SHARED = {"train", "evaluate", "reproduce"}
"""Verbs whose work several processes share; of any other each process would do all of it, to the same files."""


def _usage() -> str:
    lines = [f"  {verb:<12} {line}" for verb, (_, line) in VERBS.items()]
    return "\n".join(
        [
            f"dualmcmc {__version__}: energy-based models of images by dual-MCMC teaching",
            "",
            "usage: dualmcmc VERB [arguments]; dualmcmc VERB --help explains the verb with its defaults",
            "",
            *lines,
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0 if args else 2
    if args[0] == "--version":
        print(f"dualmcmc {__version__}")
        return 0
    if args[0] not in VERBS:
        return _complain(f"unknown verb {args[0]!r}: choose one of {', '.join(VERBS)}", 2)
    return _run(args[0], args[1:])


def _run(verb: str, args: list[str]) -> int:
    from dualmcmc.errors import InputError, TrainingError

    if verb not in SHARED and os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1"):
        return _complain(f"{verb} runs on one process: start it without torchrun", 2)
    module = import_module(f"dualmcmc.cli.{VERBS[verb][0]}")
    try:
        getattr(module, verb)(args)
    except InputError as error:
        return _complain(str(error), 2)
    except TrainingError as error:
        return _complain(str(error), 1)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no file system has it, whoever asks
            return _complain(f"{str(error.filename)[:60]} is longer than a file's name can be: check the path", 2)
        return _complain(f"{verb} failed: {error}", 1)
    except KeyboardInterrupt as error:
        return _complain(str(error) or "stopped", 130)
    return 0


def _complain(line: str, code: int) -> int:
    print("dualmcmc: " + " ".join(line.split()), file=sys.stderr)
    return code
