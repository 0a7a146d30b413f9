"""Constants that exporters leave to be computed, against numpy."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch

from onnx_models import Array, Step, numbers, read, value
from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.onnx_fold import fold
from tacit.lipschitz.readers.onnx_node import OnnxNode

A, B = numbers(3, 4), numbers(3, 4) + np.float32(2.0)
N = np.array([7, -7, 5], np.int64)


def node(op: str, *inputs: Array, **attributes: object) -> OnnxNode:
    return OnnxNode(
        op=op,
        inputs=tuple(torch.from_numpy(np.array(item)) for item in inputs),
        attributes=attributes,
        opset=17,
        num_outputs=1,
    )


CASES: list[tuple[OnnxNode, Array]] = [
    (node("Add", A, B), A + B),
    (node("Sub", A, B), A - B),
    (node("Mul", A, B), A * B),
    (node("Div", A, B), A / B),
    (node("Div", N, np.array(2)), np.array([3, -3, 2])),  # towards zero, as ONNX says
    (node("Neg", A), -A),
    (node("Sqrt", B), np.sqrt(B)),
    (node("Reciprocal", B), 1 / B),
    (node("MatMul", A, B.T), A @ B.T),
    (node("Identity", A), A),
    (node("Cast", A, to=11), A.astype(np.float64)),
    (node("Cast", B, to=7), B.astype(np.int64)),
    (node("Transpose", A), A.T),
    (node("Transpose", A, perm=[0, 1]), A),
    (node("Reshape", A, np.array([2, -1])), A.reshape(2, 6)),
    (node("Flatten", A, axis=0), A.reshape(1, 12)),
    (node("Squeeze", A[None], np.array([0])), A),
    (node("Unsqueeze", A, np.array([0])), A[None]),
    (node("Slice", A, np.array([1]), np.array([3]), np.array([1])), A[:, 1:3]),
    (node("Gather", A, np.array([[-1, 0]]), axis=0), A[[[-1, 0]]]),
    (node("Gather", N, np.array(1)), N[1]),
    (node("Concat", A, B, axis=1), np.concatenate([A, B], axis=1)),
]


@pytest.mark.parametrize(
    ("item", "wanted"), CASES, ids=lambda item: getattr(item, "op", "")
)
def test_constants_are_computed_as_in_numpy(item: OnnxNode, wanted: Array) -> None:
    torch.testing.assert_close(fold(item), torch.from_numpy(np.array(wanted)))


REFUSED: list[tuple[Callable[[], OnnxNode], type[Exception], str]] = [
    (lambda: node("Einsum", A), UnsupportedLayerError, "is not evaluated"),
    (lambda: node("ConstantOfShape", N), UnsupportedLayerError, "is not evaluated"),
    (lambda: node("Cast", A, to=10), UnsupportedLayerError, "type number 10"),
    (
        lambda: node(
            "Slice", N, np.array([3]), np.array([0]), np.array([0]), np.array([-1])
        ),
        UnsupportedLayerError,
        "step -1",
    ),
    # 2^36 entries from two small inputs.
    (
        lambda: node("Add", np.zeros((2**18, 1)), np.zeros((1, 2**18))),
        InputError,
        "68719476736 entries",
    ),
    (
        lambda: node("MatMul", np.zeros((2**18, 1)), np.zeros((1, 2**18))),
        InputError,
        "at most",
    ),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_what_is_not_computed(
    make: Callable[[], OnnxNode], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fold(make())


def test_constants_computed_in_a_model_are_those_of_the_runtime() -> None:
    steps: Sequence[Step] = [
        ("Transpose", ["w"], {}),
        ("Mul", ["v0", "two"], {}),
        ("MatMul", ["x", "v1"], {}),
    ]
    constants: Mapping[str, Array] = {
        "w": numbers(3, 4),
        "two": np.array(2, np.float32),
    }
    network = read(steps, ("batch", 4), constants)
    wanted = numbers(3, 4)[:, 1] * 2
    assert value(network, 0, 1, 0, 0) == pytest.approx(list(wanted))
