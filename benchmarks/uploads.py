"""What a running app makes of malformed uploads: a message each, no exception in its log, bounded memory.

    python benchmarks/uploads.py RUN               500 uploads, some minutes
    python benchmarks/uploads.py RUN --quick       50: does it run?

The app runs in a process of its own (`dualmcmc app RUN`; without RUN on the bundled models) and is used through
its HTTP interface. Each upload is of a kind below, drawn by the seed: it must be answered by one sentence, or,
where it is a picture after all, be taken. Resident memory is watched (Linux), and the time to the first page and
of drawing 16 pictures is measured. The exit code is 1 if anything failed; each failure is a line.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
from PIL import Image

from dualmcmc.app.uploads import BYTES

GROWTH = 300 << 20
"""Bytes that resident memory may have grown by from a tenth of the uploads to the last."""
PEAK = 2 << 30
"""Bytes that the largest resident memory may lie above that before the first upload."""


class Upload(NamedTuple):
    """A file, and what must become of it: refused, taken, or (None) either."""

    name: str
    content: bytes
    taken: bool | None


def main(words: Sequence[str] | None = None) -> int:
    """Sends the uploads; 1 if anything failed."""
    options = arguments(words)
    count = options.count or (50 if options.quick else 500)
    with tempfile.TemporaryDirectory() as folder, running(options.run, Path(folder) / "log") as server:
        times = drawing(server.address)
        failures, answers, memory = send(server, count, options.seed, Path(folder))
        log = (Path(folder) / "log").read_text(errors="replace")
    failures += [
        f"in the log: {line}" for line in log.splitlines() if re.search("Traceback|Error|Exception", line)
    ]
    failures += judged(memory)
    told = {"uploads": count, "seed": options.seed, "page_seconds": server.seconds, **times, **memory}
    told |= {"answers": dict(answers), "failures": failures}
    for name, value in told.items():
        print(f"{name}: {json.dumps(value, indent=2) if isinstance(value, dict) else value}")
    if options.json:
        options.json.write_text(json.dumps(told, indent=2))
    return 1 if failures else 0


# -- the app ------------------------------------------------------------------------------------------


class Server(NamedTuple):
    """A running app: where it is, its process, and seconds from the command to its first page."""

    address: str
    process: int
    seconds: float


@contextmanager
def running(run: str | None, log: Path) -> Iterator[Server]:
    """`dualmcmc app RUN`, all it says going to `log`."""
    command = [sys.executable, "-m", "dualmcmc", "app", *([run] if run else []), "--device", "cpu"]
    started = time.monotonic()
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as it:
        try:
            while not (found := re.search(r"page is at (\S+)", log.read_text())):
                if it.poll() is not None or time.monotonic() - started > 120:
                    raise RuntimeError(f"the app did not start: {log.read_text()}")
                time.sleep(0.05)
            yield Server(found[1], it.pid, first_page(found[1], started))
        finally:
            it.terminate()


def first_page(address: str, started: float) -> float:
    """Seconds until the page is there, whole."""
    while True:
        try:
            with urlopen(address, timeout=30) as answer:
                answer.read()
            return round(time.monotonic() - started, 2)
        except URLError:
            time.sleep(0.05)


def client(address: str) -> Any:
    """A visitor."""
    from gradio_client import Client

    return Client(address, verbose=False, download_files=False, analytics_enabled=False)


def drawing(address: str) -> dict[str, float]:
    """Seconds of the first and the second drawing of 16 pictures, seen by a visitor."""
    visitor, seconds = client(address), []
    for seed in (1, 2):
        started = time.monotonic()
        visitor.predict(seed, 16, 30, api_name="/draw_m0")
        seconds.append(round(time.monotonic() - started, 3))
    return {"first_16_seconds": seconds[0], "second_16_seconds": seconds[1]}


def send(
    server: Server, count: int, seed: int, folder: Path
) -> tuple[list[str], Counter[str], dict[str, float | None]]:
    """Failures, how often each answer came, resident memory in MiB: before, at a tenth, at the end, largest."""
    dice, visitor = random.Random(seed), client(server.address)
    failures: list[str] = []
    answers: Counter[str] = Counter()
    before, early = resident(server.process), None
    with watched(server.process) as peak:
        for i in range(count):
            if i % 8 == 0:  # a visitor may have 16 pictures
                visitor.reset_session()
            if i == count // 10:
                early = resident(server.process)
            kind = [*KINDS][i % len(KINDS)]
            upload = KINDS[kind](dice)
            answer, failure = one(visitor, upload, folder)
            answers[answer] += 1
            failures += [f"upload {i}, {kind} ({upload.name!r}): {failure}"] if failure else []
        late = resident(server.process)
    memory = {"mib_before": before, "mib_at_a_tenth": early, "mib_at_the_end": late, "mib_largest": max(peak)}
    return failures, answers, memory


def one(visitor: Any, upload: Upload, folder: Path) -> tuple[str, str]:
    """What the app answered, in kind, and what is wrong with that, if anything."""
    from gradio_client import handle_file

    if len(upload.content) > BYTES:  # the client would not send it
        return posted(visitor.src, upload)
    place = folder / upload.name
    place.write_bytes(upload.content)
    try:
        said, *_ = visitor.predict([handle_file(str(place))], api_name="/send_reconstruct_m0")
    except Exception as error:
        return "exception", " ".join(f"{type(error).__name__}: {error}".split())[
            :200
        ]  # whatever it makes of the answer
    finally:
        place.unlink()
    bad, text = "dm-bad" in said, html.unescape(re.sub("<[^>]+>", "", said))
    if not text or "\n" in text or "Traceback" in text or len(text) > 400:
        return "no sentence", f"answered {text[:200]!r}"
    if upload.taken is not None and bad == upload.taken:
        return "wrong answer", f"answered {text[:200]!r}"
    if not bad:
        shown = visitor.predict("8", 2, 0, api_name="/reconstruct_m0")[1]
        return "taken", "" if shown.count("<img") == 4 else "taken, but not reconstructed"
    return re.sub(r"[\d,]+", "N", text.partition(": ")[2])[:70], ""


def posted(address: str, upload: Upload) -> tuple[str, str]:
    """The same of a file with more bytes than are taken: it is refused while it comes in."""
    import httpx

    answer = httpx.post(f"{address}gradio_api/upload", files={"files": (upload.name, upload.content)}, timeout=60)
    if answer.status_code == 413 and "maximum allowed size" in answer.text:
        return "refused on the way", ""
    return "exception", f"code {answer.status_code}: {answer.text[:200]}"


# -- memory -------------------------------------------------------------------------------------------


def resident(process: int) -> float | None:
    """MiB that a process holds in memory; None where there is no /proc."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    return round(int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1024, 1)


@contextmanager
def watched(process: int) -> Iterator[list[float]]:
    """Resident memory in MiB, every 20 ms."""
    seen, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            seen.append(resident(process) or 0.0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()


def judged(memory: dict[str, float | None]) -> list[str]:
    """What is wrong with resident memory."""
    before, early, late, largest = memory.values()
    if before is None or early is None or late is None or largest is None:
        return []
    found = []
    if (late - early) * 2**20 > GROWTH:
        found.append(f"resident memory grew from {early} to {late} MiB")
    if (largest - before) * 2**20 > PEAK:
        found.append(f"resident memory went from {before} up to {largest} MiB")
    return found


# -- the uploads --------------------------------------------------------------------------------------


def picture(dice: random.Random, mode: str = "RGB") -> Image.Image:
    """Random pixels of a random size."""
    side = dice.randint(5, 200), dice.randint(5, 200)
    rng = np.random.default_rng(dice.getrandbits(32))
    return Image.fromarray(rng.integers(0, 256, (*side, 3), dtype=np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def noise(dice: random.Random) -> Upload:
    return Upload(
        f"noise.{dice.choice(['png', 'jpg', 'gif', 'webp'])}", dice.randbytes(dice.randint(1, 5000)), False
    )


def begun(dice: random.Random) -> Upload:
    """Random bytes after a true beginning."""
    heads = {
        "png": b"\x89PNG\r\n\x1a\n",
        "jpg": b"\xff\xd8\xff\xe0",
        "gif": b"GIF89a",
        "bmp": b"BM",
        "tif": b"II*\0",
    }
    kind = dice.choice([*heads])
    return Upload(f"begun.{kind}", heads[kind] + dice.randbytes(dice.randint(0, 3000)), None)


def cut(dice: random.Random) -> Upload:
    kind = dice.choice(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
    whole = encoded(picture(dice), kind)
    return Upload(f"cut.{kind.lower()}", whole[: dice.randint(1, len(whole) * 3 // 4)], False)


def flipped(dice: random.Random) -> Upload:
    """A picture of which some bytes are others."""
    kind = dice.choice(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
    content = bytearray(encoded(picture(dice), kind))
    for _ in range(dice.randint(1, 20)):
        content[dice.randrange(len(content))] = dice.randrange(256)
    return Upload(f"flipped.{kind.lower()}", bytes(content), None)


def bomb(dice: random.Random) -> Upload:
    """A small file that says it is a huge picture; some hold all of it."""
    side = dice.choice([5001, 8000, 12_000, 30_000, 60_000])
    if dice.random() < 0.2:
        return Upload("bomb.png", encoded(Image.new("1", (9000, 9000)), "PNG"), False)
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    return Upload("bomb.png", b"\x89PNG\r\n\x1a\n" + body, False)


def largest(dice: random.Random) -> Upload:
    """A picture of as many pixels as are taken."""
    kind = dice.choice(["JPEG", "PNG"])
    return Upload(f"large.{kind.lower()}", encoded(Image.new("RGB", (5000, 5000), (9, 99, 200)), kind), True)


def heavy(dice: random.Random) -> Upload:
    """More bytes than are taken."""
    return Upload("heavy.bmp", b"BM" + bytes(21 << 20), False)


def empty(dice: random.Random) -> Upload:
    return Upload(f"empty.{dice.choice(['png', 'jpg'])}", b"", False)


def misnamed(dice: random.Random) -> Upload:
    name = dice.choice(
        ["picture.txt", "picture", "picture.jpg.exe", "ü漢字 (1).png", "x" * 180 + ".png", "..png", "-n.png"]
    )
    return Upload(name, encoded(picture(dice), "PNG"), True)


def other(dice: random.Random) -> Upload:
    """No picture at all, under a picture's name."""
    contents = [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<!doctype html><script>alert(1)</script>",
        b"%PDF-1.7\n%%EOF",
        b"PK\x03\x04" + dice.randbytes(300),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"\x93NUMPY" + dice.randbytes(100),
        json.dumps({"image": [0] * 50}).encode(),
    ]
    return Upload("other.png", dice.choice(contents), False)


def animated(dice: random.Random) -> Upload:
    frames = [picture(dice, "L").resize((40, 40)) for _ in range(dice.randint(2, 9))]
    kind = dice.choice(["GIF", "WEBP", "PNG"])
    return Upload(f"moves.{kind.lower()}", encoded(frames[0], kind, save_all=True, append_images=frames[1:]), True)


def deep(dice: random.Random) -> Upload:
    values = np.random.default_rng(dice.getrandbits(32)).integers(0, 65536, (30, 40), dtype=np.uint16)
    kind = dice.choice(["PNG", "TIFF"])
    return Upload(f"deep.{kind.lower()}", encoded(Image.fromarray(values), kind), True)


def cmyk(dice: random.Random) -> Upload:
    kind = dice.choice(["JPEG", "TIFF"])
    return Upload(f"cmyk.{kind.lower()}", encoded(picture(dice, "CMYK"), kind), True)


def palette(dice: random.Random) -> Upload:
    seen_through = {"transparency": dice.choice([0, 3, bytes(range(0, 250, 5))])}
    return Upload("palette.png", encoded(picture(dice, "P"), "PNG", **seen_through), True)


def odd_mode(dice: random.Random) -> Upload:
    mode, kind = dice.choice([("1", "BMP"), ("LA", "PNG"), ("RGBA", "WEBP"), ("YCbCr", "JPEG"), ("LAB", "TIFF")])
    return Upload(f"{mode}.{kind.lower()}", encoded(picture(dice, mode), kind), True)


def floats(dice: random.Random) -> Upload:
    values = np.random.default_rng(dice.getrandbits(32)).normal(size=(9, 9)).astype(np.float32)
    values[0, 0] = dice.choice([1e30, np.nan, np.inf, 0])
    return Upload("float.tiff", encoded(Image.fromarray(values), "TIFF"), False)


def thin(dice: random.Random) -> Upload:
    side = dice.choice([(1, 1), (1, 3000), (20_000, 1), (2, 1)])
    return Upload("thin.png", encoded(Image.new("L", side, 77), "PNG"), True)


def turned(dice: random.Random) -> Upload:
    """With metadata that is broken, or says it lies on its side."""
    exif = dice.choice(
        [
            b"Exif\0\0" + dice.randbytes(60),
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        ]
    )
    return Upload("turned.jpg", encoded(picture(dice), "JPEG", exif=exif), True)


KINDS: dict[str, Callable[[random.Random], Upload]] = {
    "random bytes": noise,
    "random bytes after a true beginning": begun,
    "cut off": cut,
    "bytes changed": flipped,
    "huge by its header": bomb,
    "no picture": other,
    "empty": empty,
    "another name": misnamed,
    "animated": animated,
    "16 bits": deep,
    "CMYK": cmyk,
    "palette with transparency": palette,
    "unusual mode": odd_mode,
    "floats": floats,
    "one pixel wide": thin,
    "broken or turning metadata": turned,
    "as large as is taken": largest,
    "too many bytes": heavy,
}


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a run or model folder; default: the bundled models")
    parser.add_argument("--count", type=int, help="how many uploads, instead of 500")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="50 uploads: does it run?")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
