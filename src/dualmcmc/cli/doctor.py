"""`dualmcmc doctor [RUN]`: is this machine, and is this run, in order?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import TrainingError

if TYPE_CHECKING:
    from dualmcmc.doctor import Finding


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Looks at versions, devices, threads and disk, draws from a known density, and examines a run if given one.

    Exit code 1 if anything will fail.
    """

    run: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="RUN")] = None
    """A run or model folder to examine."""
    device: str | None = None
    """Where to test the chain: cpu, cuda, cuda:N or mps; default: the best there is."""
    json: Json = None
    """Write the findings as JSON to this file; - is standard output."""


def doctor(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Doctor, args, "doctor")
    check_json(options.json)
    from dualmcmc.devices import best_device, check_device
    from dualmcmc.doctor import examine_machine, examine_run, self_test

    check_device(options.device)
    found = []

    def tell(finding: Finding) -> None:
        found.append(finding)
        show(f"{finding.state:<4}  {finding.name}: {finding.seen}", options.json)
        if finding.remedy:
            show(f"      do: {finding.remedy}", options.json)

    of_run = examine_run(options.run) if options.run is not None else iter(())
    first = next(of_run, None)  # what is no run is refused before anything is shown
    for finding in examine_machine():
        tell(finding)
    tell(self_test(options.device or best_device()))
    if first is not None:
        for finding in (first, *of_run):
            tell(finding)
    write_json(options.json, [finding._asdict() for finding in found])
    if wrong := [finding.name for finding in found if finding.state == "bad"]:
        raise TrainingError(f"{len(wrong)} of {len(found)} are bad: {', '.join(wrong)}")
