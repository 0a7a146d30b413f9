"""Turn a graph read from elsewhere into layers, one operation at a time.

An imported graph is read at batch size 1. A :class:`Value` carries the shape that the
original tensor has then, batch axis included if there is one, whereas a layer of
:class:`~tacit.lipschitz.network.Network` sees samples without batch axis. Both hold
the same entries in the same order, so a change of shape alone adds no layer: the
operation that needs a particular sample shape asks :func:`arrange` for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.layers import (
    AbstractLinear,
    Activation,
    Add,
    Concat,
    Dense,
    Layer,
    Permute,
    Reshape,
    Scale,
    Shape,
    Shift,
    Slice,
)
from tacit.lipschitz.network import Network, make_network

MAX_VALUE_ENTRIES = 2**27
"""Most entries one value of one sample may have (1 GiB as float64)."""

MAX_COPIES = 2**14
"""Most copies along one axis that broadcasting may make of a value."""

MAX_LAYERS = 100_000
"""Most layers one graph may have."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Value:
    """A tensor of the original graph that depends on the input.

    Parameters
    ----------
    index : int
        Where its entries are, numbered as the inputs of a ``Node``.
    shape : tuple of int
        Its shape in the original graph, run at batch size 1.
    """

    index: int
    shape: Shape

    @property
    def sample(self) -> Shape:
        """Its shape without the leading 1, if it has one: the shape of a sample."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape

    def reshaped(self, shape: Sequence[int]) -> "Value":
        """Return the same entries in another shape."""
        new = tuple(int(size) for size in shape)
        if math.prod(new) != math.prod(self.shape) or any(size < 1 for size in new):
            raise ShapeError(
                f"a tensor of shape {self.shape} cannot be reshaped to {new}; the "
                "number of entries must stay the same"
            )
        return Value(index=self.index, shape=new)


Operand = Value | Tensor

CLIPPINGS: dict[tuple[float | None, float | None], str] = {
    (0.0, None): "relu",
    (0.0, 6.0): "relu6",
    (-1.0, 1.0): "hardtanh",
}
"""Activation kinds that clip, by their lower and upper end."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Builder:
    """The layers so far and the sample shape of the input and of each of them."""

    layers: list[tuple[Layer, tuple[int, ...]]] = field(default_factory=list)
    shapes: list[Shape]


def start(in_shape: Shape, *, batched: bool) -> tuple[Builder, Value]:
    """Return an empty builder and the value of the input.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one sample.
    batched : bool
        Whether the original graph has a batch axis in front of it.

    Returns
    -------
    builder, value

    Raises
    ------
    InputError
        If a size is not positive or the input is too large.
    """
    if any(size < 1 for size in in_shape) or math.prod(in_shape) > MAX_VALUE_ENTRIES:
        raise InputError(
            f"in_shape must hold positive sizes, at most {MAX_VALUE_ENTRIES} entries "
            f"in all; got {in_shape}"
        )
    shape = (1, *in_shape) if batched else in_shape
    return Builder(shapes=[in_shape]), Value(index=0, shape=shape)


def finish(builder: Builder, value: Operand) -> Network:
    """Return the checked network whose output is ``value``.

    Raises
    ------
    InputError
        If the output does not depend on the input or is the input itself.
    """
    if not isinstance(value, Value):
        raise InputError(
            "the output does not depend on the input; a network must compute something "
            "from its input"
        )
    if value.index == 0:
        raise InputError(
            "the network is empty: its output is its input and there is no layer "
            "between them; give a network with at least one layer"
        )
    value = arrange(builder, value, value.sample or (1,))
    return make_network(builder.shapes[0], builder.layers[: value.index])


def emit(
    builder: Builder, layer: Layer, *inputs: Value, shape: Shape | None = None
) -> Value:
    """Append a layer; the value's shape is the input's sample shape unless given."""
    arguments = [
        torch.empty(1, *builder.shapes[v.index], dtype=torch.float64, device="meta")
        for v in inputs
    ]
    try:
        sample = tuple(_on_meta(layer, arguments).shape[1:])
    except (RuntimeError, ValueError, IndexError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ShapeError(
            f"{type(layer).__name__} does not fit a value of shape "
            f"{builder.shapes[inputs[0].index]}: {reason}"
        ) from None
    entries = math.prod(sample)
    if not 0 < entries <= MAX_VALUE_ENTRIES or len(builder.layers) >= MAX_LAYERS:
        raise InputError(
            f"a value must have 1..{MAX_VALUE_ENTRIES} entries and a graph at most "
            f"{MAX_LAYERS} layers; got shape {sample} at layer "
            f"{len(builder.layers) + 1}"
        )
    builder.layers.append((layer, tuple(v.index for v in inputs)))
    builder.shapes.append(sample)
    return Value(index=len(builder.layers), shape=sample).reshaped(
        (1, *sample) if shape is None else shape
    )


def _on_meta(layer: Layer, arguments: list[Tensor]) -> Tensor:
    match layer:
        case Activation():
            return arguments[0]
        case Shift():
            return arguments[0]
        case Dense(weight=weight):
            return Dense(weight=weight.to("meta")).apply(*arguments)
        case Scale(factor=factor):
            return Scale(factor=factor.to("meta")).apply(*arguments)
        case AbstractLinear():
            return layer.apply(*arguments)


def arrange(builder: Builder, value: Value, sample: Shape) -> Value:
    """Return the value with its entries held in the sample shape ``sample``."""
    if builder.shapes[value.index] == sample:
        return value
    return emit(builder, Reshape(shape=sample), value, shape=value.shape)


def settle(builder: Builder, value: Value) -> Value:
    """Return the value held in its own shape, with or without the leading 1."""
    held = builder.shapes[value.index]
    if held in (value.shape, value.sample):
        return value
    return arrange(builder, value, value.sample)


def constant(operand: Operand, what: str) -> Tensor:
    """Return the operand as a constant; refuse one that depends on the input."""
    if isinstance(operand, Tensor):
        return operand
    raise UnsupportedLayerError(
        f"{what} must be constant; got a value that depends on the input"
    )


def varying(operand: Operand) -> Value:
    """Return the operand as a value; refuse a constant."""
    if isinstance(operand, Value):
        return operand
    raise UnsupportedLayerError("a constant is not read here; fold it into a weight")


def activation(
    builder: Builder, value: Value, kind: str, parameter: float = 0.0
) -> Value:
    """Append an elementwise activation."""
    layer = Activation(kind=kind, parameter=parameter)
    return emit(builder, layer, value, shape=value.shape)


def expand(builder: Builder, value: Value, shape: Shape) -> Value:
    """Repeat entries along axes of size 1 until the value has ``shape``."""
    padded = (1,) * (len(shape) - len(value.shape)) + value.shape
    if len(padded) != len(shape) or any(
        have not in (1, want) for have, want in zip(padded, shape, strict=True)
    ):
        raise ShapeError(f"shape {value.shape} does not expand to {shape}")
    copies = max(
        (want for have, want in zip(padded, shape, strict=True) if have != want),
        default=1,
    )
    if math.prod(shape) > MAX_VALUE_ENTRIES or copies > MAX_COPIES:
        raise InputError(
            f"expanding {value.shape} to {shape} makes more than {MAX_VALUE_ENTRIES} "
            f"entries or {MAX_COPIES} copies; use a smaller model"
        )
    value = value.reshaped(padded)
    for axis, want in enumerate(shape):
        if value.shape[axis] != want:
            grown = (*value.shape[:axis], want, *value.shape[axis + 1 :])
            held = arrange(builder, value, value.shape)
            value = emit(builder, Concat(axis=axis), *[held] * want, shape=grown)
    return value


def shift(builder: Builder, value: Value, offset: Tensor) -> Value:
    """Add a constant, broadcast as numpy does."""
    value, offset = _match(builder, value, offset)
    return emit(builder, Shift(offset=offset), value, shape=value.shape)


def scale(builder: Builder, value: Value, factor: Tensor) -> Value:
    """Multiply by a constant, broadcast as numpy does."""
    value, factor = _match(builder, value, factor)
    return emit(builder, Scale(factor=factor), value, shape=value.shape)


def _match(builder: Builder, value: Value, constant: Tensor) -> tuple[Value, Tensor]:
    constant = constant.detach().to(torch.float64)
    shape = _broadcast(value.shape, tuple(constant.shape))
    value = settle(builder, expand(builder, value, shape))
    spare = constant.dim() - len(builder.shapes[value.index])
    return value, constant.reshape(constant.shape[max(spare, 0) :])


def _broadcast(*shapes: Shape) -> Shape:
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError:
        text = " and ".join(map(str, shapes))
        raise ShapeError(f"shapes {text} do not broadcast together") from None


def add(
    builder: Builder, first: Operand, second: Operand, alpha: float = 1.0
) -> Operand:
    """Return ``first + alpha * second``."""
    if isinstance(second, Tensor):
        second = second.to(torch.float64) * alpha
        if isinstance(first, Tensor):
            return first + second
        return shift(builder, first, second)
    second = second if alpha == 1.0 else scale(builder, second, _number(alpha))
    if isinstance(first, Tensor):
        return shift(builder, second, first)
    shape = _broadcast(first.shape, second.shape)
    first = settle(builder, expand(builder, first, shape))
    second = expand(builder, second, shape)
    second = arrange(builder, second, builder.shapes[first.index])
    return emit(builder, Add(), first, second, shape=shape)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def multiply(builder: Builder, first: Operand, second: Operand) -> Operand:
    """Return the product of two operands, one of them constant, or x * sigmoid(x)."""
    if isinstance(second, Tensor):
        if isinstance(first, Tensor):
            return first.to(torch.float64) * second.to(torch.float64)
        return scale(builder, first, second)
    if isinstance(first, Tensor):
        return scale(builder, second, first)
    for x, gate in ((first, second), (second, first)):
        if x.shape == gate.shape and gate.index > 0:
            layer, inputs = builder.layers[gate.index - 1]
            is_sigmoid = isinstance(layer, Activation) and layer.kind == "sigmoid"
            if is_sigmoid and inputs == (x.index,):
                return activation(builder, x, "silu")
    raise UnsupportedLayerError(
        "a product of two values that both depend on the input has no global bound; "
        "only products with constants and x * sigmoid(x) are read"
    )


def permute(builder: Builder, value: Value, axes: Sequence[int]) -> Value:
    """Reorder the axes; moving axes of size 1 alone adds no layer."""
    rank = len(value.shape)
    order = tuple(axis % rank for axis in axes) if rank else ()
    if sorted(order) != list(range(rank)):
        raise ShapeError(
            f"axes {tuple(axes)} do not reorder the axes of shape {value.shape}"
        )
    shape = tuple(value.shape[axis] for axis in order)
    wide = [axis for axis in order if value.shape[axis] > 1]
    if all(a < b for a, b in pairwise(wide)):
        return value.reshaped(shape)
    if value.shape[:1] == (1,) and order[:1] == (0,):
        value = arrange(builder, value, value.shape[1:])
        layer = Permute(axes=tuple(axis - 1 for axis in order[1:]))
    else:
        value = arrange(builder, value, value.shape)
        layer = Permute(axes=order)
    return emit(builder, layer, value, shape=shape)


def axis_of(value: Value, axis: int) -> int:
    """Return ``axis`` counted from the front; refuse one that does not exist."""
    rank = len(value.shape)
    if not -rank <= axis < rank:
        raise ShapeError(f"axis {axis} does not exist in shape {value.shape}")
    return axis % rank


def cut(
    builder: Builder, value: Value, axis: int, start: int, stop: int, step: int = 1
) -> Value:
    """Append ``start:stop:step`` of one axis, Python's rules, ``step`` positive."""
    axis = axis_of(value, axis)
    if step < 1:
        raise UnsupportedLayerError(f"slices need a positive step; got {step}")
    size = value.shape[axis]
    first, last, _ = slice(start, stop, step).indices(size)
    length = len(range(first, last, step))
    if length == size:
        return value
    if length < 1:
        raise ShapeError(
            f"slice {start}:{stop}:{step} of axis {axis} of {value.shape} is empty"
        )
    lead = int(value.shape[:1] == (1,))
    value = arrange(builder, value, value.shape[lead:])
    layer = Slice(axis=axis - lead, start=first, stop=last, step=step)
    shape = (*value.shape[:axis], length, *value.shape[axis + 1 :])
    return emit(builder, layer, value, shape=shape)


def concat(builder: Builder, parts: Sequence[Operand], axis: int) -> Value:
    """Append the joining of values along an axis."""
    values = [part for part in parts if isinstance(part, Value)]
    if len(values) != len(parts) or not values:
        raise UnsupportedLayerError(
            "concatenation with a constant is not read; append the constant to the "
            "weights of the next layer"
        )
    axis = axis_of(values[0], axis)
    shapes = [value.shape for value in values]
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    if len({len(shape) for shape in shapes}) != 1 or len(rest) != 1:
        raise ShapeError(f"shapes {shapes} cannot be joined along axis {axis}")
    shape = (*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :])
    if len(values) == 1:
        return values[0]
    lead = int(shape[0] == 1 and axis > 0)
    held = [arrange(builder, value, value.shape[lead:]) for value in values]
    return emit(builder, Concat(axis=axis - lead), *held, shape=shape)
