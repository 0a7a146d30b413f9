"""What ONNX's changes of shape, slices, joins and paddings mean in layers."""

import math

import torch
from torch import Tensor

from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.readers import build, build_maps
from tacit.lipschitz.readers.build import Builder, Operand, Value
from tacit.lipschitz.readers.onnx_node import Handler, OnnxNode, Result, whole_numbers


def new_shape(n: OnnxNode, shape: Shape) -> Shape:
    """Return what a Reshape, Flatten, Squeeze or Unsqueeze makes of ``shape``."""
    match n.op:
        case "Flatten":
            axis = n.integer("axis", 1)
            axis = axis + len(shape) if axis < 0 else axis
            return math.prod(shape[:axis]), math.prod(shape[axis:])
        case "Squeeze":
            axes = n.listed("axes", 1)
            gone = {_axis(a, shape) for a in axes} if axes is not None else set[int]()
            if any(shape[a] != 1 for a in gone):
                raise ShapeError(f"Squeeze of axes {axes} does not fit shape {shape}")
            if axes is None:
                gone = {a for a, size in enumerate(shape) if size == 1}
            return tuple(size for a, size in enumerate(shape) if a not in gone)
        case "Unsqueeze":
            axes = n.listed("axes", 1) or []
            rank = len(shape) + len(axes)
            added = {axis + rank if axis < 0 else axis for axis in axes}
            rest = iter(shape)
            return tuple(1 if a in added else next(rest) for a in range(rank))
        case _:
            return _reshaped(n, shape)


def _reshaped(n: OnnxNode, shape: Shape) -> Shape:
    wanted = n.listed("shape", 1)
    if wanted is None:
        raise InputError("Reshape needs a constant shape")
    if not n.integer("allowzero", 0):
        wanted = [
            shape[i] if size == 0 and i < len(shape) else size
            for i, size in enumerate(wanted)
        ]
    known = math.prod(size for size in wanted if size != -1)
    count = math.prod(shape)
    if wanted.count(-1) > 1 or known < 1 or count % known:
        raise ShapeError(f"a tensor of shape {shape} cannot be reshaped to {wanted}")
    return tuple(count // known if size == -1 else size for size in wanted)


def _axis(axis: int, shape: Shape) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"axis {axis} does not exist in shape {shape}")
    return axis % len(shape)


def _reshape(_: Builder, n: OnnxNode) -> Result:
    x = n.value()
    return x.reshaped(new_shape(n, x.shape))


def _transpose(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    return build.permute(
        b, x, n.integers("perm") or list(reversed(range(len(x.shape))))
    )


def _concat(b: Builder, n: OnnxNode) -> Result:
    parts = [n.operand(i) for i in range(len(n.inputs))]
    return build.concat(b, parts, n.integer("axis", 1))


def _pad(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    value = n.number("value", 0.0)
    if n.has(2):
        value = float(n.constant(2))
    if n.text("mode", "constant") != "constant" or value != 0.0:
        raise UnsupportedLayerError("Pad is read with zeros only")
    pads = n.listed("pads", 1) or []
    rank = len(x.shape)
    chosen = whole_numbers(n.constant(3)) if n.has(3) else list(range(rank))
    if len(pads) != 2 * len(chosen):
        raise ShapeError(f"pads {pads} do not fit axes {chosen} of shape {x.shape}")
    widths = [0] * (2 * rank)
    for place, axis in enumerate(chosen):
        last_first = rank - 1 - _axis(axis, x.shape)
        widths[2 * last_first] = pads[place]
        widths[2 * last_first + 1] = pads[place + len(chosen)]
    return build_maps.pad(b, x, widths)


def slices(n: OnnxNode, shape: Shape) -> list[tuple[int, int, int, int]]:
    """Return (axis, start, stop, step) of every sliced axis."""
    starts, stops = n.listed("starts", 1), n.listed("ends", 2)
    if starts is None or stops is None or len(starts) != len(stops):
        raise InputError("Slice needs constant starts and ends of one length")
    axes = n.listed("axes", 3) or list(range(len(starts)))
    steps = whole_numbers(n.constant(4)) if n.has(4) else [1] * len(starts)
    if not len(starts) == len(axes) == len(steps):
        raise InputError("Slice needs as many axes and steps as starts")
    where = [_axis(axis, shape) for axis in axes]
    return list(zip(where, starts, stops, steps, strict=True))


def _slice(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    for axis, start, stop, step in slices(n, x.shape):
        x = build.cut(b, x, axis, start, stop, step)
    return x


def _split(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    axis = _axis(n.integer("axis", 0), x.shape)
    size, count = x.shape[axis], max(n.num_outputs, 1)
    sizes = n.listed("split", 1)
    if sizes is None:
        part = -(-size // count)
        sizes = [min(part, size - part * i) for i in range(count)]
    if sum(sizes) != size or min(sizes) < 1 or len(sizes) != count:
        raise ShapeError(
            f"Split into {sizes} does not make up axis {axis} of {x.shape}"
        )
    ends = [sum(sizes[: i + 1]) for i in range(count)]
    parts: list[Operand] = [
        build.cut(b, x, axis, end - part, end)
        for part, end in zip(sizes, ends, strict=True)
    ]
    return parts if count > 1 else parts[0]


def _gather(b: Builder, n: OnnxNode) -> Result:
    x, index = n.value(), n.constant(1)
    axis = _axis(n.integer("axis", 0), x.shape)
    picked = whole_numbers(index)
    size = x.shape[axis]
    if any(not -size <= i < size for i in picked):
        raise ShapeError(f"indices {picked} are outside axis {axis} of shape {x.shape}")
    wanted = [i % size for i in picked]
    if not wanted or wanted != list(range(wanted[0], wanted[0] + len(wanted))):
        raise UnsupportedLayerError(
            "Gather is read for one index or consecutive ones only"
        )
    part = build.cut(b, x, axis, wanted[0], wanted[0] + len(wanted))
    return (
        part if index.dim() else part.reshaped((*x.shape[:axis], *x.shape[axis + 1 :]))
    )


def _expand(b: Builder, n: OnnxNode) -> Result:
    x = n.value()
    try:
        shape = torch.broadcast_shapes(x.shape, whole_numbers(n.constant(1)))
    except RuntimeError:
        raise ShapeError(f"Expand does not fit shape {x.shape}") from None
    return build.expand(b, x, tuple(shape))


def _identity(_: Builder, n: OnnxNode) -> Result:
    return n.value()


def _dropout(_: Builder, n: OnnxNode) -> Result:
    is_training = n.has(2) and bool(n.constant(2).any())
    if is_training or (n.opset < 7 and not n.integer("is_test", 0)):
        raise UnsupportedLayerError(
            "Dropout in training mode is random; export in eval mode"
        )
    return n.value()


# Numbers of onnx.TensorProto.DataType.
_FLOAT, _DOUBLE = 1, 11


def _cast(_: Builder, n: OnnxNode) -> Result:
    if n.integer("to", 0) not in (_FLOAT, _DOUBLE):
        raise UnsupportedLayerError("Cast is read between float32 and float64 only")
    return n.value()


def _shape(_: Builder, n: OnnxNode) -> Result:
    operand = n.operand(0)
    sizes = operand.shape if isinstance(operand, Value) else tuple(operand.shape)
    start, stop = n.integer("start", 0), n.integer("end", len(sizes))
    return _integers(sizes[start:stop])


def _integers(sizes: Shape) -> Tensor:
    return torch.tensor(sizes, dtype=torch.int64)


VIEWS: dict[str, Handler] = {
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshape,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
