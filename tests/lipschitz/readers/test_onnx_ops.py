"""Every accepted ONNX operation, each compared with ONNX Runtime by the reader."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from onnx_models import Array, Step, numbers, read
from tacit.errors import ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers.onnx_ops import OPERATIONS

Sizes = Sequence[int | str | None]
Case = tuple[Sequence[Step], Sizes, Mapping[str, Array]]
W = {"w": numbers(3, 4), "c": numbers(3)}
HALF, ROOT = np.array(0.5, np.float32), np.array(2.0**0.5, np.float32)
ONE = np.array(1.0, np.float32)


def one(op: str, sizes: Sizes, **attributes: Any) -> Case:
    return [(op, ["x"], attributes)], sizes, {}


def conv(kernel: Sequence[int], size: Sequence[int], **attributes: Any) -> Case:
    weights = {"w": numbers(4, 1, *kernel), "c": numbers(4)}
    steps = [("Conv", ["x", "w", "c"], {"group": 2, **attributes})]
    return steps, ("batch", 2, *size), weights


def transposed(kernel: Sequence[int], size: Sequence[int], **attributes: Any) -> Case:
    weights = {"w": numbers(2, 3, *kernel), "c": numbers(3)}
    return [("ConvTranspose", ["x", "w", "c"], attributes)], (1, 2, *size), weights


def pool(size: Sequence[int], **attributes: Any) -> Case:
    return one("AveragePool", ("batch", 2, *size), **attributes)


def with_constant(op: str, *, first: bool = False) -> Case:
    inputs = ["k", "x"] if first else ["x", "k"]
    return [(op, inputs, {})], ("batch", 4), {"k": numbers(4)}


CASES: dict[str, list[Case]] = {
    "Gemm": [
        ([("Gemm", ["x", "w", "c"], {"transB": 1})], ("batch", 4), W),
        ([("Gemm", ["x", "w"], {})], ("batch", 3), W),
        (
            [("Gemm", ["x", "w", "c"], {"transB": 1, "alpha": 0.5, "beta": -3.0})],
            (1, 4),
            W,
        ),
        # A column of numbers: the weight stands on the left, or the input is turned.
        ([("Gemm", ["w", "x"], {"transB": 1})], (1, 4), W),
        (
            [("Transpose", ["x"], {}), ("Gemm", ["w", "v0", "k"], {})],
            (1, 4),
            {**W, "k": numbers(3, 1)},
        ),
        (
            [
                ("Transpose", ["x"], {}),
                ("Gemm", ["v0", "w"], {"transA": 1, "transB": 1}),
            ],
            (1, 4),
            W,
        ),
        (
            [
                ("Transpose", ["x"], {}),
                ("Gemm", ["v0", "w"], {"transA": 1, "transB": 1}),
                ("Gemm", ["w", "v1"], {"transA": 1, "transB": 1, "alpha": 2.0}),
            ],
            (1, 4),
            W,
        ),
    ],
    "MatMul": [
        ([("MatMul", ["x", "w"], {})], ("batch", 3), W),
        ([("MatMul", ["x", "w"], {})], (3,), W),
        ([("MatMul", ["w", "x"], {})], (4,), W),
        ([("MatMul", ["w", "x"], {})], (1, 4, 1), W),
        ([("MatMul", ["w", "x"], {})], ("batch", 4, 2), W),
        ([("MatMul", ["x", "w"], {})], (1, 1, 1, 3), W),
        ([("MatMul", ["x", "c"], {})], ("batch", 2, 3), W),
    ],
    "Conv": [
        conv([3], [9], strides=[2], pads=[2, 2], dilations=[2]),
        conv([3, 2], [6, 5], strides=[2, 1], pads=[1, 0, 1, 0]),
        conv([3, 2], [6, 5], pads=[0, 1, 2, 0]),
        conv([2, 2, 2], [3, 4, 3], pads=[1, 0, 0, 0, 1, 1]),
        conv([4, 3], [7, 6], strides=[2, 3], auto_pad="SAME_UPPER"),
        conv([4, 3], [7, 6], strides=[2, 3], auto_pad="SAME_LOWER"),
        conv([4], [7], auto_pad="VALID"),
    ],
    "ConvTranspose": [
        transposed([3], [4], strides=[2], pads=[1, 1], output_padding=[1]),
        transposed([3, 2], [4, 3], strides=[2, 1], pads=[0, 1, 1, 0]),
        transposed([2, 2, 2], [2, 3, 2], strides=[2, 2, 2]),
        transposed([3, 3], [4, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        transposed([3, 3], [4, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
        transposed([3], [4], strides=[2], output_shape=[8]),
        transposed([3], [4], auto_pad="VALID", dilations=[2]),
    ],
    "BatchNormalization": [
        (
            [("BatchNormalization", ["x", "s", "b", "m", "v"], {"epsilon": 1e-2})],
            ("batch", 3, 2),
            {
                "s": numbers(3),
                "b": numbers(3) + 1,
                "m": numbers(3) - 1,
                "v": numbers(3) ** 2 + np.float32(0.2),
            },
        )
    ],
    "AveragePool": [
        pool([8], kernel_shape=[3], strides=[2], pads=[1, 1]),
        pool([7], kernel_shape=[3], strides=[2], pads=[1, 1], count_include_pad=1),
        pool([7, 6], kernel_shape=[3, 2], strides=[2, 2], pads=[0, 1, 2, 0]),
        pool([7, 6], kernel_shape=[3, 2], pads=[0, 1, 2, 0], count_include_pad=1),
        pool([8, 6], kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1),
        pool([7], kernel_shape=[3], strides=[2], auto_pad="SAME_UPPER"),
        pool([6], kernel_shape=[2], strides=[1], auto_pad="SAME_LOWER"),
        pool([4, 4, 3], kernel_shape=[2, 2, 2]),
    ],
    "GlobalAveragePool": [one("GlobalAveragePool", ("batch", 2, 3, 4))],
    "ReduceMean": [
        one("ReduceMean", ("batch", 2, 3, 4), axes=[2, -1]),
        one("ReduceMean", (1, 2, 3), axes=[1], keepdims=0),
        one("ReduceMean", (1, 2, 3)),
    ],
    "ReduceSum": [
        ([("ReduceSum", ["x", "a"], {})], (1, 2, 3), {"a": np.array([2])}),
        (
            [("ReduceSum", ["x"], {"noop_with_empty_axes": 1}), ("Abs", ["v0"], {})],
            (1, 3),
            {},
        ),
    ],
    "Add": [
        with_constant("Add"),
        with_constant("Add", first=True),
        ([("Abs", ["x"], {}), ("Add", ["v0", "x"], {})], ("batch", 4), {}),
        ([("Add", ["x", "k"], {})], ("batch", 2, 2), {"k": numbers(2, 1)}),
    ],
    "Sub": [with_constant("Sub"), with_constant("Sub", first=True)],
    "Mul": [
        with_constant("Mul"),
        with_constant("Mul", first=True),
        ([("Sigmoid", ["x"], {}), ("Mul", ["v0", "x"], {})], ("batch", 4), {}),
        ([("Sigmoid", ["x"], {}), ("Mul", ["x", "v0"], {})], ("batch", 4), {}),
    ],
    "Div": [with_constant("Div")],
    "Sum": [
        ([("Abs", ["x"], {}), ("Sum", ["x", "v0", "k"], {})], (1, 4), {"k": numbers(4)})
    ],
    "Neg": [one("Neg", ("batch", 3))],
    "Abs": [one("Abs", ("batch", 3))],
    "Relu": [one("Relu", ("batch", 3))],
    "LeakyRelu": [one("LeakyRelu", ("batch", 3)), one("LeakyRelu", (1, 3), alpha=0.3)],
    "PRelu": [
        ([("PRelu", ["x", "k"], {})], (1, 3), {"k": np.array([0.2], np.float32)})
    ],
    "Elu": [one("Elu", ("batch", 3)), one("Elu", (1, 3), alpha=0.3)],
    "Selu": [one("Selu", ("batch", 3)), one("Selu", (1, 3), alpha=0.3, gamma=2.0)],
    "Sigmoid": [one("Sigmoid", ("batch", 3))],
    "Tanh": [one("Tanh", ("batch", 3))],
    "Softplus": [one("Softplus", ("batch", 3))],
    "Clip": [
        ([("Clip", ["x", "l"], {})], (1, 9), {"l": np.array(0, np.float32)}),
        (
            [("Clip", ["x", "l", "h"], {})],
            (1, 9),
            {"l": np.array(0, np.float32), "h": np.array(6, np.float32)},
        ),
        (
            [("Clip", ["x", "l", "h"], {})],
            (1, 9),
            {"l": np.array(-1, np.float32), "h": np.array(1, np.float32)},
        ),
        ([("Clip", ["x"], {}), ("Tanh", ["v0"], {})], (1, 9), {}),
    ],
    # GELU as exporters spell it before operator set 20, in three orders.
    "Erf": [
        (
            [
                ("Div", ["x", "root"], {}),
                ("Erf", ["v0"], {}),
                ("Add", ["v1", "one"], {}),
                ("Mul", ["x", "v2"], {}),
                ("Mul", ["v3", "half"], {}),
            ],
            ("batch", 5),
            {"root": ROOT, "one": ONE, "half": HALF},
        ),
        (
            [
                ("Mul", ["x", "root"], {}),
                ("Erf", ["v0"], {}),
                ("Add", ["one", "v1"], {}),
                ("Mul", ["x", "half"], {}),
                ("Mul", ["v3", "v2"], {}),
            ],
            ("batch", 5),
            {"root": 1 / ROOT, "one": ONE, "half": HALF},
        ),
        (
            [
                ("Div", ["x", "root"], {}),
                ("Erf", ["v0"], {}),
                ("Add", ["v1", "one"], {}),
                ("Mul", ["half", "v2"], {}),
                ("Mul", ["v3", "x"], {}),
            ],
            ("batch", 5),
            {"root": ROOT, "one": ONE, "half": HALF},
        ),
    ],
}
# Tested below in the operator set that has it.
NEWER = {"Gelu"}


def test_every_operation_has_a_case() -> None:
    assert set(CASES) | NEWER == set(OPERATIONS)


@pytest.mark.parametrize("op", CASES)
def test_an_operation_means_what_the_runtime_computes(op: str) -> None:
    for steps, sizes, constants in CASES[op]:
        network = read(steps, sizes, constants, opset=17 if op != "ReduceSum" else 13)
        assert network.in_shape == (
            tuple(sizes) if len(sizes) == 1 else tuple(sizes[1:])
        )


@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_gelu_of_operator_set_20(approximate: str) -> None:
    network = read([("Gelu", ["x"], {"approximate": approximate})], (1, 4), opset=20)
    kind = "gelu" if approximate == "none" else "gelu_tanh"
    assert [layer.kind for layer in network.activations] == [kind]


def test_a_spelt_out_gelu_is_one_activation() -> None:
    for steps, sizes, constants in CASES["Erf"]:
        network = read(steps, sizes, constants)
        assert [layer.kind for layer in network.activations] == ["gelu"]


def test_old_operator_sets_are_read() -> None:
    read([("Clip", ["x"], {"min": 0.0, "max": 6.0})], (1, 4), opset=7)
    read([("Clip", ["x"], {"min": 0.0})], (1, 4), opset=7)
    read([("BatchNormalization", list("xsbmv"), {})], (1, 2, 3), _norm(), opset=7)


def _norm() -> dict[str, Array]:
    return {name: numbers(2) ** 2 + np.float32(0.5) for name in "sbmv"}


ONES = {
    "k": np.ones((2, 4, 3), np.float32),
    "s": np.array([0.1, 0.2, 0.3, 0.4], np.float32),
}
REFUSED: list[tuple[Sequence[Step], Mapping[str, Array], type[Exception], str]] = [
    ([("MaxPool", ["x"], {"kernel_shape": [2]})], {}, UnsupportedLayerError, "MaxPool"),
    ([("Softmax", ["x"], {})], {}, UnsupportedLayerError, "accepted are Abs, Add"),
    ([("Mul", ["x", "x"], {})], {}, UnsupportedLayerError, "product of two values"),
    ([("Div", ["k", "x"], {})], ONES, UnsupportedLayerError, "Div of a constant"),
    ([("MatMul", ["x", "k"], {})], ONES, UnsupportedLayerError, "one constant matrix"),
    ([("PRelu", ["x", "s"], {})], ONES, UnsupportedLayerError, "one slope"),
    ([("Erf", ["x"], {})], {}, UnsupportedLayerError, "Erf is read only"),
    (
        [("Mul", ["x", "h"], {}), ("Erf", ["v0"], {})],
        {"h": HALF},
        UnsupportedLayerError,
        "Erf is read only",
    ),
    (
        [("Div", ["x", "r"], {}), ("Erf", ["v0"], {}), ("Relu", ["v1"], {})],
        {"r": ROOT},
        UnsupportedLayerError,
        "Erf is read only",
    ),
    (
        [("Div", ["x", "r"], {}), ("Erf", ["v0"], {}), ("Add", ["v1", "h"], {})],
        {"r": ROOT, "h": HALF},
        UnsupportedLayerError,
        "Erf is read only",
    ),
    (
        [("Clip", ["x", "l"], {})],
        {"l": np.array(-2, np.float32)},
        UnsupportedLayerError,
        "Clip is read between",
    ),
    ([("Gemm", ["x", "k"], {})], ONES, ShapeError, "Gemm takes matrices"),
    (
        [("AveragePool", ["x"], {"kernel_shape": [2], "pads": [1, 1, 1]})],
        {},
        ShapeError,
        "must be given for 1 axes",
    ),
    (
        [("AveragePool", ["x"], {"kernel_shape": [2], "strides": [0]})],
        {},
        ShapeError,
        "must be positive",
    ),
    (
        [("AveragePool", ["x"], {"kernel_shape": [2], "auto_pad": "OTHER"})],
        {},
        UnsupportedLayerError,
        "auto_pad",
    ),
    (
        [("BatchNormalization", ["x", "s", "s", "s", "s"], {"training_mode": 1})],
        ONES,
        UnsupportedLayerError,
        "evaluation mode",
    ),
    (
        [("ConvTranspose", ["x", "k"], {"output_shape": [9]})],
        {"k": np.ones((4, 1, 2), np.float32)},
        UnsupportedLayerError,
        "negative padding",
    ),
]


@pytest.mark.parametrize(("steps", "constants", "error", "message"), REFUSED)
def test_forms_without_a_bound_are_refused(
    steps: Sequence[Step],
    constants: Mapping[str, Array],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message) as caught:
        read(steps, (1, 4, 4), constants)
    assert f"layer 'step{len(steps) - 1}' ({steps[-1][0]})" in str(caught.value)
