"""The server of the page: an address of this machine, a port that is free, and nothing from or to anywhere else.

The policy that every answer carries lets a browser load from and send to this server only, whatever gradio asks.
Uploads lie in a folder of this process, for about a minute each, and are gone with it.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualmcmc.app.uploads import BYTES, COUNT
from dualmcmc.errors import InputError

if TYPE_CHECKING:
    from fastapi import Request

    from dualmcmc.model import Model

FIRST, TRIED = 7860, 100
"""Ports that are tried where none is asked for."""
LOCAL = ("localhost", "127.0.0.1", "::1")
TOGETHER = 1 << 30
"""Bytes of all uploads that lie in the server's folder at one time."""
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at host and port; None: at the first free one from `FIRST`.

    Raises:
        InputError: the port is taken or not allowed, or the host is no address of this machine.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host {host} is no address: give 127.0.0.1, or one of this machine") from None
    for tried in range(FIRST, FIRST + TRIED) if port is None else (port,):
        door = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would let two servers share the port
                door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((address[0], tried, *address[2:]))
            door.listen(128)
        except OSError as error:
            door.close()
            taken = (errno.EADDRINUSE, *([errno.EACCES] if port is None else []))  # ports that Windows reserves
            if error.errno not in taken:
                reason = error.strerror or error
                raise InputError(
                    f"{host} port {tried} cannot be used ({reason}): try another --host or --port"
                ) from None
        else:
            return door
    if port is not None:
        raise InputError(f"--port {port} is taken: give another, or leave it out for a free one")
    raise InputError(f"all ports from {FIRST} to {FIRST + TRIED - 1} are taken: name a free one with --port")


def serve(models: Sequence[tuple[str, Model]], door: socket.socket, *, open_browser: bool = False) -> None:
    """Shows the page of these models until Ctrl-C."""
    with tempfile.TemporaryDirectory(prefix="dualmcmc-app-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        _serve(models, door, open_browser)


def _serve(models: Sequence[tuple[str, Model]], door: socket.socket, open_browser: bool) -> None:
    import uvicorn

    host, port = door.getsockname()[:2]
    app = application(models, host, port)
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # no browser goes to a wildcard
    place = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            print(f"dualmcmc: the page is at {place} (Ctrl-C ends it)", flush=True)
            if open_browser:
                import webbrowser

                # A text browser runs until it is left, and this thread is to serve it its page.
                threading.Thread(target=webbrowser.open, args=(place,), daemon=True).start()

    how = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, ws="none")
    Server(how).run(sockets=[door])


def refusal(request: Request, host: str) -> tuple[int, str] | None:
    """Why a request is not answered: an HTTP status and a sentence; None: it is.

    A page elsewhere may have its name lead here (DNS rebinding), so a server of this machine alone answers to this
    machine's names alone. An upload says how large it is, and is no more than one visitor may have; all uploads
    that lie here together have a bound, too.
    """
    if ip_address(host).is_loopback and request.url.hostname not in (*LOCAL, host):
        return 400, "This page answers to its own address only."
    if request.method != "POST" or not request.url.path.endswith("/upload"):
        return None
    length = request.headers.get("content-length", "")
    if "transfer-encoding" in request.headers or not length.isdecimal():  # of both, the server believes the former
        return 411, "An upload must say how large it is."
    folder = os.environ.get("GRADIO_TEMP_DIR")
    if int(length) > COUNT * BYTES or (_lying(Path(folder)) if folder else 0) + int(length) > TOGETHER:
        return 413, "That is too much at once: send fewer or smaller pictures, or wait a minute."
    return None


def _lying(folder: Path) -> int:
    """Bytes of all files in a folder, of which gradio removes some at any time."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def application(models: Sequence[tuple[str, Model]], host: str, port: int) -> Any:
    """The page as an ASGI application, its answers under `POLICY`."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gradio and what it imports, about their own future
        import fastapi
        import gradio as gr

        from dualmcmc.app.page import build, looks

        app = fastapi.FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

        @app.middleware("http")
        async def guarded(request: fastapi.Request, answer: Any) -> Any:
            if refused := refusal(request, host):
                return fastapi.responses.PlainTextResponse(refused[1], refused[0])
            response = await answer(request)
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["Referrer-Policy"] = "no-referrer"
            return response

        return gr.mount_gradio_app(
            app,
            build(models),
            path="/",
            server_name=host,
            server_port=port,
            footer_links=[],
            run_history=False,
            show_error=True,
            max_file_size=BYTES,
            ssr_mode=False,
            enable_monitoring=False,
            pwa=False,
            **looks(),
        )
