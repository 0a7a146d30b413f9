"""ResNet GAN at a width, against the published layers written out."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tacit.errors import ShapeError
from tacit.minimax.gan.networks_resnet import resnet_discriminator, resnet_generator


def _convolved(x: Tensor, parameters: Mapping[str, Tensor], name: str) -> Tensor:
    weight = parameters[f"{name}.weight"]
    bias = parameters.get(f"{name}.bias")
    return functional.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _normed(x: Tensor, parameters: Mapping[str, Tensor], name: str) -> Tensor:
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    weight, bias = parameters[f"{name}.weight"], parameters[f"{name}.bias"]
    normed = (x - mean) / torch.sqrt(var + 1e-5)
    return normed * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


def _repeated(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def _averaged(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, channels, height // 2, 2, width // 2, 2).mean((3, 5))


def _shaken(network: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, 0.3, generator=generator)
    return dict(network.named_parameters())


def test_the_generator_is_gulrajanis(generator: torch.Generator) -> None:
    network = resnet_generator((3, 32, 32), 4, 5, generator=generator)
    p = _shaken(network, generator)
    z = torch.randn(6, 5, generator=generator)
    x = (z @ p["0.weight"].T + p["0.bias"]).view(6, 4, 4, 4)
    for block in ("2", "3", "4"):
        y = _repeated(_normed(x, p, f"{block}.norm1").clamp(min=0.0))
        y = _convolved(y, p, f"{block}.conv1")
        y = _normed(y, p, f"{block}.norm2").clamp(min=0.0)
        y = _convolved(y, p, f"{block}.conv2")
        x = y + _convolved(_repeated(x), p, f"{block}.shortcut")
    x = _convolved(_normed(x, p, "5").clamp(min=0.0), p, "7")
    torch.testing.assert_close(network(z), torch.tanh(x), rtol=1e-4, atol=1e-4)


def test_the_discriminator_is_gulrajanis(generator: torch.Generator) -> None:
    network = resnet_discriminator(
        (3, 32, 32), 4, spectral_norm=False, generator=generator
    )
    p = _shaken(network, generator)
    x = images = torch.randn(6, 3, 32, 32, generator=generator)
    for block in range(4):
        y = x if block == 0 else x.clamp(min=0.0)
        y = _convolved(y, p, f"{block}.conv1").clamp(min=0.0)
        y = _convolved(y, p, f"{block}.conv2")
        if block < 2:
            y, x = _averaged(y), _averaged(_convolved(x, p, f"{block}.shortcut"))
        x = x + y
    scores = x.clamp(min=0.0).mean((2, 3)) @ p["6.weight"][0] + p["6.bias"]
    torch.testing.assert_close(network(images), scores, rtol=1e-4, atol=1e-4)


def test_a_pass_leaves_its_input_alone(generator: torch.Generator) -> None:
    network = resnet_discriminator(
        (1, 8, 8), 3, spectral_norm=True, generator=generator
    )
    images = torch.randn(4, 1, 8, 8, generator=generator)
    before = images.clone()
    network(images).sum().backward()
    assert torch.equal(images, before)
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize("size", [8, 12, 16, 28, 32, 40, 64, 128])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_sizes(generator: torch.Generator, size: int, spectral_norm: bool) -> None:
    shape = (2, size, size)
    images = resnet_generator(shape, 1, 4, generator=generator)(torch.zeros(2, 4))
    assert images.shape == (2, *shape)
    critic = resnet_discriminator(
        shape, 1, spectral_norm=spectral_norm, generator=generator
    )
    (pool,) = [m for m in critic.modules() if type(m).__name__ == "_Pool"]
    left: list[int] = []

    def look(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        left.append(inputs[0].shape[-1])

    pool.register_forward_pre_hook(look)
    assert critic(images).shape == (2,)
    assert 4 <= left[0] <= 8


def test_channels_of_larger_images_double(generator: torch.Generator) -> None:
    # Gulrajani et al. (2017), appendix F, images of 64: dim = 64 and multiples of it.
    k = 2
    network = resnet_generator((3, 64, 64), k, 4, generator=generator)
    norms = [
        module.num_features // k
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and "norm2" not in name
    ]
    assert norms == [8, 8, 4, 2, 1]
    critic = resnet_discriminator(
        (3, 64, 64), k, spectral_norm=False, generator=generator
    )
    outputs = [
        module.out_channels // k
        for name, module in critic.named_modules()
        if isinstance(module, nn.Conv2d) and "conv2" in name
    ]
    assert outputs == [2, 4, 8, 8]


def test_the_number_of_weights_is_quadratic_in_the_width(
    generator: torch.Generator,
) -> None:
    d, k = 128, 16
    network = resnet_generator((3, 32, 32), k, d, generator=generator)
    block = 2 * k + 9 * k * k + 2 * k + 9 * k * k + k + k * k + k
    first, last = (d + 1) * 16 * k, 2 * k + 3 * 9 * k + 3
    assert sum(p.numel() for p in network.parameters()) == first + 3 * block + last


def test_other_sizes_are_refused(generator: torch.Generator) -> None:
    with pytest.raises(ShapeError, match="30 x 30"):
        resnet_generator((1, 30, 30), 2, 4, generator=generator)
    with pytest.raises(ShapeError, match="make images"):
        resnet_discriminator((5,), 2, spectral_norm=False, generator=generator)
