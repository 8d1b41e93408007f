"""The networks are those of the papers: exact parameter counts, every size, each rewriting the same function."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from dualmcmc.networks import build
from dualmcmc.networks.inference import inference_strides
from dualmcmc.networks.layers import FullConv2d, FullConvTranspose2d, PooledConv2d, halvings
from dualmcmc.networks.residual import EnergyBlock, GeneratorBlock
from dualmcmc.presets import PRESETS
from dualmcmc.settings import Images, Networks


def _networks(family: str, size: int, channels: int, widths: tuple[int, int, int], d: int, norm: str = "group"):
    energy, generator, inference = widths
    settings = Networks(
        family=family,  # type: ignore[arg-type]
        latent_dim=d,
        energy_width=energy,
        generator_width=generator,
        inference_width=inference,
        norm=norm,  # type: ignore[arg-type]
    )
    return build(settings, Images(size=size, channels=channels))  # type: ignore[arg-type]


def _counts(networks: tuple[nn.Module, ...]) -> tuple[int, ...]:
    return tuple(sum(p.numel() for p in network.parameters()) for network in networks)


@pytest.mark.parametrize("norm", ["group", "batch"])
@pytest.mark.parametrize(
    ("family", "size", "widths", "counts"),
    [
        ("residual", 32, (512, 512, 128), (16_793_088, 16_024_579, 15_208_064)),
        ("residual", 64, (1024, 1024, 128), (19_536_768, 12_220_675, 15_210_752)),
        ("simple", 32, (64, 64, 64), (1_709_761, 7_870_595, 4_851_648)),
    ],
)
def test_parameter_counts_are_the_released_networks(family, size, widths, counts, norm) -> None:
    assert _counts(_networks(family, size, 3, widths, 128, norm)) == counts


@pytest.mark.parametrize(("width", "count"), [(256, 4_202_240), (1024, 67_140_608)])
def test_the_energy_of_table_7_has_its_parameter_counts(width: int, count: int) -> None:
    assert _counts(_networks("residual", 32, 3, (width, 16, 16), 8))[0] == count


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 128, 256])
@pytest.mark.parametrize("family", ["residual", "simple"])
def test_every_size_maps_codes_to_images_and_images_to_codes_row_by_row(family, size, channels) -> None:
    """Rows do not mix: the gradient of row 0's outputs with respect to row 1's input is exactly zero."""
    energy, generator, inference = _networks(family, size, channels, (16, 16, 8), 5)
    z = torch.randn(2, 5, requires_grad=True)
    x = generator(z)
    assert x.shape == (2, channels, size, size)
    assert x.abs().max() <= 1
    (by_code,) = torch.autograd.grad(x[0].sum(), z)
    assert by_code[0].abs().sum() > 0
    assert by_code[1].abs().sum() == 0
    images = x.detach().requires_grad_()
    mean, log_variance = inference(images)
    assert mean.shape == log_variance.shape == (2, 5)
    (by_pixel,) = torch.autograd.grad(energy(images)[0] + mean[0].sum() + log_variance[0].sum(), images)
    assert by_pixel[0].abs().sum() > 0
    assert by_pixel[1].abs().sum() == 0


@pytest.mark.parametrize("size", [8, 16, 28, 32, 64, 128, 256])
def test_a_size_is_its_start_doubled(size: int) -> None:
    start, count = halvings(size)
    assert start * 2**count == size
    assert start == (7 if size == 28 else 4)
    assert sum(stride == 2 for stride in inference_strides(size, "residual")) == count


def test_a_pooled_convolution_is_a_convolution_then_pooling() -> None:
    layer = PooledConv2d(3, 5).double()
    nn.init.normal_(layer.weight)
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    plain = functional.avg_pool2d(functional.conv2d(x, layer.weight, padding=1), 2)
    assert torch.allclose(layer(x), plain, rtol=1e-12, atol=1e-12)


def test_full_convolutions_are_convolutions() -> None:
    x, z = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    layer, transposed = FullConv2d(3, 5, 4).double(), FullConvTranspose2d(6, 3, 4, bias=False).double()
    plain = functional.conv2d(x, layer.weight, layer.bias).flatten(1)
    assert torch.allclose(layer(x), plain, rtol=1e-12, atol=1e-12)
    plain = functional.conv_transpose2d(z[:, :, None, None], transposed.weight)
    assert torch.allclose(transposed(z), plain, rtol=1e-12, atol=1e-12)


def test_energy_blocks_are_as_released_whatever_the_order_of_pool_and_skip() -> None:
    """Main: [ReLU,] conv, ReLU, conv, pool. Skip: conv 1x1 then pool (the stem: pool then conv 1x1)."""
    for stem in (True, False):
        block = EnergyBlock(4, 6, down=True, stem=stem).double()
        nn.init.normal_(block.second.weight, 0, 0.1)  # type: ignore[arg-type]
        x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
        main = functional.conv2d(x if stem else x.relu(), block.first.weight, padding=1).relu()
        main = functional.avg_pool2d(functional.conv2d(main, block.second.weight, padding=1), 2)
        skip = functional.avg_pool2d(functional.conv2d(x, block.skip.weight), 2)
        assert torch.allclose(block(x), main + skip, rtol=1e-10, atol=1e-12)


def test_generator_blocks_are_as_released_with_the_skip_doubled_last() -> None:
    """Skip: doubled, then conv 1x1 with bias; bilinear weights sum to 1, so the order is free."""
    block = GeneratorBlock(32, 16, "group").double()
    x = torch.randn(2, 32, 4, 4, dtype=torch.float64)

    def double(y: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)

    main = block.second(block.norm_second(block.first(double(block.norm_first(x).relu()))).relu())
    assert torch.allclose(block(x), main + block.skip(double(x)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10_simple"])
def test_presets_build_what_they_say(name: str) -> None:
    config = PRESETS[name]
    energy, generator, inference = build(config.networks, config.images)
    z = torch.randn(2, config.networks.latent_dim)
    x = generator(z)
    assert x.shape[1:] == (config.images.channels, config.images.size, config.images.size)
    assert energy(x).shape == (2,)
    assert inference(x)[0].shape == z.shape


def test_loading_a_model_does_not_import_torchs_compiler(trained: Path) -> None:
    """Seconds of every command: shapes are checked on the meta device, where no weight is to be drawn."""
    script = "import sys; from dualmcmc import Model; Model.from_pretrained(sys.argv[1]).sample(1)"
    script += "; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script, str(trained)], check=False).returncode == 0
