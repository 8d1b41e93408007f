"""Each limit of `limits.py`, met from beyond by a process that may take half a gigabyte beside what it has."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny import tiny

from dualmcmc import limits, npy, reading
from dualmcmc.config import from_dict, to_dict
from dualmcmc.data import load
from dualmcmc.data.hub import contents
from dualmcmc.data.picture import decode
from dualmcmc.errors import InputError
from dualmcmc.settings import Images
from dualmcmc.storage import pretrained, tensors
from dualmcmc.storage.run_folder import RunFolder

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from faulty import manifests, probing

Make = Callable[[Path, Path], list[str]]
"""Makes what is beyond a limit in a folder, beside a copy of a trained run; returns the command that meets it."""
ROOM = 1 << 29


def _png(path: Path, side: int) -> Path:
    """A black square, small as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", (side, side)).save(path)
    return path


def _sparse(path: Path, size: int, begin: bytes = b"") -> Path:
    """A file of that size that takes next to no disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(size)
    return path


def _npy_header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _lying_npz(path: Path, name: str, header: bytes, told: int) -> Path:
    """An .npz whose one member says that it is of `told` bytes unpacked, and is its header alone."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", header)
    content = bytearray(file.getvalue())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + place, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _on(run: Path, data: Path) -> list[str]:
    return ["reconstruct", str(run), "--data", f"{data}:all", "--steps", "0", "--out", "a.png"]


def _dry(*flags: str) -> list[str]:
    return ["train", "digits", "--dry-run", *flags]


def picture(folder: Path, run: Path) -> list[str]:
    _png(folder / "data" / "bomb.png", 8200)
    return _on(run, folder / "data")


def picture_bytes(folder: Path, run: Path) -> list[str]:
    _sparse(folder / "data" / "a.png", limits.PICTURE_BYTES + 1, b"\x89PNG\r\n\x1a\n")
    return _on(run, folder / "data")


def mask(folder: Path, run: Path) -> list[str]:
    return [
        "inpaint",
        str(run),
        "--data",
        "digits",
        "--mask",
        str(_png(folder / "mask.png", 8200)),
        "--out",
        "out",
    ]


def mask_bytes(folder: Path, run: Path) -> list[str]:
    path = _sparse(folder / "mask.bmp", limits.PICTURE_BYTES + 1, b"BM")
    return ["inpaint", str(run), "--data", "digits", "--mask", str(path), "--out", "out"]


def npy_claim(folder: Path, run: Path) -> list[str]:
    return _on(run, _sparse(folder / "a.npy", 1000, _npy_header((10**9, 64, 64))))


def npy_picture(folder: Path, run: Path) -> list[str]:
    header = _npy_header((1, 8200, 8200))
    return _on(run, _sparse(folder / "a.npy", len(header) + 8200**2, header))


def npz_weights(folder: Path, run: Path) -> list[str]:
    header = _npy_header((990_000_000,), "<f4")
    path = _lying_npz(folder / "w.npz", "conv1.weight", header, len(header) + 990_000_000 * 4)
    words = ["evaluate", str(run), "--tasks", "generation", "-n", "20", "--out", "out", "--feature-weights"]
    return [*words, str(path), "--features", "cifar10_resnet20"]


def npz_other_size(folder: Path, run: Path) -> list[str]:
    return _on(run, _lying_npz(folder / "a.npz", "images", _npy_header((4, 8, 8)), 4_000_000_000))


def npz_members(folder: Path, run: Path) -> list[str]:
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for i in range(limits.MEMBERS + 1):
            archive.writestr(f"{i}.npy", b"")
    return _on(run, folder / "a.npz")


def npz_list(folder: Path, run: Path) -> list[str]:
    """The archive's end tells of a list of members of 3 GB, and the (sparse) file has room for it."""
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 10, 10, 3 << 30, 0, 0)
    path = _sparse(folder / "a.npz", (3 << 30) + len(end))
    with path.open("r+b") as file:
        file.seek(3 << 30)
        file.write(end)
    return _on(run, path)


def parquet(folder: Path, run: Path) -> list[str]:
    """20 rows that all name one value of 40 MB, of which the file holds a few kilobytes: 0.8 GB as a table."""
    value = b"\x89PNG\r\n\x1a\n" + bytes(40 << 20)
    column = pa.array([value]).dictionary_encode().take(pa.array([0] * 20, pa.int32()))
    pq.write_table(pa.table({"image": column}), folder / "a.parquet", compression="zstd", store_schema=False)
    assert (folder / "a.parquet").stat().st_size < 100_000
    return _on(run, folder / "a.parquet")


def tensors_size(folder: Path, run: Path) -> list[str]:
    size = limits.TENSORS + 8
    header = json.dumps({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    begin = struct.pack("<Q", len(header)) + header
    _sparse(run / "model/model.safetensors", len(begin) + size, begin)
    return ["sample", str(run), "-n", "1", "--out", "out"]


def weights_size(folder: Path, run: Path) -> list[str]:
    path = _sparse(folder / "w.safetensors", limits.FEATURES + 1)
    words = ["evaluate", str(run), "--tasks", "generation", "-n", "20", "--out", "out", "--feature-weights"]
    return [*words, str(path), "--features", "inception"]


def _model(**networks: int) -> Make:
    def make(folder: Path, run: Path) -> list[str]:
        place = run / "model/config.json"
        about = json.loads(place.read_text())
        about["config"]["networks"].update(networks)
        place.write_text(json.dumps(about))
        manifests.renew(run / "model")
        return ["sample", str(run), "-n", "1", "--out", "out"]

    return make


def _json(name: str, content: str | int, *command: str) -> Make:
    def make(folder: Path, run: Path) -> list[str]:
        if isinstance(content, int):
            _sparse(run / name, content, b"[")
        else:
            (run / name).write_text(content)
        manifests.renew((run / name).parent)
        return [word.replace("RUN", str(run)) for word in command]

    return make


DEEP = "[" * 100_000
_SAMPLE = ("sample", "RUN", "-n", "1", "--out", "out")
_RESUME = ("train", "digits", "--resume", "--device", "cpu", "--out", "RUN")
BEYOND: dict[str, tuple[Make, str]] = {
    "picture": (picture, "8200x8200"),
    "picture's bytes": (picture_bytes, "more than 536,870,912"),
    "mask": (mask, "8200x8200"),
    "mask's bytes": (mask_bytes, "more than 536,870,912"),
    "npy that claims": (npy_claim, "tells of"),
    "npy of one picture": (npy_picture, "pixels are taken at most"),
    "npz of weights": (npz_weights, "more than 536,870,912"),
    "npz of another size": (npz_other_size, "tells of"),
    "npz of many": (npz_members, "4,096 are taken at most"),
    "npz with a long list": (npz_list, "4,096 are taken at most"),
    "Parquet": (parquet, "not a picture in a known format"),
    "model's size": (tensors_size, "more than 34,359,738,368"),
    "weights' size": (weights_size, "more than 536,870,912"),
    "model of other networks": (_model(energy_width=2700), "its config.json says"),
    "model beyond all networks": (_model(energy_width=8192), "536,870,912 are taken at most"),
    "model beyond all widths": (_model(energy_width=10**9), "less than or equal to 8192"),
    "model of a great latent": (_model(latent_dim=10**12), "less than or equal to 16384"),
    "model's config": (_json("model/config.json", limits.JSON + 1, *_SAMPLE), "more than 33,554,432"),
    "deep model's config": (_json("model/config.json", DEEP, *_SAMPLE), "nested too deeply"),
    "scores": (_json("model/scores.json", limits.JSON + 1, *_SAMPLE), "more than 33,554,432"),
    "deep scores": (_json("model/scores.json", DEEP, *_SAMPLE), "nested too deeply"),
    "config": (_json("config.json", limits.JSON + 1, *_RESUME), "more than 33,554,432"),
    "deep config": (_json("config.json", DEEP, "report", "RUN"), "nested too deeply"),
    "metrics": (_json("metrics.json", limits.JSON + 1, "report", "RUN"), "more than 33,554,432"),
    "deep metrics": (_json("metrics.json", DEEP, *_RESUME), "nested too deeply"),
    "log": (_json("log.jsonl", limits.LOG + 1, "report", "RUN"), "more than 268,435,456"),
    "log of a run that goes on": (_json("log.jsonl", limits.LOG + 1, *_RESUME), "more than 268,435,456"),
    "width": (lambda *_: _dry("--networks.energy-width", str(10**9)), "less than or equal to 8192"),
    "networks": (lambda *_: _dry("--networks.energy-width", "8192"), "536,870,912 are taken at most"),
    "latent": (lambda *_: _dry("--networks.latent-dim", str(10**9)), "less than or equal to 16384"),
    "batch in training": (lambda *_: _dry("--optim.batch-size", str(10**12)), "less than or equal to 65536"),
    "chain": (lambda *_: _dry("--method.data-chain.steps", str(10**12)), "less than or equal to 1000000"),
    "buffer": (lambda *_: _dry("--method", "persistent", "--method.buffer", str(10**9)), "are kept at most"),
    "bank": (lambda *_: _dry("--method", "hat", "--method.bank", str(10**9)), "are kept at most"),
    "classes": (
        lambda *_: _dry("--method", "jem", "--method.classes", str(10**9)),
        "less than or equal to 100000",
    ),
    "-n": (
        lambda _, run: ["sample", str(run), "-n", str(10**12), "--out", "out"],
        "-n 1000000000000: give 1,000,000",
    ),
    "-n of evaluate": (
        lambda _, run: ["evaluate", str(run), "-n", str(10**12)],
        "-n 1000000000000: give 1,000,000",
    ),
    "--steps": (
        lambda _, run: ["sample", str(run), "--steps", str(10**12), "--out", "out"],
        "give 1,000,000 or less",
    ),
    "--batch-size": (
        lambda _, run: ["sample", str(run), "--batch-size", str(10**12), "--out", "out"],
        "--batch-size 1000000000000: give 65,536 or less",
    ),
    "a path's picture": (
        lambda _, run: ["interpolate", str(run), "-n", "100000", "--steps", "1000", "--out", "a.png"],
        "more than 67,108,864",
    ),
}


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peaks of memory are read from Linux's /proc"
)
@pytest.mark.parametrize("name", BEYOND)
def test_what_is_beyond_a_limit_is_refused_in_one_line_and_takes_no_memory(
    name: str, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, said = BEYOND[name]
    folder, here = tmp_path / "given", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    command = make(folder, Path(shutil.copytree(trained, tmp_path / "run")))
    before = probing.listing(tmp_path)
    with probing.bounded(ROOM):
        held = probing.forget_peak()
        ended = probing.call(command)
        grown = (probing.peak() or 0) - held
    assert probing.fault(ended, command[0], before, probing.listing(tmp_path)) == ""
    assert (ended.code, said in ended.err) == (2, True), ended.err
    assert grown < ROOM


@pytest.mark.parametrize("mode", [pytest.param("RGBA", marks=pytest.mark.slow), "I;16"])
def test_a_picture_at_the_limit_is_read_within_the_stated_memory(mode: str) -> None:
    """The costliest modes: transparency, and 16 bits."""
    file, side = io.BytesIO(), int(limits.PICTURE_PIXELS**0.5)
    Image.new(mode, (side, side)).save(file, "TIFF")
    with probing.bounded(limits.MEMORY):
        held = probing.forget_peak()
        assert decode(file.getvalue(), Images(size=8, channels=3)).shape == (8, 8, 3)
        assert (probing.peak() or 0) - held < limits.MEMORY


def test_sets_that_the_disk_has_no_room_for_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((40, 8, 8), np.uint8))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    monkeypatch.chdir(tmp_path)
    ended = probing.call(_on(trained, tmp_path / "a.npy"))
    assert ended.code == 2
    assert "40 images take 2,560 bytes, and 1,000 are free" in ended.err
    np.savez(tmp_path / "a.npz", np.zeros((40, 8, 8), np.uint8))
    ended = probing.call(_on(trained, tmp_path / "a.npz"))
    assert ended.code == 2
    assert "unpacked, and 1,000 are free" in ended.err


def test_names_of_images_are_cut(tmp_path: Path) -> None:
    from dualmcmc.data.parquet import parquet as opened

    pq.write_table(pa.table({"image": [{"bytes": b"x", "path": "p" * 100_000}]}), tmp_path / "a.parquet")
    (item,) = opened(str(tmp_path / "a.parquet")).splits["all"].items()
    assert item.name == "p" * limits.NAME


def test_a_hub_set_reads_no_file_of_this_machine_but_what_was_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row without bytes may name any path: only the libraries' caches are read."""
    from huggingface_hub import constants

    secret, fetched = tmp_path / "secret.png", tmp_path / "cache" / "a.png"
    fetched.parent.mkdir()
    for path in (secret, fetched):
        path.write_bytes(b"pixels")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(fetched.parent))
    assert contents(None, str(fetched)) == b"pixels"
    for place in (secret, fetched.parent / ".." / "secret.png", Path("/dev/zero")):
        with pytest.raises(PermissionError, match="no file of the Hugging Face cache"):
            contents(None, str(place))
    assert contents(b"own", str(secret)) == b"own"
    assert contents(None, None) == b""


def test_what_never_ends_is_no_file(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for place in (Path("/dev/zero"), tmp_path / "pipe"):
        with pytest.raises(OSError, match="no regular file"):
            reading.content(place, 1 << 20)
        with pytest.raises(OSError, match="no regular file"):
            tensors.sha256(place)
    with pytest.raises(IsADirectoryError):
        reading.content(tmp_path, 1 << 20)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["u1", "<i8", ">f4", "<f2", "?"])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, kind: str, order: Any) -> None:
    values = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=kind, order=order)
    np.save(tmp_path / "a.npy", values)
    np.savez_compressed(tmp_path / "a.npz", values=values)
    np.testing.assert_array_equal(npy.array(tmp_path / "a.npy"), values)
    with npy.archive_of(tmp_path / "a.npz") as archive:
        found = npy.member_array(archive, "values.npy", 10_000)
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype
        with pytest.raises(ValueError, match="more than 100"):
            npy.member_array(archive, "values.npy", 100)


@pytest.mark.parametrize("shape", [(), (1,), (0, 5), (3, 2)])
def test_arrays_of_every_shape_are_read(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    assert npy.array(tmp_path / "a.npy").shape == shape


@pytest.mark.parametrize(
    "header",
    [b"", b"(" * 9000, b"-" * 9000 + b"1", b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"],
)
def test_headers_are_never_evaluated(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match="no plain numbers"):
        npy.array(path)


def test_counting_networks_draws_nothing_and_presets_are_within() -> None:
    """Networks start alike whether they were counted or not."""
    from dualmcmc.presets import PRESETS

    before = torch.get_rng_state()
    for preset in PRESETS.values():
        pretrained._check_parameters(preset)
    assert torch.equal(before, torch.get_rng_state())


def test_every_method_of_every_preset_is_within_the_limits() -> None:
    from dualmcmc.methods import METHODS
    from dualmcmc.presets import PRESETS, preset

    for name in PRESETS:
        for method in METHODS:
            values = preset(name, method)
            assert from_dict(to_dict(values)) == values


def test_messages_show_no_more_of_a_value_than_a_line_holds() -> None:
    values = to_dict(tiny())
    with pytest.raises(InputError) as refused:
        from_dict({**values, "seed": "9" * 100_000})
    assert len(str(refused.value)) < 500
    with pytest.raises(InputError) as refused:
        from_dict({**values, "x" * 100_000: 1})
    assert len(str(refused.value)) < 500


# -- links -----------------------------------------------------------------------------------------


def test_a_run_with_a_link_out_of_it_is_not_written_to(tmp_path: Path, trained: Path) -> None:
    run, outside = Path(shutil.copytree(trained, tmp_path / "run")), tmp_path / "outside"
    outside.mkdir()
    RunFolder(run).check_inside()
    (run / "link").symlink_to(run / "model")  # leads nowhere else
    RunFolder(run).check_inside()
    for name in ("generated", "figures"):
        shutil.rmtree(run / name, ignore_errors=True)
        (run / name).symlink_to(outside)
    commands = [
        ["sample", str(run), "-n", "1"],
        ["evaluate", str(run), "--tasks", "revision"],
        [*_RESUME[:-1], str(run)],
    ]
    for command in commands:
        ended = probing.call(command)
        assert ended.code == 2, command
        assert "leads out of the run" in ended.err
    assert not list(outside.iterdir())
    linked = tmp_path / "linked"
    (run / "generated").unlink()
    (run / "figures").unlink()
    linked.symlink_to(run)  # the run itself may lie wherever the user's link leads
    assert probing.call(["sample", str(linked), "-n", "1", "--steps", "0"]).code == 0


# -- what fuzzing found ----------------------------------------------------------------------------


def _with(trained: Path, tmp_path: Path, name: str, change: Callable[[Any], Any]) -> Path:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    place = run / name
    place.write_text(json.dumps(change(json.loads(place.read_text()))))
    manifests.renew(place.parent)
    return run


@pytest.mark.parametrize("metrics", [{"training": [{"step": 2, "value": 1e999}]}, {"training": 3}, {"ood": [1]}])
def test_a_run_with_damaged_metrics_is_left_as_it_is(metrics: Any, tmp_path: Path, trained: Path) -> None:
    """--resume had written config.json by then, and an infinity could not be written back."""
    run = _with(trained, tmp_path, "metrics.json", lambda _: metrics)
    before = probing.listing(run)
    for command in ([*_RESUME[:-1], str(run)], ["evaluate", str(run), "--tasks", "revision"]):
        ended = probing.call(command)
        assert ended.code == 2
        assert "metrics.json" in ended.err
    assert probing.listing(run) == before


def test_whole_numbers_beyond_64_bits_are_floats() -> None:
    assert reading.parse(f"[{2**64 - 1}, {-(2**63)}, 0, -7]") == [2**64 - 1, -(2**63), 0, -7]
    found = reading.parse(f"[{2**64}, {10**400}, -{'9' * 5000}]")
    assert found == [2.0**64, float("inf"), float("-inf")]
    assert all(isinstance(value, float) for value in found)
    with pytest.raises(ValueError, match="no finite number"):
        reading.parse(f"{10**400}", finite=True)


def test_reports_pass_over_log_values_that_are_no_numbers(tmp_path: Path, trained: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    lines[0] |= {
        "rate_energy": [1],
        "rate_generator": {"a": 1},
        "loss_energy": 10**400,
        "seconds_per_step": 10**400,
    }
    lines[1] |= {"step": 10**400}
    (run / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert probing.call(["report", str(run)]).code == 0


@pytest.mark.parametrize("place", ["images.channels", "images.size", "method.name", "data", "run.steps"])
def test_reports_show_settings_of_any_kind(place: str, tmp_path: Path, trained: Path) -> None:
    """Another version's settings are shown as they are, whatever they are."""
    part, _, name = place.rpartition(".")

    def change(about: dict[str, Any]) -> dict[str, Any]:
        (about["config"][part] if part else about["config"])[name] = {"a": [1]}
        return about

    assert probing.call(["report", str(_with(trained, tmp_path, "config.json", change))]).code == 0


@pytest.mark.parametrize(
    "damage", [{"seconds": None}, {"attempt": -1}, {"best": {}}, {"best": 3}, {"seconds": 1e999}]
)
def test_states_that_no_run_has_are_refused(damage: dict[str, Any], tmp_path: Path, trained: Path) -> None:
    run = _with(trained, tmp_path, "checkpoints/step-6/state.json", lambda state: state | damage)
    before = probing.listing(run)
    ended = probing.call([*_RESUME[:-1], str(run)])
    assert ended.code == 2
    assert f"{next(iter(damage))} is none that a run has" in ended.err
    assert probing.listing(run) == before


def test_states_that_are_none_make_no_checkpoint(tmp_path: Path, trained: Path) -> None:
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    place = run / "checkpoints/step-6"
    for content in (b"\x80\x04pickle", b"[1]", DEEP.encode()):
        (place / "state.json").write_bytes(content)
        sums = json.loads((place / "manifest.json").read_text())
        sums["state.json"] = hashlib.sha256(content).hexdigest()
        (place / "manifest.json").write_text(json.dumps(sums))
        ended = probing.call(["sample", str(run), "-n", "1", "--weights", "live", "--out", str(tmp_path / "out")])
        assert ended.code == 0  # by the checkpoint before
        shutil.rmtree(tmp_path / "out")


def test_paths_in_parquet_that_are_no_text_are_refused(tmp_path: Path) -> None:
    paths = pa.array([b"\xff\xfe.png"]).view(pa.string())
    images = pa.StructArray.from_arrays([pa.array([b"x"]), paths], ["bytes", "path"])
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        load(str(tmp_path / "a.parquet"), Images(size=8, channels=1), split="all")


def test_columns_of_parquet_whose_names_are_no_text_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"], "zzzzzz": [1]}), tmp_path / "a.parquet", store_schema=False)
    content = (tmp_path / "a.parquet").read_bytes()
    for name in (b"image", b"zzzzzz"):
        (tmp_path / "b.parquet").write_bytes(content.replace(name, b"\xff" * len(name)))
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            load(str(tmp_path / "b.parquet"), Images(size=8, channels=1), split="all")


@pytest.mark.parametrize(("kind", "value"), [("float8_e4m3fn", float("nan")), ("float64", 1e300)])
def test_weights_that_are_not_finite_as_float32_are_refused(
    kind: str, value: float, tmp_path: Path, trained: Path
) -> None:
    """torch cannot ask float8 whether it is finite; 1e300 is, as float64, but became infinity when copied."""
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    place = run / "model/model.safetensors"
    weights = tensors.load(place)
    name = next(iter(weights))
    spoilt = torch.full(weights[name].shape, value, dtype=torch.float64).to(getattr(torch, kind))
    tensors.save(place, {**weights, name: spoilt})
    manifests.renew(run / "model")
    ended = probing.call(["sample", str(run), "-n", "1", "--out", str(tmp_path / "out")])
    assert (ended.code, "holds NaN or infinity" in ended.err) == (2, True)


@pytest.mark.parametrize("there", [True, False])
def test_a_model_whose_images_are_no_numbers_leaves_no_half_of_its_samples(
    there: bool, tmp_path: Path, trained: Path
) -> None:
    """Each weight is finite, what they make of noise is not."""
    run, out = Path(shutil.copytree(trained, tmp_path / "run")), tmp_path / "new" / "out"
    if there:
        out.mkdir(parents=True)
    place = run / "model/model.safetensors"
    weights = tensors.load(place)
    name = next(name for name in weights if name.startswith("energy."))
    tensors.save(place, {**weights, name: weights[name].clone().fill_(3e38)})
    manifests.renew(run / "model")
    before = probing.listing(tmp_path)
    ended = probing.call(["sample", str(run), "-n", "1", "--out", str(out)])
    assert probing.fault(ended, "sample", before, probing.listing(tmp_path)) == ""
    assert ended.code == 2
    assert "the model's log-density (generator).0 is inf" in ended.err
    ended = probing.call(["score", str(run), "--data", "digits", "-n", "1", "--out", str(tmp_path / "a.csv")])
    assert probing.fault(ended, "score", before, probing.listing(tmp_path)) == ""
    assert (ended.code, "the model's log-density is inf" in ended.err) == (2, True)


def test_a_message_names_a_thousand_bad_pictures_and_counts_the_others(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [b"x"] * 1003}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 999: .*; and 3 more; --skip-bad") as refused:
        load(str(tmp_path / "a.parquet"), Images(size=8, channels=1), split="all")
    assert "row 1000" not in str(refused.value)


def test_halves_of_characters_are_written_as_their_numbers(tmp_path: Path, trained: Path) -> None:
    """In the name of a folder that is no UTF-8, as the file system gives it."""
    out = tmp_path / "\udcff"
    ended = probing.call(["sample", str(trained), "-n", "1", "--steps", "0", "--out", str(out)])
    assert ended.code == 0
    assert "\\udcff: 1 images" in ended.out
