"""`dualmcmc push RUN owner/name`: a model onto the Hugging Face hub; with --dry-run, what would be sent."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from dualmcmc.cli.arguments import Json, Run, parse
from dualmcmc.cli.output import check_json, show, table, write_json
from dualmcmc.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Push:
    """Publishes a model: weights, settings, score quantiles, evaluations, card and picture; never a checkpoint.

    Needs a token of the hub that may write: `hf auth login`, or HF_TOKEN. Paths of this machine are cut to their
    last name before anything is sent.
    """

    run: Run
    """A run folder, a model folder or a bundled model."""
    to: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OWNER/NAME")]
    """The repository; made if there is none."""
    license: str | None = None
    """Of the weights, as the hub names it: apache-2.0, mit, cc-by-4.0; default: what the model's card says."""
    public: bool = False
    """Make a new repository one that everybody sees; default: private. One that is there stays as it is."""
    dry_run: bool = False
    """List what would be sent, and stop: no network, no token."""
    message: str = "Upload model"
    """Of the commit."""
    json: Json = None
    """Write what was (or would be) sent as JSON to this file; - is standard output."""


def push(args: list[str]) -> None:
    """Runs the verb on its arguments."""
    options = parse(Push, args, "push")
    check_json(options.json)
    check_name(options.to)
    with tempfile.TemporaryDirectory(prefix="dualmcmc-") as temporary:
        folder = Path(temporary) / "model"
        license = _write(options, folder)
        files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        told: dict[str, Any] = {"to": options.to, "new_repository_is": "public" if options.public else "private"}
        told |= {"license": license, "files": files, "bytes": sum(files.values())}
        if options.dry_run:
            from dualmcmc.storage.card import CARD, front_matter

            sent, head = f"would be sent to {options.to}", (folder / CARD).read_text(encoding="utf-8")
            told |= {"sent": False, "front_matter": front_matter(folder)}
            lines = [head.split("---\n")[1].rstrip()]
        else:
            told |= {"sent": True, "url": _send(options, folder, list(files))}
            sent, lines = f"sent to {told['url']}", []
    rows = table([[name, f"{size:>12,} bytes"] for name, size in files.items()])
    stated = f"licence {license}" if license else "no licence stated: --license NAME states one"
    total = (
        f"{len(files)} files, {sum(files.values()):,} bytes, {sent} ({told['new_repository_is']} if new); {stated}"
    )
    write_json(options.json, told)
    show("\n".join([*lines, rows, total]), options.json)


def check_name(name: str) -> None:
    """Refuses what no repository can be called, before anything is read.

    Raises:
        InputError: saying what a name looks like.
    """
    parts = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, flags=re.ASCII)
    well = parts and len(name) <= 96 and not re.search(r"--|\.\.|\.git$|[.-](/|$)", name)
    if not well:
        raise InputError(
            f"{name[:100]!r} cannot be a repository: give OWNER/NAME, letters, digits, '-', '_' and '.'"
        )


def _write(options: Push, folder: Path) -> str | None:
    """The model folder as it is to be sent; returns its licence."""
    from dualmcmc.devices import best_device
    from dualmcmc.model import Model
    from dualmcmc.sharing import export, keep_card
    from dualmcmc.storage.bundled import NAMES
    from dualmcmc.storage.card import About, check_license, license_of
    from dualmcmc.storage.finding import find

    check_license(options.license)
    if options.run not in NAMES and not Path(options.run).is_dir():
        raise InputError(f"no model at {options.run}: push sends a run or a model folder of this machine")
    source = find(options.run)
    license = options.license or license_of(source)
    check_license(license)
    if not options.dry_run:
        check_token()
    model = Model.from_pretrained(options.run, device=best_device())  # where the picture is drawn
    about = About(license=license, evaluations=model.evaluations(), place=options.to)
    export(model, folder, about)
    if source.resolve() == model.source:  # a model folder, not that of a run
        keep_card(source, folder, about)
    return license


def _send(options: Push, folder: Path, files: list[str]) -> str:
    """Makes the repository if it is not there, and one commit in it; returns its address.

    Raises:
        InputError: a token that may not write there, or no network. The token is in no message.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from dualmcmc.storage.pretrained import FILES

    api = HfApi(library_name="dualmcmc")
    try:
        repository = api.create_repo(options.to, private=not options.public, exist_ok=True)
        api.upload_folder(
            repo_id=options.to,
            folder_path=folder,
            allow_patterns=files,
            delete_patterns=sorted(FILES),  # what a model pushed before had and this one has not
            commit_message=options.message,
        )
    except HfHubHTTPError as error:
        code = getattr(error.response, "status_code", None)
        if code in (401, 403, 404):
            raise InputError(
                f"the hub refuses {options.to} (HTTP {code}): is OWNER yours, and may the token write there?"
            ) from None
        raise InputError(f"the hub did not take {options.to} (HTTP {code}): try again later") from None
    except Exception as error:
        if not is_of_the_network(error):
            raise
        why = type(error).__name__
        raise InputError(
            f"the hub is out of reach ({why}): push where there is a network, without HF_HUB_OFFLINE"
        ) from None
    return str(repository)


def check_token() -> None:
    """Refuses to begin without a token.

    Raises:
        InputError: saying how to give one.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise InputError("push needs a token of the hub that may write: `hf auth login`, or set HF_TOKEN")


def is_of_the_network(error: Exception) -> bool:
    """Whether it says that the hub was not reached; what its library raises then differs by version."""
    module = type(error).__module__.partition(".")[0]
    return isinstance(error, ConnectionError | TimeoutError) or module in ("httpx", "httpx2", "requests")
