"""The released code's checkpoints: converted networks compute the same functions, and nothing in a file is run.

The released layers are written here anew, small, from what is known of that code (docs/sharing.md), with its
names: a dictionary made by them has the keys and, at its widths, the shapes of a released checkpoint.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dualmcmc import InputError, Model
from dualmcmc.cli import main
from dualmcmc.densities import LOG_VARIANCE_RANGE
from dualmcmc.storage import pretrained, released

WIDTHS = {"cifar10": (12, 16, 4), "celeba64": (32, 16, 4)}
LATENT = 6
CLOSE = 1e-5
"""Of numbers of order 1: other orders of the same sums in float32."""


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class TheirEnergyBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, *, down: bool, stem: bool) -> None:
        super().__init__()
        self.down, self.stem = down, stem
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        if down:
            self.sc = nn.Conv2d(c_in, c_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.stem else F.relu(x))))
        if not self.down:
            return h + x
        skip = self.sc(F.avg_pool2d(x, 2)) if self.stem else F.avg_pool2d(self.sc(x), 2)
        return F.avg_pool2d(h, 2) + skip


class TheirEnergy(nn.Module):
    """E, low is likely; every weight under the old-style spectral norm."""

    def __init__(self, preset: str, width: int) -> None:
        super().__init__()
        self.names = ["conv_1", "block2", "block3", "block4"]
        widths, downs = [width] * 4, [True, True, False, False]
        if preset == "celeba64":
            self.names, downs = [*self.names, "block5"], [True] * 5
            widths = [width // 16, width // 8, width // 4, width // 2, width]
        for i, name in enumerate(self.names):
            block = TheirEnergyBlock([3, *widths][i], widths[i], down=downs[i], stem=i == 0)
            self.add_module(name, block)
        self.last = f"lin_{len(self.names) + 1}"
        self.add_module(self.last, nn.Linear(width, 1, bias=False))
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.utils.spectral_norm(module)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.get_submodule(self.last)(F.relu(x).mean((2, 3)))


class TheirGeneratorBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.bn_1, self.bn_2 = nn.BatchNorm2d(c_in), nn.BatchNorm2d(c_out)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.sc = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(_double(F.relu(self.bn_1(x))))
        return self.conv2(F.relu(self.bn_2(h))) + self.sc(_double(x))


class TheirGenerator(nn.Module):
    def __init__(self, preset: str, width: int) -> None:
        super().__init__()
        self.lin_1 = nn.Linear(LATENT, width * 16)
        celeba = preset == "celeba64"
        widths = [width, width // 2, width // 4, width // 8, width // 16] if celeba else [width] * 4
        self.names = [f"block{i + 2}" for i in range(len(widths) - 1)]
        for name, c_in, c_out in zip(self.names, widths, widths[1:], strict=False):
            self.add_module(name, TheirGeneratorBlock(c_in, c_out))
        self.end = len(self.names) + 2
        self.add_module(f"bn_{self.end}", nn.BatchNorm2d(widths[-1]))
        self.add_module(f"conv{self.end}", nn.Conv2d(widths[-1], 3, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        x = self.lin_1(z).view(len(z), -1, 4, 4)
        for name in self.names:
            x = self.get_submodule(name)(x)
        return torch.tanh(self.get_submodule(f"conv{self.end}")(F.relu(self.get_submodule(f"bn_{self.end}")(x))))


class TheirInference(nn.Module):
    def __init__(self, preset: str, width: int) -> None:
        super().__init__()
        first = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        if preset == "celeba64":
            first = nn.Conv2d(3, width, 4, 2, 1, bias=False)
        layers: list[nn.Module] = [first, nn.LeakyReLU(0.2)]
        for i in range(3):
            c = width * 2**i
            layers += [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers)
        self.conv51, self.conv52 = nn.Conv2d(8 * width, LATENT, 4), nn.Conv2d(8 * width, LATENT, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.main(x)
        return self.conv51(h), self.conv52(h)


Theirs = tuple[nn.Module, nn.Module, nn.Module]


def theirs(preset: str) -> Theirs:
    """Energy, generator and inference network as after some training: u, v and running statistics have moved."""
    torch.manual_seed(3)
    e, g, i = WIDTHS[preset]
    nets = TheirEnergy(preset, e), TheirGenerator(preset, g), TheirInference(preset, i)
    for module in nets[1].modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)  # as there, around 0
    size = 32 if preset == "cifar10" else 64
    with torch.no_grad():
        for _ in range(3):
            nets[0](torch.rand(4, 3, size, size) * 2 - 1)
            nets[1](2 * torch.randn(16, LATENT) + 1)  # codes that are no draws of the prior
    return nets


def checkpoint(nets: Theirs) -> dict[str, Any]:
    """As the released train.py saves it."""
    states = {name: net.state_dict() for name, net in zip(("netE", "netG", "netI"), nets, strict=True)}
    optimiser = torch.optim.Adam(nets[1].parameters()).state_dict()
    return {"epoch": 280, **states, "optG": optimiser, "optE": optimiser, "optI": optimiser}


@pytest.fixture(scope="module", params=list(WIDTHS))
def preset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def nets(preset: str) -> Theirs:
    return theirs(preset)


@pytest.fixture
def file(nets: Theirs, tmp_path: Path) -> Path:
    torch.save(checkpoint(nets), tmp_path / "8.9682_280.pth")
    return tmp_path / "8.9682_280.pth"


def test_the_layers_here_have_the_released_names_and_counts() -> None:
    """Parameters of the paper's Table 9 at its widths: 16M, 15M, 16M; names of that code's nets.py."""
    with torch.device("meta"):
        wide = TheirEnergy("cifar10", 512), TheirGenerator("cifar10", 512), TheirInference("cifar10", 128)
    assert sum(p.numel() for p in wide[0].parameters()) == 16_793_088
    names = {name for net in wide for name in net.state_dict()}
    assert {
        "conv_1.conv1.weight_orig",
        "conv_1.sc.weight_u",
        "block2.sc.weight_v",
        "lin_5.weight_orig",
        "lin_1.bias",
        "block4.bn_2.running_var",
        "bn_5.num_batches_tracked",
        "conv5.weight",
        "main.6.weight",
        "conv52.bias",
    } <= names
    assert "block3.sc.weight_orig" not in names


def test_converted_networks_compute_the_same_functions(nets: Theirs, preset: str, file: Path) -> None:
    """h = -E with the stored u and v; g with stored statistics and with a batch's own; mean and log variance."""
    found = released.read(file)
    settings = released.settings_of(found, preset, "file")
    trio = released.networks(found, settings, "file")
    energy, generator, inference = (net.eval() for net in nets)
    x, z = torch.rand(5, 3, settings.images.size, settings.images.size) * 2 - 1, torch.randn(5, LATENT)
    with torch.no_grad():
        e = energy(x)[:, 0]
        assert e.std() > 100 * CLOSE * e.abs().max()  # it tells images apart
        assert torch.allclose(trio.h(x), -e, rtol=CLOSE, atol=CLOSE)
        assert torch.allclose(trio.log_pi(x), -e / settings.method.data_chain.temperature, rtol=1e-4)
        assert torch.allclose(trio.g(z), generator(z), rtol=0, atol=CLOSE)
        mean, log_variance = trio.q(x)
        mu, log_sigma = (out[:, :, 0, 0] for out in inference(x))
        assert torch.allclose(mean, mu, rtol=CLOSE, atol=CLOSE)
        assert torch.allclose(log_variance, log_sigma.clamp(*LOG_VARIANCE_RANGE), rtol=CLOSE, atol=CLOSE)
        batch = trio.part("generator").train()(z)
        assert torch.allclose(batch, generator.train()(z), rtol=0, atol=10 * CLOSE)


def test_the_model_draws_with_the_statistics_of_prior_draws(nets: Theirs, preset: str, file: Path) -> None:
    """What the released code computes on large batches of prior codes; its stored statistics are of others."""
    trio, settings, step = released.convert(file, preset)
    assert step == 281 * settings.run.steps // 301
    z, generator = torch.randn(400, LATENT), nets[1]
    with torch.no_grad():
        ours, stored = trio.g(z), generator.eval()(z)
        theirs = generator.train()(z)
    # 1,600 and 400 draws: statistics agree within some 5 %; stored ones are of codes of twice the scale around 1.
    assert (ours - theirs).abs().mean() < 0.1 * (stored - theirs).abs().mean()


def test_a_chain_on_the_converted_energy_is_the_released_chain(nets: Theirs, preset: str, file: Path) -> None:
    """x - a^2/2 grad E(x), noise aside: the signs and steps of docs/maths.md's mapping."""
    trio, settings, _ = released.convert(file, preset)
    chain = settings.method.data_chain
    x = (torch.rand(2, 3, settings.images.size, settings.images.size) * 2 - 1).requires_grad_()
    (down,) = torch.autograd.grad(nets[0].eval()(x).sum(), x)
    (up,) = torch.autograd.grad(trio.h(x).sum(), x)
    assert torch.allclose(chain.step**2 / 2 * up, -(chain.step**2) / 2 * down, rtol=1e-4, atol=1e-8)
    assert chain.step * chain.temperature**0.5 == pytest.approx(0.001)  # the released noise


def test_convert_writes_a_model_folder_that_loads(nets: Theirs, preset: str, file: Path, tmp_path: Path) -> None:
    command = ["convert", str(file), "--preset", preset, "--out", str(tmp_path / "m"), "--no-picture"]
    assert main([*command, "--json", str(tmp_path / "told.json")]) == 0
    model = Model.from_pretrained(tmp_path / "m")
    assert model.config.networks.norm == "batch"
    assert model.step == json.loads((tmp_path / "told.json").read_text())["step"]
    trio, _, _ = released.convert(file, preset)
    ours, converted = model.trio.state_dict(), trio.state_dict()
    assert all(torch.equal(ours[name], converted[name]) for name in converted)
    assert main([*command]) == 2  # the folder is not empty


def _without(net: str, name: str) -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved[net].pop(name)


def _with(net: str, name: str, tensor: Tensor) -> Callable[[dict[str, Any]], None]:
    return lambda saved: saved[net].update({name: tensor})


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (_without("netG", "block2.bn_1.running_var"), r"netG has no fitting block2\.bn_1\.running_var"),
        (_without("netE", "conv_1.conv1.weight_u"), r"netE has no fitting conv_1\.conv1\.weight_u"),
        (_without("netE", "lin_5.weight_orig"), r"netE has no fitting lin_5\.weight_orig"),
        (_with("netI", "main.8.weight", torch.ones(1)), r"netI\.main\.8\.weight belongs to other networks"),
        (_with("netI", "conv51.bias", torch.ones(7)), r"netI\.conv51\.bias has shape \(7,\), and \(6,\) is"),
        (_with("netE", "conv_1.sc.weight_v", torch.ones(9)), r"netE\.conv_1\.sc\.weight: its u and v"),
        (_with("netG", "lin_1.bias", torch.full((256,), float("nan"))), "holds NaN or infinity"),
        (lambda saved: saved.pop("netI"), "holds no netI"),
        (lambda saved: saved.update(netE=[1, 2]), "holds no netE"),
    ],
)
def test_what_is_no_released_checkpoint_is_refused_by_name(
    edit: Callable[[dict[str, Any]], None], said: str, tmp_path: Path
) -> None:
    saved = checkpoint(theirs("cifar10"))
    edit(saved)
    torch.save(saved, tmp_path / "x.pth")
    with pytest.raises(InputError, match=said):
        released.convert(tmp_path / "x.pth", "cifar10")


class Runs:
    """Unpickled, it makes a file."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.mkdir, (self.place,)


def _hidden(path: Path, planted: Path) -> None:
    torch.save({**checkpoint(theirs("cifar10")), "note": Runs(str(planted))}, path)


def _bare(path: Path, planted: Path) -> None:
    path.write_bytes(pickle.dumps(Runs(str(planted)), protocol=2))


def _zipped(path: Path, planted: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Runs(str(planted)), protocol=2))
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize("make", [_hidden, _bare, _zipped])
def test_a_pickle_that_would_run_code_is_refused_in_one_line(
    make: Callable[[Path, Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "x.pth", tmp_path / "planted")
    assert main(["convert", str(tmp_path / "x.pth"), "--out", str(tmp_path / "m")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nothing of it was run" in line or "cannot be read as a checkpoint" in line
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.pth"]


def _compressed(weights: Theirs, path: Path) -> None:
    torch.save(weights, path.with_suffix(".plain"))
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)


def _stretched(weights: Theirs, path: Path) -> None:
    """One number that says it is a hundred million million."""
    weights["netE"]["conv_1.conv1.weight_orig"] = torch.zeros(1).expand(10**7, 10**7)
    torch.save(weights, path)


def _scalar(weights: Theirs, path: Path) -> None:
    weights["netE"]["conv_1.conv1.weight_orig"] = torch.tensor(1.0)
    torch.save(weights, path)


@pytest.mark.parametrize("make", [_compressed, _stretched, _scalar])
def test_a_checkpoint_of_tensors_that_cannot_be_is_refused(
    make: Callable[[Theirs, Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(checkpoint(theirs("cifar10")), tmp_path / "x.pth")
    assert main(["convert", str(tmp_path / "x.pth"), "--preset", "cifar10", "--out", str(tmp_path / "m")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "compressed archive" in line or "no fitting conv_1.conv1.weight_orig" in line or "has shape ()" in line
    assert not (tmp_path / "m").exists()


def test_half_precision_is_read(tmp_path: Path) -> None:
    weights = checkpoint(theirs("cifar10"))
    half = {k: v.half() if k.endswith("_orig") else v for k, v in weights["netE"].items()}  # u and v are not
    torch.save({**weights, "netE": half}, tmp_path / "x.pth")
    assert released.convert(tmp_path / "x.pth", "cifar10")[0].energy is not None


@pytest.mark.parametrize("content", [b"", b"PK", b"hello", b"\x80\x02", bytes(1000), b".", b"\x80\x02.", b"J"])
def test_what_is_no_checkpoint_at_all_is_refused_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    for place in ("x.pth", "nowhere.pth", "."):
        assert main(["convert", str(tmp_path / place), "--out", str(tmp_path / "m")]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(InputError, match="--preset mnist: the released networks are those of cifar10"):
        released.convert(tmp_path / "x.pth", "mnist")


def test_no_other_file_reads_a_pickle() -> None:
    source = Path(pretrained.__file__).parent.parent
    reads = {path.name for path in source.rglob("*.py") if "torch.load(" in path.read_text(encoding="utf-8")}
    assert "released.py" in reads
    for path in source.rglob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "torch.load(" not in line or "weights_only=True" in line, path
