"""Values carry the original's shape, layers the sample's; both against plain torch."""

import itertools

import pytest
import torch
from torch import Tensor

from imported import Make, Plain, compare
from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.layers import Activation, Reshape
from tacit.lipschitz.readers import build, build_maps
from tacit.lipschitz.readers.build import Builder, Operand, Value

C = torch.arange(1.0, 5.0, dtype=torch.float64)
SHAPES = [(1, 4), (4,), (1, 3, 4), (3, 4), (1, 1, 4), (2, 1, 4)]


def shifted(c: Tensor) -> tuple[Make, Plain]:
    return lambda b, v: build.shift(b, v, c), lambda x: x + c


def scaled(c: Tensor) -> tuple[Make, Plain]:
    return lambda b, v: build.scale(b, v, c), lambda x: x * c


@pytest.mark.parametrize("shape", SHAPES)
def test_constants_broadcast_as_in_numpy(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    for c in (C, C[:1], C[0], C.reshape(1, 4), C[:2].reshape(2, 1, 1, 1)):
        compare(*shifted(c), shape, generator)
        compare(*scaled(c), shape, generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_may_stand_on_either_side_of_a_difference(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    compare(lambda b, v: build.add(b, C, v, -1.0), lambda x: C - x, shape, generator)
    compare(
        lambda b, v: build.add(b, v, C, -2.0), lambda x: x - 2 * C, shape, generator
    )
    compare(lambda b, v: build.multiply(b, C, v), lambda x: C * x, shape, generator)


def permuted(axes: tuple[int, ...]) -> tuple[Make, Plain]:
    return (
        lambda b, v: build.activation(b, build.permute(b, v, axes), "tanh"),
        lambda x: x.permute(axes).tanh(),
    )


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 4), (2, 3, 4)])
def test_every_permutation_and_no_layer_for_axes_of_one(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    for axes in itertools.permutations(range(len(shape))):
        compare(*permuted(axes), shape, generator)
    builder, start = build.start((3, 1), batched=True)
    build.permute(builder, start, (0, 2, 1))
    assert builder.layers == []


def cut(axis: int, low: int, high: int, step: int, rank: int) -> tuple[Make, Plain]:
    index = [slice(None)] * rank
    index[axis] = slice(low, high, step)
    return lambda b, v: build.cut(b, v, axis, low, high, step), lambda x: x[
        tuple(index)
    ]


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 4), (1, 4), (4,)])
def test_slices_follow_python(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    compared = 0
    for axis in range(-len(shape), len(shape)):
        for low, high, step in ((0, 9, 2), (-2, 9, 1), (0, -1, 1), (1, 10**9, 1)):
            make, plain = cut(axis, low, high, step, len(shape))
            whole = torch.empty(shape)
            if 0 < plain(whole).numel() < whole.numel():
                compare(make, plain, shape, generator)
                compared += 1
    assert compared >= 8


def padded(widths: list[int]) -> tuple[Make, Plain]:
    return (
        lambda b, v: build_maps.pad(b, v, widths),
        lambda x: torch.nn.functional.pad(x, widths),
    )


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 4)])
@pytest.mark.parametrize(
    "widths",
    [[1, 2], [0, 1, 2, 0], [-1, 0], [-1, 2], [0, 0, -1, -1], [2, -1, 1, -2]],
)
def test_padding_grows_and_crops(
    shape: tuple[int, ...], widths: list[int], generator: torch.Generator
) -> None:
    compare(*padded(widths), shape, generator)


def joined(axis: int) -> tuple[Make, Plain]:
    return (
        lambda b, v: build.concat(b, [v, build.activation(b, v, "abs"), v], axis),
        lambda x: torch.cat([x, x.abs(), x], axis),
    )


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 4), (2, 4)])
def test_values_join_along_every_axis(
    shape: tuple[int, ...], generator: torch.Generator
) -> None:
    for axis in range(-len(shape), len(shape)):
        compare(*joined(axis), shape, generator)


def test_sums_of_values_broadcast(generator: torch.Generator) -> None:
    def make(b: Builder, v: Value) -> Operand:
        row = build.cut(b, v, 1, 0, 1)
        column = build.cut(b, v, 2, 1, 2)
        return build.add(b, build.add(b, row, column), v, 3.0)

    compare(make, lambda x: x[:, :1] + x[:, :, 1:2] + 3.0 * x, (1, 3, 4), generator)


def test_expansion_repeats_entries(generator: torch.Generator) -> None:
    compare(
        lambda b, v: build.expand(b, v, (2, 3, 4)),
        lambda x: x.expand(2, 3, 4),
        (3, 1),
        generator,
    )


def test_a_change_of_shape_adds_no_layer_until_one_is_needed() -> None:
    builder, start = build.start((2, 6), batched=True)
    value = start.reshaped((1, 12)).reshaped((1, 3, 4))
    value = build.activation(builder, value, "relu")
    assert len(builder.layers) == 1
    build.settle(builder, value)
    assert [type(layer) for layer, _ in builder.layers] == [Activation, Reshape]


def test_a_gate_of_the_same_value_is_silu(generator: torch.Generator) -> None:
    def make(b: Builder, v: Value) -> Operand:
        return build.multiply(b, build.activation(b, v, "sigmoid"), v)

    compare(make, torch.nn.functional.silu, (1, 4), generator)


def test_products_of_other_values_are_refused() -> None:
    builder, start = build.start((4,), batched=True)
    gate = build.activation(builder, start, "sigmoid")
    other = build.activation(builder, start, "tanh")
    for one, two in ((start, start), (gate, gate), (other, gate), (start, other)):
        with pytest.raises(UnsupportedLayerError, match="product of two values"):
            build.multiply(builder, one, two)


def test_a_gate_over_other_entries_is_not_silu() -> None:
    builder, start = build.start((2, 2), batched=True)
    turned = build.permute(builder, start, (0, 2, 1))
    with pytest.raises(UnsupportedLayerError, match="product of two values"):
        build.multiply(builder, start, build.activation(builder, turned, "sigmoid"))


def test_the_output_need_not_be_the_last_layer(generator: torch.Generator) -> None:
    def make(b: Builder, v: Value) -> Operand:
        value = build.activation(b, v, "abs")
        build.activation(b, value, "tanh")  # nothing reads it
        return value

    compare(make, torch.abs, (1, 3), generator)


REFUSED: list[tuple[Make, type[Exception], str]] = [
    (lambda b, v: v, InputError, "is empty"),
    (lambda b, v: C, InputError, "does not depend on the input"),
    (lambda b, v: v.reshaped((1, 5)), ShapeError, "cannot be reshaped"),
    (lambda b, v: v.reshaped((-1, -4)), ShapeError, "cannot be reshaped"),
    (lambda b, v: build.shift(b, v, torch.ones(3)), ShapeError, "broadcast"),
    (lambda b, v: build.expand(b, v, (2, 5)), ShapeError, "does not expand"),
    (lambda b, v: build.expand(b, v, (4,)), ShapeError, "does not expand"),
    (lambda b, v: build.expand(b, v, (2**30, 4)), InputError, "makes more than"),
    (lambda b, v: build.expand(b, v, (2**15, 4)), InputError, "16384 copies"),
    (lambda b, v: build_maps.pad(b, v, [2**30, 0]), InputError, "must have"),
    (lambda b, v: build_maps.pad(b, v, [1, 1, 1]), ShapeError, "does not fit"),
    (lambda b, v: build_maps.pad(b, v, [-2, -2]), ShapeError, "is empty"),
    (lambda b, v: build.cut(b, v, 2, 0, 1), ShapeError, "does not exist"),
    (
        lambda b, v: build.cut(b, v, 1, 0, 4, -1),
        UnsupportedLayerError,
        "positive step",
    ),
    (lambda b, v: build.permute(b, v, (0, 0)), ShapeError, "do not reorder"),
    (lambda b, v: build.concat(b, [v, C], 0), UnsupportedLayerError, "constant"),
    (lambda b, v: build.concat(b, [], 0), UnsupportedLayerError, "constant"),
    (
        lambda b, v: build.concat(b, [v, build.cut(b, v, 1, 0, 2)], 0),
        ShapeError,
        "cannot be joined",
    ),
    (lambda b, v: build.varying(C), UnsupportedLayerError, "constant"),
    (
        lambda b, v: build.constant(v, "a divisor"),
        UnsupportedLayerError,
        "a divisor",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_what_cannot_be_built_is_refused(
    make: Make, error: type[Exception], message: str
) -> None:
    builder, start = build.start((4,), batched=True)
    with pytest.raises(error, match=message):
        build.finish(builder, make(builder, start))


@pytest.mark.parametrize("shape", [(0,), (-1,), (2**20, 2**20)])
def test_an_impossible_input_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="in_shape"):
        build.start(shape, batched=True)


def test_constants_alone_are_added_and_multiplied() -> None:
    builder, _ = build.start((4,), batched=True)
    total = build.add(builder, C, C, -0.5)
    product = build.multiply(builder, C, C)
    assert isinstance(total, Tensor)
    assert isinstance(product, Tensor)
    assert torch.equal(total, 0.5 * C)
    assert torch.equal(product, C**2)
    assert builder.layers == []
