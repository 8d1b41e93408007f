"""The app in a process of its own; a real browser, where there is one: Chromium by ChromeDriver's protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest


class Browser:
    """One window of Chromium."""

    FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")

    def __init__(self, address: str, chromium: str) -> None:
        self.address = address
        logs = {"browser": "ALL", "performance": "ALL"}
        options = {"binary": chromium, "args": [*self.FLAGS, "--disable-component-update", "--disable-sync"]}
        wanted = {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs}}
        self.session = "/session/" + self.call("/session", capabilities=wanted)["sessionId"]

    def call(self, path: str, method: str = "POST", **body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        data = json.dumps(body).encode() if method == "POST" else None
        with urlopen(Request(self.address + path, data, headers, method=method), timeout=60) as answer:
            return json.load(answer)["value"]

    def go(self, url: str) -> None:
        self.call(f"{self.session}/url", url=url)

    def run(self, script: str, *args: Any) -> Any:
        return self.call(f"{self.session}/execute/sync", script=script, args=list(args))

    def until(self, script: str, seconds: float = 20) -> Any:
        """What the script returns, once that is true."""
        end = time.monotonic() + seconds
        while not (found := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.05)
        return found

    def element(self, selector: str) -> str:
        """The path of the first element that a CSS selector finds."""
        found = self.call(f"{self.session}/element", using="css selector", value=selector)
        return f"{self.session}/element/{next(iter(found.values()))}"

    def click(self, selector: str) -> None:
        """A real click, at the element's middle."""
        self.call(f"{self.element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self.call(f"{self.element(selector)}/value", text=text)

    def drag(self, points: list[tuple[int, int]]) -> None:
        """The mouse pressed at the first point of the window, moved through all, and let go."""
        (x, y), *rest = points
        moves = [{"type": "pointerMove", "duration": 30, "x": a, "y": b} for a, b in rest]
        start = [{"type": "pointerMove", "duration": 0, "x": x, "y": y}, {"type": "pointerDown", "button": 0}]
        actions = [*start, *moves, {"type": "pointerUp", "button": 0}]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self.call(f"{self.session}/actions", actions=[mouse])

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        how = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.command("Emulation.setDeviceMetricsOverride", **how)

    def screenshot(self, path: Path) -> None:
        """The whole page, however long."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def command(self, name: str, **parameters: Any) -> Any:
        return self.call(f"{self.session}/goog/cdp/execute", cmd=name, params=parameters)

    def log(self, kind: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.call(f"{self.session}/se/log", type=kind)
        return entries

    def requests(self) -> list[str]:
        """What has been asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@contextmanager
def opened(count: int = 1) -> Iterator[list[Browser]]:
    """So many browsers; the test is skipped where there is none."""
    driver = shutil.which("chromedriver")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not driver or not chromium:
        pytest.skip("needs chromium and chromedriver")
    with subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as it:
        browsers: list[Browser] = []
        try:
            assert it.stdout
            started = next(filter(None, (re.search(r"successfully on port (\d+)", line) for line in it.stdout)))
            for _ in range(count):
                browsers.append(Browser(f"http://127.0.0.1:{started[1]}", chromium))
            yield browsers
        finally:
            for one in browsers:
                one.call(one.session, "DELETE")
            it.terminate()


@contextmanager
def serving(runs: Sequence[Path], log: Path) -> Iterator[str]:
    """The address of `dualmcmc app RUN ...`, served by a process that writes all it says to `log`."""
    command = [sys.executable, "-m", "dualmcmc", "app", *map(str, runs), "--device", "cpu"]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as it:
        try:
            end = time.monotonic() + 120
            while not (found := re.search(r"page is at (\S+)", log.read_text())):
                assert it.poll() is None, log.read_text()
                assert time.monotonic() < end, "the app did not start"
                time.sleep(0.1)
            yield found[1]
        finally:
            it.terminate()
