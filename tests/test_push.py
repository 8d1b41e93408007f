"""`push`: the files it lists go to the place it names, and what cannot be sent is said in a line."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from tiny import listing

from dualmcmc import Model
from dualmcmc.cli import main

TOKEN = "hf_ThisIsNoTokenOfAnybody"  # made up
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No token of the machine's user, no file written but in the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))


def refused(arguments: list[str], capsys: Capture) -> str:
    before = listing(Path.cwd())
    assert main(["push", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("dualmcmc: ")]
    assert TOKEN not in captured.err
    assert listing(Path.cwd()) == before
    return line


@pytest.fixture
def network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def connect(*_: Any) -> None:
        raise AssertionError("a dry run asked for the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.mark.usefixtures("network_is_an_error")
def test_a_dry_run_lists_what_would_be_sent_and_touches_no_network(trained: Path, capsys: Capture) -> None:
    before = listing(trained)
    assert main(["push", str(trained), "me/digits", "--dry-run", "--license", "mit"]) == 0
    out = capsys.readouterr().out
    assert main(["push", str(trained), "me/digits", "--dry-run", "--license", "mit", "--json", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    Model.from_pretrained(trained).save_pretrained("here", license="mit")
    assert set(told["files"]) == {path.name for path in Path("here").iterdir()}
    assert told["files"]["model.safetensors"] == Path("here/model.safetensors").stat().st_size
    assert told["bytes"] == sum(told["files"].values())
    assert (told["to"], told["sent"], told["license"]) == ("me/digits", False, "mit")
    assert told["front_matter"]["license"] == "mit"
    assert told["new_repository_is"] == "private"
    for name, size in told["files"].items():
        assert any(line.split()[:2] == [name, f"{size:,}"] for line in out.splitlines())
    assert "license: mit" in out
    assert "would be sent to me/digits" in out
    assert listing(trained) == before


@pytest.mark.usefixtures("network_is_an_error")
def test_a_models_own_licence_goes_with_it(trained: Path, capsys: Capture) -> None:
    Model.from_pretrained(trained).save_pretrained("m", license="cc-by-4.0")
    for more, license in (([], "cc-by-4.0"), (["--license", "mit"], "mit")):
        assert main(["push", "m", "me/digits", "--dry-run", "--json", "-", *more]) == 0
        assert json.loads(capsys.readouterr().out)["license"] == license
    assert main(["push", str(trained), "me/digits", "--dry-run"]) == 0
    assert "no licence stated: --license NAME states one" in capsys.readouterr().out


def test_a_card_that_was_edited_is_sent_as_it_is(trained: Path, hub: type[Hub], capsys: Capture) -> None:
    """Of a model folder; its licence is stated anew where one is given, and the rest is its owner's."""
    Model.from_pretrained(trained).save_pretrained("m", license="mit")
    path = Path("m/README.md")
    path.write_text(path.read_text().replace("## Licence", "My cat is in it.\n\n## Licence"))
    for flags, license in (([], "mit"), (["--license", "other"], "other")):
        assert main(["push", "m", "me/digits", *flags]) == 0
        commit = next(asked for place, asked in reversed(hub.calls) if place.endswith("/commit/main"))
        (text,) = (
            base64.b64decode(line["value"]["content"]).decode()
            for line in commit
            if line["key"] == "file" and line["value"]["path"] == "README.md"
        )
        assert "My cat is in it." in text
        assert 'from_pretrained("me/digits")' in text
        assert huggingface_hub.ModelCard(text).data.license == license
        assert f"\n{license}, of the weights." in text
    capsys.readouterr()


@pytest.mark.parametrize(
    "name",
    ["digits", "me/", "/digits", "a/b/c", "me/digits ", "me/dig its", "../x", "me/-x", "me/a--b", "me/x.git"],
)
def test_a_name_that_no_repository_can_have_is_refused_first(name: str, capsys: Capture) -> None:
    assert "cannot be a repository: give OWNER/NAME" in refused(["nowhere", name], capsys)


def test_what_is_no_model_here_is_refused(trained: Path, capsys: Capture) -> None:
    assert "push sends a run or a model folder of this machine" in refused(["some/model", "me/x"], capsys)
    assert "give the hub's identifier" in refused([str(trained), "me/x", "--license", "My Own"], capsys)


def test_without_a_token_the_line_says_how_to_get_one(trained: Path, capsys: Capture) -> None:
    assert "hf auth login" in refused([str(trained), "me/digits"], capsys)


def test_without_a_network_the_line_says_so(
    trained: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the hub is out of reach (OfflineModeIsEnabled)" in refused([str(trained), "me/digits"], capsys)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # the port of "discard", where nobody is
    huggingface_hub.utils.close_session()
    assert "the hub is out of reach (" in refused([str(trained), "me/digits"], capsys)
    huggingface_hub.utils.close_session()


class Hub(BaseHTTPRequestHandler):
    """The hub's endpoints for making a repository and one commit of small files, as huggingface_hub calls them."""

    refuse: int = 0
    there: tuple[str, ...] = ()
    """Files of a model that was pushed before."""
    calls: list[tuple[str, Any]]
    tokens: set[str | None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.tokens.add(self.headers.get("Authorization"))
        lines = [json.loads(line) for line in body.splitlines()] if self.path.endswith("/commit/main") else None
        asked = lines or json.loads(body or b"null")
        self.calls.append((self.path, asked))
        base = f"http://{self.headers['Host']}"
        if self.refuse:
            return self._answer({"error": "no"}, self.refuse)
        if self.path == "/api/repos/create":
            return self._answer({"url": f"{base}/me/digits"})
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in asked["files"]
            ]
            return self._answer({"files": files})
        if self.path.endswith("/commit/main"):
            return self._answer({"commitUrl": f"{base}/me/digits/commit/abc", "commitOid": "abc", "success": True})
        return self._answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        self.calls.append((self.path, None))
        if "/tree/" in self.path:
            found: Any = [{"type": "file", "oid": "0", "size": 1, "path": name} for name in self.there]
        else:
            found = {"siblings": [], "id": "me/digits", "sha": "abc"}
        self._answer(found)

    def _answer(self, value: Any, code: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    handler = type("Handler", (Hub,), {"calls": [], "tokens": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    huggingface_hub.utils.close_session()
    yield handler
    huggingface_hub.utils.close_session()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("public", [False, True])
def test_what_is_sent_is_what_the_dry_run_lists(
    public: bool, trained: Path, hub: type[Hub], capsys: Capture
) -> None:
    """To a server that speaks the hub's own endpoints, by the hub's own client."""
    flags = ["--license", "mit", *(["--public"] if public else [])]
    assert main(["push", str(trained), "me/digits", "--dry-run", "--json", "-", *flags]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert hub.calls == []
    assert main(["push", str(trained), "me/digits", "--json", "-", *flags]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["sent"], told["files"], told["license"]) == (True, listed["files"], "mit")
    assert told["url"].endswith("/me/digits")
    calls = dict(hub.calls)
    made = calls["/api/repos/create"]
    assert (made["organization"], made["name"]) == ("me", "digits")
    private = made["private"] if "private" in made else made["visibility"] == "private"  # by the client's version
    assert private is not public
    sent = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in calls["/api/models/me/digits/commit/main"]
        if line["key"] == "file"
    }
    assert {name: len(content) for name, content in sent.items()} == listed["files"]
    Path("got").mkdir()
    for name, content in sent.items():
        (Path("got") / name).write_bytes(content)
    assert torch.equal(Model.from_pretrained("got").sample(2), Model.from_pretrained(trained).sample(2))
    assert hub.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in captured.out + captured.err


def test_what_a_model_pushed_before_had_and_this_one_has_not_is_deleted(trained: Path, hub: type[Hub]) -> None:
    """Its manifest would not list it, and the model be refused by whoever loads it; other files stay."""
    model = Model.from_pretrained(trained)
    model.training_scores = None
    model.save_pretrained("plain")
    hub.there = ("scores.json", "model.safetensors", "notes.txt")
    assert main(["push", "plain", "me/digits"]) == 0
    lines = dict(hub.calls)["/api/models/me/digits/commit/main"]
    assert [line["value"]["path"] for line in lines if line["key"] == "deletedFile"] == ["scores.json"]


@pytest.mark.parametrize(
    ("code", "said"), [(401, "may the token write"), (403, "may the token write"), (400, "HTTP 400")]
)
def test_what_the_hub_refuses_is_said_in_a_line_without_the_token(
    code: int, said: str, trained: Path, hub: type[Hub], capsys: Capture
) -> None:
    hub.refuse = code
    assert said in refused([str(trained), "me/digits"], capsys)


def test_licence_and_token_are_checked_before_the_model_is_read(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    Model.from_pretrained(trained).save_pretrained("mine", license="mit", picture=False)
    card = Path("mine/README.md")

    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("the model was read first")

    monkeypatch.setattr(Model, "from_pretrained", read)
    assert "push needs a token" in refused(["mine", "me/digits"], capsys)
    card.write_text(card.read_text(encoding="utf-8").replace("license: mit", "license: [mit]"), encoding="utf-8")
    assert "give the hub's identifier" in refused(["mine", "me/digits", "--dry-run"], capsys)
