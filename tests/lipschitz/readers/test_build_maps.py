"""Dense layers, windows and batch norm on every shape an original can give them."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cases import normal
from imported import Make, Plain, compare
from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers import build, build_maps


def product(matrix: Tensor, *, on_the_left: bool) -> tuple[Make, Plain]:
    if on_the_left:
        return lambda b, v: build_maps.matmul(b, matrix, v), lambda x: matrix @ x
    return lambda b, v: build_maps.matmul(b, v, matrix), lambda x: x @ matrix


@pytest.mark.parametrize(
    "shape", [(4,), (1, 4), (3, 4), (1, 3, 4), (2, 3, 4), (1, 2, 3, 4), (1, 1, 4)]
)
def test_a_matrix_on_the_right(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    for size in ((4,), (4, 5), (4, 1), (1, 4, 5), (1, 1, 4, 5)):
        compare(*product(normal(generator, *size), on_the_left=False), shape, generator)


@pytest.mark.parametrize(
    "shape", [(4,), (4, 1), (4, 3), (1, 4, 3), (1, 4, 1), (2, 4, 3), (1, 2, 4, 3)]
)
def test_a_matrix_on_the_left_of_columns(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    for size in ((4,), (5, 4), (1, 4), (1, 5, 4)):
        compare(*product(normal(generator, *size), on_the_left=True), shape, generator)


@pytest.mark.parametrize("shape", [(4,), (1, 4), (1, 1), (1,), (2, 4), (1, 3, 4)])
def test_dense_layers_act_on_the_last_axis(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    weight, bias = normal(generator, 3, shape[-1]), normal(generator, 3)
    compare(
        lambda b, v: build_maps.linear(b, v, weight, bias),
        lambda x: functional.linear(x, weight, bias),
        shape,
        generator,
    )


def test_a_stack_of_matrices_is_refused() -> None:
    builder, start = build.start((3, 4), batched=True)
    with pytest.raises(UnsupportedLayerError, match="one constant matrix"):
        build_maps.matmul(builder, start, torch.ones(2, 4, 5))
    with pytest.raises(UnsupportedLayerError, match="constant matrix on one side"):
        build_maps.matmul(builder, start, start)
    with pytest.raises(ShapeError, match="vector and a matrix"):
        build_maps.linear(builder, start, torch.ones(3), None)


@pytest.mark.parametrize("shape", [(1, 2, 6), (2, 6), (1, 1, 6), (1, 6)])
def test_convolutions_with_and_without_batch_axis(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    channels = shape[-2]
    weight, bias = normal(generator, 3, channels, 2), normal(generator, 3)
    compare(
        lambda b, v: build_maps.convolve(b, v, weight, bias, stride=2, padding=1),
        lambda x: functional.conv1d(x, weight, bias, stride=2, padding=1),
        shape,
        generator,
    )
    back = normal(generator, channels, 3, 2)
    compare(
        lambda b, v: build_maps.convolve(b, v, back, bias, stride=2, output_padding=1),
        lambda x: functional.conv_transpose1d(
            x, back, bias, stride=2, output_padding=1
        ),
        shape,
        generator,
    )


@pytest.mark.parametrize("shape", [(1, 2, 6, 4), (2, 6, 4), (1, 6, 4)])
def test_pools_with_and_without_batch_axis(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    compare(
        lambda b, v: build_maps.average_pool(b, v, 2, num_axes=2, padding=1),
        lambda x: functional.avg_pool2d(x, 2, padding=1),
        shape,
        generator,
    )
    compare(
        lambda b, v: build_maps.adaptive_average_pool(b, v, (3, None), num_axes=2),
        lambda x: functional.adaptive_avg_pool2d(x, (3, 4)),
        shape,
        generator,
    )
    compare(
        lambda b, v: build_maps.adaptive_average_pool(b, v, 1, num_axes=2),
        lambda x: functional.adaptive_avg_pool2d(x, 1),
        shape,
        generator,
    )


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 4), (1, 3, 2, 2), (5, 3)])
def test_batch_norm_is_the_one_of_torch(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    mean, weight, bias = (normal(generator, 3) for _ in range(3))
    var = normal(generator, 3).square() + 0.1
    for w, c in ((weight, bias), (None, None), (weight, None)):
        compare(
            lambda b, v, w=w, c=c: build_maps.batch_norm(
                b, v, w, c, mean, var, eps=0.1
            ),
            lambda x, w=w, c=c: functional.batch_norm(x, mean, var, w, c, eps=0.1),
            shape,
            generator,
        )


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (1, 2), (-1,), (0, 1, 2)])
def test_means_and_sums(
    axes: tuple[int, ...], keep: bool, generator: torch.Generator
) -> None:
    for shape in ((1, 3, 4), (2, 3, 4)):
        # Followed by a layer, since the mean of one axis of size 1 is no layer.
        compare(
            lambda b, v: build.shift(
                b, build_maps.mean(b, v, axes, keep=keep), torch.ones(1).double()
            ),
            lambda x: x.mean(axes, keepdim=keep) + torch.ones(1).double(),
            shape,
            generator,
        )
        compare(
            lambda b, v: build.shift(
                b, build_maps.total(b, v, axes, keep=keep), torch.ones(1).double()
            ),
            lambda x: x.sum(axes, keepdim=keep) + torch.ones(1).double(),
            shape,
            generator,
        )


REFUSED: list[tuple[Make, type[Exception], str]] = [
    (
        lambda b, v: build_maps.convolve(b, v, torch.ones(1, 2, 1, 1, 1, 1), None),
        UnsupportedLayerError,
        "1, 2 or 3 axes",
    ),
    (
        lambda b, v: build_maps.convolve(
            b, v.reshaped((12,)), torch.ones(1, 2, 1), None
        ),
        UnsupportedLayerError,
        "takes one sample",
    ),
    (
        lambda b, v: build_maps.convolve(b, v, torch.ones(1, 5, 1), None),
        ShapeError,
        "Conv does not fit",
    ),
    (
        lambda b, v: build_maps.convolve(b, v, torch.ones(1, 2, 1), None, stride=0),
        ShapeError,
        "stride must be",
    ),
    (
        lambda b, v: build_maps.average_pool(b, v, (2, 2), num_axes=1),
        ShapeError,
        "kernel_size must be",
    ),
    (
        lambda b, v: build_maps.adaptive_average_pool(b, v, 4, num_axes=1),
        UnsupportedLayerError,
        "divides the input",
    ),
    (
        lambda b, v: build_maps.adaptive_average_pool(b, v, (1, 2), num_axes=1),
        ShapeError,
        "does not fit",
    ),
    (
        lambda b, v: build_maps.batch_norm(b, v, None, None, None, None, eps=0.1),
        UnsupportedLayerError,
        "stored statistics",
    ),
    (
        lambda b, v: build_maps.batch_norm(
            b, v, None, None, torch.ones(2), -torch.ones(2), eps=0.1
        ),
        InputError,
        "smaller variance",
    ),
    (
        lambda b, v: build_maps.batch_norm(
            b, v, None, None, torch.ones(3), torch.ones(3), eps=0.1
        ),
        ShapeError,
        "as many statistics",
    ),
    (
        lambda b, v: build_maps.batch_norm(
            b, v.reshaped((12,)), None, None, torch.ones(2), torch.ones(2), eps=0.1
        ),
        ShapeError,
        "takes \\(batch",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_what_cannot_be_built_is_refused(
    make: Make, error: type[Exception], message: str
) -> None:
    builder, start = build.start((2, 6), batched=True)
    with pytest.raises(error, match=message):
        make(builder, start)
