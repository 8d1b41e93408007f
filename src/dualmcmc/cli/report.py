"""`dualmcmc report RUN ...`: runs as one self-contained HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from dualmcmc.cli.arguments import Json, parse
from dualmcmc.cli.output import check_json, show, write_json
from dualmcmc.errors import InputError


@dataclass(frozen=True)
class Report:
    """Writes one HTML file on one or several runs: pictures, curves, figures with their protocols, settings.

    It needs no network, no weights and no GPU, and may be asked for while the run is still training.
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN ...")] = ()
    """Run folders; several are shown side by side."""
    out: Path | None = None
    """A .html file; default: RUN/report.html, for several runs report.html here. Only a report is replaced."""
    json: Json = None
    """Write what was written as JSON to this file; - is standard output."""


def report(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Report, args, "report")
    check_json(options.json)
    from dualmcmc.report.reading import read

    runs = read(options.runs)
    out = _place(options)
    from datetime import datetime, timezone

    from dualmcmc.report.page import render
    from dualmcmc.storage.files import write_text

    page = render(runs, datetime.now(timezone.utc).date())
    write_text(out, page.html)
    size = len(page.html.encode())
    about = {"report": str(out), "bytes": size, "pictures": page.pictures, "notes": page.notes}
    write_json(options.json, {**about, "runs": [str(run.path) for run in runs]})
    counted = f"{len(runs)} run{'s' if len(runs) > 1 else ''}, {page.pictures} pictures, {size / 1e6:.2f} MB"
    show("\n".join([*page.notes, f"{out}: {counted}"]), options.json)


def _place(options: Report) -> Path:
    """Where the report goes.

    Raises:
        InputError: no such place, or another file than a report is there.
    """
    out = options.out or (Path(options.runs[0]) if len(options.runs) == 1 else Path()) / "report.html"
    if out.suffix.lower() not in (".html", ".htm") or not out.absolute().parent.is_dir():
        raise InputError(f"--out {out}: give a file ending in .html in a folder that exists")
    if out.exists() and not _is_report(out):
        raise InputError(f"{out} exists and is no report of dualmcmc: name another file with --out")
    return out


def _is_report(path: Path) -> bool:
    from dualmcmc.report.page import MARK

    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()
