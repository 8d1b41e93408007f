"""Feature networks: the layers against plain torch operations, what is recognised, what is refused, no network."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from dualmcmc import features
from dualmcmc.errors import InputError
from dualmcmc.features import inception, loading, release, weights
from dualmcmc.features.folding import fold
from dualmcmc.features.inception import BlockA, BlockB, BlockC, BlockD, BlockE, Inception, InceptionFront
from dualmcmc.features.network import FeatureNetwork
from dualmcmc.features.resnet20 import Block, ResNet20
from dualmcmc.features.weights import RELEASE, Weights, content_hash

EPS = torch.finfo(torch.float32).eps


def unfolded(trunk: InceptionFront | ResNet20) -> dict[str, Tensor]:
    """Random weights under the names of the public files, batch norm apart, for maps of about unit size."""
    noise = torch.Generator().manual_seed(0)
    arrays: dict[str, Tensor] = {}
    for name, part in trunk.named_modules():
        if isinstance(part, nn.Linear):
            for key, own in part.state_dict().items():
                arrays[f"{name}.{key}"] = 0.02 * torch.randn(own.shape, generator=noise)
        if isinstance(part, nn.Conv2d):
            kernel = f"{name}.conv.weight" if isinstance(part, inception.Layer) else f"{name}.weight"
            norm = f"{name}.bn" if isinstance(part, inception.Layer) else name.replace("conv", "bn")
            own, n = part.weight, len(part.weight)
            arrays[kernel] = torch.randn(own.shape, generator=noise) * (2 / own[0].numel()) ** 0.5
            for key in ("weight", "running_var"):
                arrays[f"{norm}.{key}"] = 0.5 + torch.rand(n, generator=noise)
            for key in ("bias", "running_mean"):
                arrays[f"{norm}.{key}"] = 0.1 * torch.randn(n, generator=noise)
    return arrays


@pytest.fixture(scope="module")
def inception_arrays() -> dict[str, Tensor]:
    with torch.device("meta"):
        trunk = Inception()
    return unfolded(trunk) | {"fc.bias": torch.full((1008,), 3.0).cumsum(0)}


@pytest.fixture
def public(inception_arrays: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for the public release."""
    found = Weights(inception_arrays, Path("public.pth"), content_hash(inception_arrays), RELEASE)
    monkeypatch.setattr(release, "release", lambda: found)


@pytest.fixture
def resnet_arrays() -> dict[str, Tensor]:
    return unfolded(ResNet20())


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUALMCMC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def npz(path: Path, arrays: dict[str, Tensor]) -> Path:
    np.savez(path, **{name: array.numpy() for name, array in arrays.items()})
    return path


def refusal(name: str, path: Path | None) -> str:
    with pytest.raises(InputError) as caught:
        features.load(name, path)
    line = str(caught.value)
    assert "\n" not in line
    return line


# Layers


def test_a_folded_convolution_is_the_convolution_and_its_batch_norm() -> None:
    """Bound: a sum of K terms rounds by at most K eps of the sum of their absolute values."""
    noise = torch.Generator().manual_seed(0)
    w, x = torch.randn(5, 3, 1, 7, generator=noise), torch.randn(4, 3, 9, 9, generator=noise)
    scale, shift, mean = (torch.randn(5, generator=noise) for _ in range(3))
    variance = torch.rand(5, generator=noise) * 1e-2  # near eps, which must therefore be the right one
    arrays = {"a.conv.weight": w, "a.bn.weight": scale, "a.bn.bias": shift}
    arrays |= {"a.bn.running_mean": mean, "a.bn.running_var": variance, "other": torch.ones(1)}
    fold(arrays, "a.conv.weight", "a.bn", "a", 1e-3, "here")
    assert arrays.keys() == {"a.weight", "a.bias", "other"}

    double = [t.double() for t in (mean, variance, scale, shift)]
    expected = functional.batch_norm(
        functional.conv2d(x.double(), w.double(), padding=(0, 3)), *double, training=False, eps=1e-3
    )
    seen = functional.conv2d(x, arrays["a.weight"], arrays["a.bias"], padding=(0, 3))
    sizes = functional.conv2d(x.abs(), arrays["a.weight"].abs(), arrays["a.bias"].abs(), padding=(0, 3))
    assert ((seen - expected).abs() <= (w[0].numel() + 3) * EPS * sizes).all()


def plain_mean(x: Tensor) -> Tensor:
    """3x3 sums of the pixels inside over the number of pixels inside."""
    ones = torch.ones(x.shape[1], 1, 3, 3, dtype=x.dtype)
    sums = functional.conv2d(x, ones, padding=1, groups=x.shape[1])
    return sums / functional.conv2d(torch.ones_like(x), ones, padding=1, groups=x.shape[1])


def plain_chain(block: nn.Module, x: Tensor, *steps: tuple[str, int, tuple[int, int]]) -> Tensor:
    """relu(w * x + b) for each (layer, stride, padding)."""
    state = block.state_dict()
    for name, stride, padding in steps:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        x = functional.conv2d(x, weight, bias, stride=stride, padding=padding).clamp(min=0)
    return x


ONE, WIDE, TALL = (0, 0), (0, 3), (3, 0)


def plain_a(block: nn.Module, x: Tensor) -> list[Tensor]:
    return [
        plain_chain(block, x, ("branch1x1", 1, ONE)),
        plain_chain(block, x, ("branch5x5_1", 1, ONE), ("branch5x5_2", 1, (2, 2))),
        plain_chain(
            block, x, ("branch3x3dbl_1", 1, ONE), ("branch3x3dbl_2", 1, (1, 1)), ("branch3x3dbl_3", 1, (1, 1))
        ),
        plain_chain(block, plain_mean(x), ("branch_pool", 1, ONE)),
    ]


def plain_b(block: nn.Module, x: Tensor) -> list[Tensor]:
    return [
        plain_chain(block, x, ("branch3x3", 2, ONE)),
        plain_chain(
            block, x, ("branch3x3dbl_1", 1, ONE), ("branch3x3dbl_2", 1, (1, 1)), ("branch3x3dbl_3", 2, ONE)
        ),
        x.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5)),
    ]


def plain_c(block: nn.Module, x: Tensor) -> list[Tensor]:
    double = [("branch7x7dbl_1", 1, ONE)]
    double += [(f"branch7x7dbl_{i}", 1, TALL if i % 2 == 0 else WIDE) for i in (2, 3, 4, 5)]
    return [
        plain_chain(block, x, ("branch1x1", 1, ONE)),
        plain_chain(block, x, ("branch7x7_1", 1, ONE), ("branch7x7_2", 1, WIDE), ("branch7x7_3", 1, TALL)),
        plain_chain(block, x, *double),
        plain_chain(block, plain_mean(x), ("branch_pool", 1, ONE)),
    ]


def plain_d(block: nn.Module, x: Tensor) -> list[Tensor]:
    sevens = [("branch7x7x3_1", 1, ONE), ("branch7x7x3_2", 1, WIDE), ("branch7x7x3_3", 1, TALL)]
    return [
        plain_chain(block, x, ("branch3x3_1", 1, ONE), ("branch3x3_2", 2, ONE)),
        plain_chain(block, x, *sevens, ("branch7x7x3_4", 2, ONE)),
        x.unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5)),
    ]


def plain_e(block: nn.Module, x: Tensor, pooled: Tensor) -> list[Tensor]:
    single = plain_chain(block, x, ("branch3x3_1", 1, ONE))
    double = plain_chain(block, x, ("branch3x3dbl_1", 1, ONE), ("branch3x3dbl_2", 1, (1, 1)))
    return [
        plain_chain(block, x, ("branch1x1", 1, ONE)),
        plain_chain(block, single, ("branch3x3_2a", 1, (0, 1))),
        plain_chain(block, single, ("branch3x3_2b", 1, (1, 0))),
        plain_chain(block, double, ("branch3x3dbl_3a", 1, (0, 1))),
        plain_chain(block, double, ("branch3x3dbl_3b", 1, (1, 0))),
        plain_chain(block, pooled, ("branch_pool", 1, ONE)),
    ]


def surrounded_maximum(x: Tensor) -> Tensor:
    return functional.pad(x, (1, 1, 1, 1), value=-torch.inf).unfold(2, 3, 1).unfold(3, 3, 1).amax((4, 5))


@pytest.mark.parametrize("kind", ["A", "B", "C", "D", "E", "E with maximum"])
def test_each_inception_block_is_its_branches_side_by_side(kind: str) -> None:
    """In float64, where rounding is 1e-13 of unit values: any other stride, padding or order shows."""
    torch.manual_seed(0)
    x = torch.randn(2, 6, 9, 9).double()
    block = {
        "A": lambda: BlockA(6, 5),
        "B": lambda: BlockB(6),
        "C": lambda: BlockC(6, 4),
        "D": lambda: BlockD(6),
        "E": lambda: BlockE(6, maximum=False),
        "E with maximum": lambda: BlockE(6, maximum=True),
    }[kind]()
    block.double().requires_grad_(False)
    branches = {
        "A": lambda: plain_a(block, x),
        "B": lambda: plain_b(block, x),
        "C": lambda: plain_c(block, x),
        "D": lambda: plain_d(block, x),
        "E": lambda: plain_e(block, x, plain_mean(x)),
        "E with maximum": lambda: plain_e(block, x, surrounded_maximum(x)),
    }[kind]()
    torch.testing.assert_close(block(x), torch.cat(branches, 1), rtol=0, atol=1e-12)


def test_the_mean_of_a_constant_map_is_the_constant_in_its_corners_too() -> None:
    """Counting the padding would give 4/9 of it there."""
    x = torch.full((1, 2, 5, 5), 0.75)
    assert torch.equal(inception.average(x), x)


def test_blocks_are_where_the_graph_has_them(public: None) -> None:
    """Only the last block pools by maximum, and every map has the size that the graph's has."""
    trunk = features.load("inception").trunk
    seen: dict[str, tuple[int, ...]] = {}
    for name, part in trunk.named_children():
        part.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    trunk(torch.zeros(1, 3, 32, 32))
    assert seen == {
        "Conv2d_1a_3x3": (32, 149, 149),
        "Conv2d_2a_3x3": (32, 147, 147),
        "Conv2d_2b_3x3": (64, 147, 147),
        "Conv2d_3b_1x1": (80, 73, 73),
        "Conv2d_4a_3x3": (192, 71, 71),
        "Mixed_5b": (256, 35, 35),
        **dict.fromkeys(("Mixed_5c", "Mixed_5d"), (288, 35, 35)),
        **dict.fromkeys(("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), (768, 17, 17)),
        "Mixed_7a": (1280, 8, 8),
        **dict.fromkeys(("Mixed_7b", "Mixed_7c"), (2048, 8, 8)),
        "fc": (1008,),
    }
    assert isinstance(trunk, Inception)
    assert (trunk.Mixed_7b.maximum, trunk.Mixed_7c.maximum) == (False, True)


def test_images_enter_inception_by_bilinear_weights_on_pixel_centres(public: None) -> None:
    """Output pixel i lies at (i + 1/2) 32/299 - 1/2 of the input, and the edge goes on beyond the edge."""
    network = features.load("inception768")
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    seen: list[Tensor] = []
    network.trunk.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))  # type: ignore[union-attr]
    network(x)
    at = ((torch.arange(299).double() + 0.5) * 32 / 299 - 0.5).clamp(0, 31)
    kernel = (1 - (at[:, None] - torch.arange(32)).abs()).clamp(min=0)  # (299, 32), rows sum to 1
    clamped = x.double().clamp(-1, 1)
    torch.testing.assert_close(seen[0].double(), kernel @ clamped @ kernel.T, rtol=0, atol=1e-5)


def test_the_front_part_is_the_whole_network_up_to_mixed_6e(public: None) -> None:
    whole, front = features.load("inception"), features.load("inception768")
    seen: list[Tensor] = []
    whole.trunk.Mixed_6e.register_forward_hook(lambda _, __, out: seen.append(out.mean((2, 3))))  # type: ignore[union-attr]
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole(x)
    assert torch.equal(front(x).features, seen[0])
    assert (whole.num_features, whole.num_classes) == (2048, 1008)
    assert (front.num_features, front.num_classes) == (768, None)
    assert front(x).probabilities is None


def test_inceptions_probabilities_are_the_softmax_of_its_features_without_bias(
    public: None, inception_arrays: dict[str, Tensor]
) -> None:
    """The file's bias, which goes up to 3,024 here, would decide everything."""
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found, probabilities = features.load("inception")(x)
    logits = found.double() @ inception_arrays["fc.weight"].double().T
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    assert probabilities is not None
    torch.testing.assert_close(probabilities.double(), expected, rtol=1e-3, atol=1e-12)


def plain_resnet(arrays: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """ResNet-20 with batch norm and padded shortcuts, as the paper has it."""

    def normed(x: Tensor, conv: str, stride: int) -> Tensor:
        bn = conv.replace("conv", "bn")
        x = functional.conv2d(x, arrays[f"{conv}.weight"], stride=stride, padding=1)
        mean, variance = arrays[f"{bn}.running_mean"], arrays[f"{bn}.running_var"]
        return functional.batch_norm(x, mean, variance, arrays[f"{bn}.weight"], arrays[f"{bn}.bias"])

    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    x = normed(((x + 1) / 2 - mean) / deviation, "conv1", 1).relu()
    for stage in (1, 2, 3):
        for block in (0, 1, 2):
            stride = 2 if stage > 1 and block == 0 else 1
            out = normed(x, f"layer{stage}.{block}.conv1", stride).relu()
            out = normed(out, f"layer{stage}.{block}.conv2", 1)
            grown = (out.shape[1] - x.shape[1]) // 2
            x = (out + functional.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, grown, grown))).relu()
    found = x.mean((2, 3))
    return found, found @ arrays["linear.weight"].T + arrays["linear.bias"]


def test_resnet20_is_its_plain_form_with_batch_norm(tmp_path: Path, resnet_arrays: dict[str, Tensor]) -> None:
    """19 layers, each of which rounds by at most sqrt(576) + 4 eps of its values, near the mean of the sums."""
    network = features.load("cifar10_resnet20", npz(tmp_path / "mine.npz", resnet_arrays))
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected, logits = plain_resnet({k: v.double() for k, v in resnet_arrays.items()}, x.double())
    found, probabilities = network(x)
    tolerance = 19 * 28 * EPS * expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(probabilities.double(), logits.softmax(1), rtol=0, atol=10 * tolerance)
    assert (network.num_features, network.num_classes) == (64, 10)


def test_a_growing_shortcut_adds_every_second_pixel_between_channels_of_zeros() -> None:
    block = Block(2, 4).requires_grad_(False)
    for parameter in block.parameters():
        parameter.zero_()
    x = torch.rand(1, 2, 4, 4)
    zeros = torch.zeros(1, 1, 2, 2)
    assert torch.equal(block(x), torch.cat([zeros, x[:, :, ::2, ::2], zeros], 1))


# From outside


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("side", "kept"), [(8, 8), (16, 16), (28, 14), (32, 16), (64, 16)])
def test_pixels_are_the_means_of_equal_blocks(side: int, kept: int, channels: int) -> None:
    """Of values in 32nds, so that sums are exact; what the picture has not is zero."""
    draws = torch.randint(-32, 33, (2, channels, side, side), generator=torch.Generator().manual_seed(0))
    x = draws / 32
    k = side // kept
    means = x.view(2, channels, kept, k, kept, k).mean((3, 5)).flatten(1)
    network = features.load("pixels")
    found = network(x).features
    assert torch.equal(found[:, : means.shape[1]], means)
    assert not found[:, means.shape[1] :].any()
    assert found.shape == (2, network.num_features)
    assert (network.label, network.num_classes) == ("fd_pixels", None)


def networks(tmp_path: Path) -> list[FeatureNetwork]:
    resnet = features.load("cifar10_resnet20", npz(tmp_path / "mine.npz", unfolded(ResNet20())))
    return [features.load("inception768"), resnet]


def test_grey_is_grey_as_colour(public: None, tmp_path: Path) -> None:
    """Up to rounding: a resize of one channel and one of three may sum in another order."""
    grey = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for network in networks(tmp_path):
        colour = network(grey.repeat(1, 3, 1, 1)).features
        scale = colour.abs().max().item()
        torch.testing.assert_close(network(grey).features, colour, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("n", [17, 65])
def test_features_of_an_image_do_not_depend_on_its_batch(public: None, tmp_path: Path, n: int) -> None:
    """Up to rounding: the order of sums may differ with the size of the batch. 16 and 64 go at a time."""
    x = torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = networks(tmp_path)[0 if n == 17 else 1]
    together = network(x)
    for rows in (slice(0, 1), slice(n - 2, n)):
        alone = network(x[rows])
        scale = alone.features.abs().max().item()
        torch.testing.assert_close(together.features[rows], alone.features, rtol=0, atol=1e-5 * scale)
        if alone.probabilities is not None and together.probabilities is not None:
            torch.testing.assert_close(together.probabilities[rows], alone.probabilities, rtol=1e-3, atol=1e-6)


def test_no_images_have_no_features(public: None, tmp_path: Path) -> None:
    for network in [*networks(tmp_path), features.load("pixels")]:
        assert network(torch.empty(0, 3, 32, 32)).features.shape == (0, network.num_features)


def test_the_callers_mode_and_random_state_do_not_matter(tmp_path: Path) -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    path = npz(tmp_path / "mine.npz", unfolded(ResNet20()))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    with torch.inference_mode():
        network = features.load("cifar10_resnet20", path)
        inside = network(x).features
    assert torch.equal(torch.get_rng_state(), state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(x.requires_grad_()).features, inside)
    assert not network(x).features.requires_grad


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8),
        torch.zeros(2, 4, 8, 8),
        torch.zeros(1, 3, 8, 9),
    ],
)
def test_what_is_no_batch_of_images_is_refused(x: Tensor) -> None:
    with pytest.raises(InputError, match=r"float32 \(B, 1 or 3, S, S\)"):
        features.load("pixels")(x)


def test_listing_the_networks_imports_no_torch() -> None:
    code = "import sys; from dualmcmc.features import NAMES; sys.exit('torch' in sys.modules or len(NAMES) != 4)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Labels


def test_known_arrays_are_known_in_any_format_and_others_carry_their_files_name(
    tmp_path: Path, resnet_arrays: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path / "any name.npz", resnet_arrays)
    own = features.load("cifar10_resnet20", path)
    assert own.label == "fd_any_name"
    assert own.protocol["weights_sha256"] == weights.sha256(path)
    assert not own.protocol["weights_known"]

    monkeypatch.setitem(weights.CONTENTS, content_hash(resnet_arrays), weights.RESNET20)
    save_file(resnet_arrays, tmp_path / "copy.safetensors")
    known = [features.load("cifar10_resnet20", place) for place in (path, tmp_path / "copy.safetensors")]
    assert [network.label for network in known] == ["fd_resnet20"] * 2
    assert known[0].protocol == known[1].protocol
    assert known[0].protocol["weights_sha256"] == weights.RESNET20
    assert known[0].protocol["weights_known"]

    resnet_arrays["conv1.weight"][0, 0, 0, 0] += 1e-3
    other = features.load("cifar10_resnet20", npz(tmp_path / "resnet20.npz", resnet_arrays))
    assert other.label == f"fd_resnet20_{other.protocol['content_sha256'][:8]}"  # fd_resnet20 is taken


@pytest.mark.parametrize(
    ("stem", "label"), [("a.b c", "fd_a_b_c"), ("été", "fd_t"), ("моё", "fd_own"), ("A-1", "fd_A-1")]
)
def test_labels_are_letters_digits_and_dashes(
    tmp_path: Path, resnet_arrays: dict[str, Tensor], stem: str, label: str
) -> None:
    assert features.load("cifar10_resnet20", npz(tmp_path / f"{stem}.npz", resnet_arrays)).label == label


def test_only_the_public_network_is_called_fid(public: None, tmp_path: Path) -> None:
    assert features.load("inception").label == "fid"
    front = features.load("inception768")
    assert front.label == "fid768"
    halves = {name: array.half() for name, array in front.trunk.state_dict().items()}
    file = npz(tmp_path / "fid768.npz", halves)
    assert features.load("inception768", file).label == "fd_fid768"
    assert "--features inception768" in refusal("inception", file)


def test_the_content_hash_is_of_names_shapes_and_values(tmp_path: Path) -> None:
    a = {"x": torch.arange(6.0).view(2, 3), "y": torch.ones(1)}
    assert content_hash(dict(reversed(a.items()))) == content_hash(a)
    assert content_hash({"x": a["x"].T.contiguous().T, "y": a["y"]}) == content_hash(a)
    halves = {name: array.half() for name, array in a.items()}
    assert weights.read(npz(tmp_path / "halves.npz", halves)).content == content_hash(a)
    others = [{"x": a["x"].view(3, 2), "y": a["y"]}, {"x": a["x"], "z": a["y"]}, {"x": a["x"] + EPS, "y": a["y"]}]
    assert len({content_hash(arrays) for arrays in [a, *others]}) == 4


# Refused


class Trap:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pt2", ".pkl", ".bin", ".npz", ".npy", ".safetensors"])
def test_pickles_are_never_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(pickle.dumps(Trap(tmp_path / "mark")))
    line = refusal("cifar10_resnet20", path)
    assert str(path) in line
    assert not (tmp_path / "mark").exists()
    if suffix not in (".npz", ".safetensors"):
        assert "never pickle, convert it to safetensors" in line


def test_arrays_of_objects_are_never_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    np.savez(path, plain=np.ones(1, np.float32), trap=np.array([Trap(tmp_path / "mark")], dtype=object))
    line = refusal("cifar10_resnet20", path)
    assert "array trap" in line
    assert "never pickle" in line
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("bn1.running_mean", None, "is missing"),
        ("linear.weight", None, "is missing"),
        ("layer9.weight", torch.ones(3), "another network"),
        ("linear.weight", torch.ones(11, 64), r"shape \(11, 64\), \(10, 64\) is expected"),
        ("conv1.weight", torch.ones(16, 4, 3, 3), r"shape \(16, 4, 3, 3\), \(16, 3, 3, 3\)"),
        ("bn1.weight", torch.ones(15), r"shape \(15,\)"),
        ("linear.bias", torch.full((10,), torch.nan), "NaN"),
        ("linear.bias", torch.full((10,), 1e39, dtype=torch.float64), "NaN or infinity in float32"),
        ("linear.bias", torch.ones(10, dtype=torch.int64), "int64"),
        ("linear.bias", torch.ones(10, dtype=torch.complex64), "complex64"),
        ("bn1.running_var", torch.full((16,), -1.0), "negative"),
    ],
)
def test_an_array_that_does_not_fit_is_named(
    tmp_path: Path, resnet_arrays: dict[str, Tensor], name: str, value: Tensor | None, words: str
) -> None:
    arrays = {key: array for key, array in resnet_arrays.items() if key != name}
    if value is not None:
        arrays[name] = value
    with pytest.raises(InputError, match=words) as caught:
        features.load("cifar10_resnet20", npz(tmp_path / "w.npz", arrays))
    assert name in str(caught.value)


def test_counters_big_endian_and_unused_arrays_are_no_trouble(
    tmp_path: Path, resnet_arrays: dict[str, Tensor], inception_arrays: dict[str, Tensor]
) -> None:
    swapped = {name: array.numpy().astype(">f8") for name, array in resnet_arrays.items()}
    np.savez(tmp_path / "w.npz", **swapped, **{"bn1.num_batches_tracked": np.array(7)})
    assert weights.read(tmp_path / "w.npz").content == content_hash(resnet_arrays)
    arrays = {name: array for name, array in inception_arrays.items() if name.startswith(("Mixed_7a", "fc"))}
    front = {name: torch.zeros(own.shape) for name, own in InceptionFront().state_dict().items()}
    loading.fill(InceptionFront(), front | arrays | {"AuxLogits.fc.bias": torch.ones(2)}, "here")


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("vgg", None, "inception, inception768, cifar10_resnet20, pixels"),
        ("pixels", Path("w.npz"), "no weights"),
        ("cifar10_resnet20", None, "--feature-weights FILE"),
        ("cifar10_resnet20", Path("nowhere/w.npz"), "nowhere"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(name: str, path: Path | None, words: str) -> None:
    assert words in refusal(name, path)


# The public release


@pytest.fixture
def small_release(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A few arrays whose SHA-256 stands in for the release's."""
    from hashlib import sha256

    file = io.BytesIO()
    torch.save({"fc.weight": torch.ones(2, 3), "bn.num_batches_tracked": torch.tensor(0)}, file)
    for module in (weights, release):
        monkeypatch.setattr(module, "RELEASE", sha256(file.getvalue()).hexdigest())
    return file.getvalue()


def test_without_a_network_one_line_says_which_file_to_bring(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str, timeout: float) -> None:
        assert url == release.URL
        assert timeout <= 10
        raise URLError("no route to host")

    monkeypatch.setattr(release, "urlopen", unreachable)
    for offline in ("1", "0"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        for name in ("inception", "inception768"):
            line = refusal(name, None)
            for words in (release.NAME, "pytorch-fid", "--feature-weights FILE", "--features pixels", str(cache)):
                assert words in line
            assert ("offline mode" in line) == (offline == "1")
    assert not cache.exists()


def test_the_release_is_fetched_once_and_kept_as_safetensors(
    cache: Path, monkeypatch: pytest.MonkeyPatch, small_release: bytes
) -> None:
    calls = []

    def reachable(url: str, timeout: float) -> io.BytesIO:
        calls.append(url)
        return io.BytesIO(small_release)

    monkeypatch.setattr(release, "urlopen", reachable)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    first, second = release.release(), release.release()
    assert calls == [release.URL]
    assert first.file == second.file == weights.RELEASE
    assert first.content == second.content
    assert torch.equal(second.arrays["fc.weight"], torch.ones(2, 3))
    assert [path.name for path in (cache / "features").iterdir()] == ["inception-2015-12-05.safetensors"]

    save_file({"fc.weight": torch.zeros(2, 3)}, release.place())
    with pytest.raises(InputError, match="is damaged: delete it"):
        release.release()


def test_another_answer_than_the_release_is_refused_and_not_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "urlopen", lambda url, timeout: io.BytesIO(b"<html>log in first</html>"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert "another file than the release" in refusal("inception", None)
    assert not cache.exists()


def test_a_brought_release_is_known_by_its_hash_and_a_changed_conversion_is_not(
    cache: Path, tmp_path: Path, small_release: bytes
) -> None:
    path = tmp_path / "anything.pt"
    path.write_bytes(small_release)
    held = weights.read(path)
    assert held.file == weights.RELEASE
    release.keep(held)
    assert weights.read(release.place()).file == weights.RELEASE

    about = {"converted_from_sha256": weights.RELEASE, "content_sha256": held.content}
    save_file({"fc.weight": torch.zeros(2, 3)}, tmp_path / "changed.safetensors", metadata=about)
    changed = weights.read(tmp_path / "changed.safetensors")
    assert changed.file == weights.sha256(changed.source)
    assert not changed.known


def test_a_cache_that_cannot_be_written_costs_a_message_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_release: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DUALMCMC_CACHE", str(tmp_path / "file"))
    release.keep(weights.unpacked(small_release, Path("w.pth")))
    assert "could not be kept" in capsys.readouterr().err


# With real files


REAL, DATA = os.environ.get("DUALMCMC_TEST_FEATURES"), os.environ.get("DUALMCMC_TEST_DATA")


@pytest.mark.skipif(not (REAL and DATA), reason="DUALMCMC_TEST_FEATURES and DUALMCMC_TEST_DATA name no folders")
def test_the_real_resnet20_gets_its_published_accuracy_on_cifar10() -> None:
    """91.73 %, within 3 binomial standard errors of the first 1,000 test images."""
    import pyarrow.parquet
    from PIL import Image

    network = features.load("cifar10_resnet20", Path(REAL or "", "resnet20_cifar10.npz"))
    assert network.label == "fd_resnet20"
    (file,) = Path(DATA or "", "cifar10").glob("test-*.parquet")
    rows = pyarrow.parquet.read_table(file).slice(0, 1000).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])
    probabilities = network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).probabilities
    assert probabilities is not None
    accuracy = (probabilities.argmax(1) == torch.tensor([row["label"] for row in rows])).double().mean().item()
    assert abs(accuracy - 0.9173) <= 3 * (0.9173 * (1 - 0.9173) / 1000) ** 0.5
