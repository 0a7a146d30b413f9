"""Norms of single layers against the singular values of their matrices."""

import math

import pytest
import torch
from torch import Tensor

from cases import NETWORKS, normal
from tacit.errors import UnsupportedLayerError
from tacit.lipschitz.closed_form.layer_norms import layer_norm_bound, times_up
from tacit.lipschitz.layers import (
    AbstractLinear,
    Add,
    AveragePool,
    Concat,
    Mean,
    Scale,
    Shape,
)
from tacit.rng import make_generator


def truth_of(layer: AbstractLinear, in_shapes: list[Shape]) -> float:
    """Largest singular value of the layer as a map of all its inputs stacked."""
    sizes = [math.prod(shape) for shape in in_shapes]
    parts = torch.eye(sum(sizes), dtype=torch.float64).split(sizes, dim=1)
    batch = [p.reshape(-1, *shape) for p, shape in zip(parts, in_shapes, strict=True)]
    image = layer.apply(*batch).reshape(sum(sizes), -1)
    return float(torch.linalg.svdvals(image)[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_layer_of_the_cases_is_bounded(name: str) -> None:
    network = NETWORKS[name](make_generator(0, name))
    shapes = [network.in_shape, *(node.shape for node in network.nodes)]
    for node in network.nodes:
        if isinstance(node.layer, AbstractLinear):
            in_shapes = [shapes[i] for i in node.inputs]
            bound = layer_norm_bound(node.layer, in_shapes, node.shape)
            assert bound >= truth_of(node.layer, in_shapes) * (1 - 1e-13)


@pytest.mark.parametrize(
    ("layer", "in_shapes"),
    [
        (Add(), [(3,), (3,), (3,)]),
        (Concat(axis=0), [(2, 3), (1, 3)]),
        (Mean(axes=(0, 2), keep_axes=True), [(2, 3, 4)]),
        (Scale(factor=torch.tensor([[1.0], [-3.0]]).double()), [(2, 5)]),
        # One entry that the factor copies to five.
        (Scale(factor=torch.tensor(5 * [2.0]).double()), [(1,)]),
    ],
)
def test_closed_forms_are_exact(layer: AbstractLinear, in_shapes: list[Shape]) -> None:
    inputs = [torch.zeros(1, *shape, dtype=torch.float64) for shape in in_shapes]
    out_shape = tuple(layer.apply(*inputs).shape[1:])
    bound = layer_norm_bound(layer, in_shapes, out_shape)
    truth = truth_of(layer, in_shapes)
    assert truth * (1 - 1e-14) <= bound <= truth * (1 + 1e-12)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 3), (2, 1), (0, 1)), ((3, 2), (1, 3), (1, 0)), ((4, 4), (3, 2), (2, 1))],
)
def test_average_pooling_is_exact(
    kernel: Shape,
    stride: Shape,
    padding: Shape,
    ceil_mode: bool,
    count_include_pad: bool,
) -> None:
    layer = AveragePool(
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    truth = truth_of(layer, [(2, 7, 6)])
    out_shape = layer.apply(torch.zeros(1, 2, 7, 6).double()).shape[1:]
    bound = layer_norm_bound(layer, [(2, 7, 6)], tuple(out_shape))
    assert truth * (1 - 1e-14) <= bound <= truth * (1 + 1e-12)


class Doubling(AbstractLinear):
    """A layer that nobody taught the library."""

    def apply(self, *inputs: Tensor) -> Tensor:
        return 2.0 * inputs[0]


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(UnsupportedLayerError, match="Doubling"):
        layer_norm_bound(Doubling(), [(2,)], (2,))


def test_products_are_rounded_up(generator: torch.Generator) -> None:
    assert times_up() == 1.0
    assert times_up(3.0, 0.0, math.inf) == 0.0
    assert times_up(1e-200, 1e-200) > 0.0
    assert times_up(1e200, 1e200) == math.inf
    factors = normal(generator, 8).abs().tolist()
    assert math.prod(factors) <= times_up(*factors) <= math.prod(factors) * (1 + 1e-14)
