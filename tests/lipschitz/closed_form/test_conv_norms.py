"""Bounds on convolutions against the singular values of their matrices."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from cases import normal
from tacit.lipschitz.closed_form import conv_norms
from tacit.lipschitz.closed_form.conv_norms import conv_norm_bound
from tacit.lipschitz.layers import AbstractLinear, Conv, ConvTranspose, Shape
from tacit.rng import make_generator


def matrix_of(layer: AbstractLinear, in_shape: Shape) -> Tensor:
    size = math.prod(in_shape)
    batch = torch.eye(size, dtype=torch.float64).reshape(size, *in_shape)
    return layer.apply(batch).reshape(size, -1).T


def bound_of(layer: Conv, in_shape: Shape) -> float:
    size = layer.apply(torch.zeros(1, *in_shape, dtype=torch.float64)).shape[2:]
    return conv_norm_bound(
        layer.weight,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=layer.groups,
        out_size=tuple(size),
    )


def truth_of(layer: AbstractLinear, in_shape: Shape) -> float:
    return float(torch.linalg.svdvals(matrix_of(layer, in_shape))[0])


def pick(generator: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (1,), generator=generator))


@pytest.mark.parametrize("seed", range(60))
def test_the_bound_is_above_the_largest_singular_value(seed: int) -> None:
    generator = make_generator(seed, "conv")
    axes = 1 + seed % 3
    groups = pick(generator, 1, 2)
    kernel = tuple(pick(generator, 1, 4 if axes < 3 else 2) for _ in range(axes))
    dilation = tuple(pick(generator, 1, 2) for _ in range(axes))
    layer = Conv(
        weight=normal(generator, groups * 2, pick(generator, 1, 3), *kernel),
        stride=tuple(pick(generator, 1, 3) for _ in range(axes)),
        padding=tuple(pick(generator, 0, 2) for _ in range(axes)),
        dilation=dilation,
        groups=groups,
    )
    reach = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    spatial = tuple(size + pick(generator, 0, 4 if axes < 3 else 1) for size in reach)
    in_shape = (groups * layer.weight.shape[1], *spatial)
    bound = bound_of(layer, in_shape)
    assert bound >= truth_of(layer, in_shape) * (1 - 1e-13)
    # One output per tap and position is all that padding and stride can hide.
    assert bound <= float(layer.weight.abs().sum()) * (1 + 1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_the_bound_is_close_on_an_image(
    stride: int, generator: torch.Generator
) -> None:
    layer = Conv(
        weight=normal(generator, 4, 2, 3, 3),
        stride=(stride, stride),
        padding=(1, 1),
        dilation=(1, 1),
        groups=1,
    )
    truth = truth_of(layer, (2, 20, 20))
    assert truth <= bound_of(layer, (2, 20, 20)) <= truth * 1.02


def test_a_kernel_as_large_as_the_input_is_a_dense_layer(
    generator: torch.Generator,
) -> None:
    weight = normal(generator, 6, 3, 4, 4)
    ones = (1, 1)
    layer = Conv(weight=weight, stride=ones, padding=(0, 0), dilation=ones, groups=1)
    truth = float(torch.linalg.svdvals(weight.reshape(6, -1))[0])
    assert bound_of(layer, (3, 4, 4)) == pytest.approx(truth, rel=1e-12)


@pytest.mark.parametrize("taps", [2, 3, 4, 7])
def test_a_coarse_grid_still_covers_every_frequency(
    taps: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = Conv(
        weight=normal(generator, 1, 1, taps),
        stride=(1,),
        padding=(0,),
        dilation=(1,),
        groups=1,
    )
    length = 700
    fine = bound_of(layer, (1, length))
    monkeypatch.setattr(conv_norms, "_GRID", 8)
    coarse = bound_of(layer, (1, length))
    truth = truth_of(layer, (1, length))
    assert truth * (1 - 1e-13) <= fine <= truth * 1.005
    assert truth * (1 - 1e-13) <= coarse
    assert fine <= coarse <= truth * 1.1


def test_the_lemma_of_riesz_is_needed_between_grid_points(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Eigenvalues |1 + e^{i (w +- w0)}| of the symbol peak in the middle of the grid.
    monkeypatch.setattr(conv_norms, "_GRID", 8)
    cos, sin = math.cos(math.pi / 8), math.sin(math.pi / 8)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    kernel = torch.stack([torch.eye(2, dtype=torch.float64), turn], dim=2)
    bound = conv_norm_bound(
        kernel, stride=(1,), dilation=(1,), groups=1, out_size=(1000,)
    )
    grid = (torch.arange(8, dtype=torch.float64) * (math.pi / 4))[:, None, None]
    symbols = kernel[..., 0] + torch.exp(1j * grid) * kernel[..., 1]
    assert float(torch.linalg.svdvals(symbols).max()) < 1.97
    assert 2.0 * (1 - 1e-14) <= bound <= 2.0 * (1 + 1e-12)


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_a_transposed_convolution_has_the_norm_of_its_adjoint(
    axes: int, generator: torch.Generator
) -> None:
    layer = ConvTranspose(
        weight=normal(generator, 4, 1, *(3,) * axes),
        stride=(2,) * axes,
        padding=(1,) * axes,
        output_padding=(1,) * axes,
        dilation=(1,) * axes,
        groups=2,
    )
    in_shape = (4, *itertools.repeat(3, axes))
    truth = truth_of(layer, in_shape)
    bound = conv_norm_bound(
        layer.weight,
        stride=layer.stride,
        dilation=layer.dilation,
        groups=2,
        out_size=in_shape[1:],
    )
    assert truth <= bound <= truth * 1.5
