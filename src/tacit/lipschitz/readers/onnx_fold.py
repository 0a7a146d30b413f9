"""Evaluate the few ONNX operations that exporters leave between constants."""

from collections.abc import Callable

import torch
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.build import MAX_VALUE_ENTRIES
from tacit.lipschitz.readers.onnx_node import OnnxNode
from tacit.lipschitz.readers.onnx_views import new_shape, slices

# Numbers of onnx.TensorProto.DataType.
_DTYPES = {
    1: torch.float32,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    11: torch.float64,
}

# Takes the tensors, on the meta device first to learn the size of the result.
_Function = Callable[[OnnxNode, list[Tensor]], Tensor]


def _divide(_: OnnxNode, x: list[Tensor]) -> Tensor:
    if x[0].is_floating_point():
        return x[0] / x[1]
    return torch.div(x[0], x[1], rounding_mode="trunc")


def _transpose(n: OnnxNode, x: list[Tensor]) -> Tensor:
    return x[0].permute(n.integers("perm") or list(reversed(range(x[0].dim()))))


def _slice(n: OnnxNode, x: list[Tensor]) -> Tensor:
    index = [slice(None)] * x[0].dim()
    for axis, start, stop, step in slices(n, tuple(x[0].shape)):
        if step < 1:
            raise UnsupportedLayerError(
                f"Slice of a constant with step {step} is not read"
            )
        index[axis] = slice(start, stop, step)
    return x[0][tuple(index)]


def _gather(n: OnnxNode, x: list[Tensor]) -> Tensor:
    axis = n.integer("axis", 0) % max(x[0].dim(), 1)
    index = x[1].to(torch.int64)
    if x[1].device.type != "meta":
        index = torch.where(index < 0, index + x[0].shape[axis], index)
    picked = x[0].index_select(axis, index.reshape(-1))
    return picked.reshape((*x[0].shape[:axis], *index.shape, *x[0].shape[axis + 1 :]))


def _cast(n: OnnxNode, x: list[Tensor]) -> Tensor:
    dtype = _DTYPES.get(n.integer("to", 0))
    if dtype is None:
        raise UnsupportedLayerError(
            f"Cast to type number {n.integer('to', 0)} is not read"
        )
    return x[0].to(dtype)


def _reshape(n: OnnxNode, x: list[Tensor]) -> Tensor:
    return x[0].reshape(new_shape(n, tuple(x[0].shape)))


_FUNCTIONS: dict[str, _Function] = {
    "Add": lambda _, x: x[0] + x[1],
    "Sub": lambda _, x: x[0] - x[1],
    "Mul": lambda _, x: x[0] * x[1],
    "Div": _divide,
    "Neg": lambda _, x: -x[0],
    "Sqrt": lambda _, x: x[0].sqrt(),
    "Reciprocal": lambda _, x: x[0].reciprocal(),
    "MatMul": lambda _, x: x[0] @ x[1],
    "Identity": lambda _, x: x[0],
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": lambda n, x: torch.cat(x, dim=n.integer("axis", 1)),
}


def fold(node: OnnxNode) -> Tensor:
    """Return the result of an operation on constants.

    Raises
    ------
    UnsupportedLayerError
        If the operation is not one that is evaluated.
    InputError
        If the result is too large.
    """
    if node.op not in _FUNCTIONS:
        raise UnsupportedLayerError(
            f"{node.op} of constants is not evaluated; simplify the model before export"
        )
    tensors = [node.constant(i) for i in range(len(node.inputs)) if node.has(i)]
    function = _FUNCTIONS[node.op]
    claimed = function(node, [tensor.to("meta") for tensor in tensors]).numel()
    if claimed > MAX_VALUE_ENTRIES:
        raise InputError(
            f"{node.op} makes a constant of {claimed} entries; at most "
            f"{MAX_VALUE_ENTRIES} are accepted"
        )
    return function(node, tensors)
