"""Drawn weights: their law, their stream, and the spectral norm."""

import math

import pytest
import torch
from torch import nn

from tacit.errors import InputError
from tacit.minimax.gan.networks_weights import (
    Gain,
    check_size,
    make_convolution,
    make_doubling,
    make_linear,
    normalise_spectrally,
)
from tacit.rng import make_generator


@pytest.mark.parametrize(
    ("gain", "std"),
    [
        ("normalised", 0.02),
        ("relu", math.sqrt(2.0 / 200)),
        ("linear", math.sqrt(1.0 / 200)),
    ],
)
def test_weights_have_the_stated_law(
    generator: torch.Generator, gain: Gain, std: float
) -> None:
    weight = make_linear(200, 400, gain, generator=generator).weight.detach()
    # Of 80,000 normal numbers: five standard errors of mean and of standard deviation.
    error = 5.0 * std / math.sqrt(weight.numel())
    assert abs(float(weight.mean())) < error
    assert abs(float(weight.std()) - std) < error / math.sqrt(2.0)


def test_an_output_keeps_its_variance(generator: torch.Generator) -> None:
    # Whatever the kind of layer: fan_in counts the inputs that one output sees.
    x = torch.randn(64, 32, 8, 8, generator=generator)
    convolution = make_convolution(
        32, 16, "linear", kernel=4, stride=2, padding=1, generator=generator
    )
    doubling = make_doubling(32, 16, "linear", generator=generator)
    for layer, inner in ((convolution, 1), (doubling, 2)):
        y = layer(x)[:, :, inner:-inner, inner:-inner].detach()
        assert abs(float(y.var()) - 1.0) < 0.15


def test_biases_are_zero_or_missing(generator: torch.Generator) -> None:
    assert not make_linear(3, 4, "relu", generator=generator).bias.any()
    assert make_linear(3, 4, "relu", bias=False, generator=generator).bias is None
    assert make_doubling(3, 4, "relu", bias=False, generator=generator).bias is None
    layer = make_convolution(3, 4, "relu", kernel=3, generator=generator)
    assert layer.bias is not None
    assert not layer.bias.any()


def test_one_seed_gives_one_layer() -> None:
    def draw(seed: int) -> nn.Conv2d:
        stream = make_generator(seed)
        layer = make_convolution(3, 8, "relu", kernel=3, generator=stream)
        normalise_spectrally(layer, generator=stream)
        return layer

    first, again, other = draw(0).state_dict(), draw(0).state_dict(), draw(1)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["parametrizations.weight.original"], other.weight)
    vectors = [name for name in first if name.startswith("parametrizations.weight.0")]
    assert len(vectors) == 2
    for name in vectors:
        assert not torch.equal(first[name], other.state_dict()[name])


def test_the_largest_singular_value_becomes_one(generator: torch.Generator) -> None:
    layer = make_convolution(3, 8, "normalised", kernel=3, generator=generator)
    largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
    normalise_spectrally(layer, generator=generator)
    # Right after it is made it is within a few percent, as the power steps have begun.
    normalised = layer.weight.detach().flatten(1)
    assert 0.99 < float(torch.linalg.matrix_norm(normalised, 2)) < 1.1
    for _ in range(200):
        layer(torch.zeros(1, 3, 4, 4))
    layer.eval()
    torch.testing.assert_close(
        torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2), torch.ones(())
    )
    original = layer.get_parameter("parametrizations.weight.original").detach()
    torch.testing.assert_close(layer.weight.detach(), original / largest)


def test_a_spectral_norm_is_restored_with_its_state() -> None:
    def fresh(seed: int) -> nn.Linear:
        layer = make_linear(5, 7, "relu", generator=make_generator(seed))
        normalise_spectrally(layer, generator=make_generator(seed, "vectors"))
        return layer

    x = torch.randn(4, 5, generator=make_generator(0, "x"))
    one, two = fresh(1), fresh(2)
    one(x)
    two.load_state_dict(one.state_dict())
    for _ in range(3):
        assert torch.equal(one(x), two(x))


def test_a_layer_beyond_memory_is_refused() -> None:
    check_size(2**31)
    with pytest.raises(
        InputError, match=r"at most 2147483648 weights.*lower the width"
    ):
        check_size(2**31 + 1)
    with pytest.raises(InputError, match="lower the width"):
        make_linear(10**6, 10**6, "relu", generator=make_generator(0))
    with pytest.raises(InputError, match="lower the width"):
        make_convolution(10**5, 10**5, "relu", kernel=3, generator=make_generator(0))
    with pytest.raises(InputError, match="lower the width"):
        make_doubling(10**5, 10**5, "relu", generator=make_generator(0))
