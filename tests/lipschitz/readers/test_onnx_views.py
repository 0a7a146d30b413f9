"""Every accepted ONNX change of shape, compared with ONNX Runtime by the reader."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from onnx_models import Array, Step, numbers, read, value
from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers.onnx_views import VIEWS

Case = tuple[Sequence[Step], Sequence[int | str], Mapping[str, Array]]
TANH: Step = ("Tanh", ["v0"], {})


def ints(*entries: int) -> Array:
    return np.array(entries, np.int64)


def view(
    op: str, sizes: Sequence[int | str], *more: Array, **attributes: object
) -> Case:
    """An operation with constant inputs after "x", then tanh."""
    names = [f"k{i}" for i in range(len(more))]
    step: Step = (op, ["x", *names], attributes)
    return [step, TANH], sizes, dict(zip(names, more, strict=True))


IMAGE = ("batch", 2, 3, 4)
FIXED = (1, 2, 3, 4)
CASES: dict[str, list[Case]] = {
    "Cast": [view("Cast", IMAGE, to=1)],
    "Concat": [
        ([("Abs", ["x"], {}), ("Concat", ["x", "v0", "x"], {"axis": -1})], IMAGE, {}),
        ([("Abs", ["x"], {}), ("Concat", ["x", "v0"], {"axis": 0})], FIXED, {}),
    ],
    "Dropout": [view("Dropout", IMAGE)],
    "Expand": [
        view("Expand", ("batch", 2, 1), ints(1, 2, 3)),
        view("Expand", (1, 2, 1), ints(2, 1, 2, 3)),
    ],
    "Flatten": [
        view("Flatten", IMAGE),
        view("Flatten", FIXED, axis=2),
        view("Flatten", FIXED, axis=-1),
        view("Flatten", FIXED, axis=0),
    ],
    "Gather": [
        view("Gather", IMAGE, np.array(-1), axis=3),
        view("Gather", IMAGE, ints(1, 2), axis=-2),
    ],
    "Identity": [view("Identity", IMAGE)],
    "Pad": [
        view("Pad", IMAGE, ints(0, 0, 1, 2, 0, 1, 0, 0)),
        view("Pad", IMAGE, ints(0, 0, -1, 2, 0, 0, 0, -2), np.array(0, np.float32)),
        view("Pad", FIXED, ints(1, 0, 0, 0, 0, 0, 0, 1)),
    ],
    "Reshape": [
        view("Reshape", IMAGE, ints(0, -1)),
        view("Reshape", IMAGE, ints(-1, 24)),
        view("Reshape", IMAGE, ints(0, 0, 12)),
        view("Reshape", FIXED, ints(1, 24)),
        view("Reshape", FIXED, ints(24)),
        view("Reshape", FIXED, ints(4, 6)),
    ],
    "Shape": [
        # The batch size by hand, as old exporters write x.view(x.size(0), -1).
        (
            [
                ("Shape", ["x"], {}),
                ("Gather", ["v0", "zero"], {}),
                ("Unsqueeze", ["v1", "zeros"], {}),
                ("Concat", ["v2", "rest"], {"axis": 0}),
                ("Reshape", ["x", "v3"], {}),
                ("Tanh", ["v4"], {}),
            ],
            IMAGE,
            {"zero": np.array(0), "zeros": ints(0), "rest": ints(-1)},
        )
    ],
    "Slice": [
        view("Slice", IMAGE, ints(1, -2), ints(3, 9), ints(2, 3)),
        view("Slice", IMAGE, ints(0), ints(4), ints(3), ints(2)),
        view("Slice", FIXED, ints(0, 1), ints(1, 2)),
    ],
    "Split": [
        (
            [("Split", ["x", "k"], {"axis": 3}), ("Sub", ["v0.0", "v0.1"], {})],
            IMAGE,
            {"k": ints(2, 2)},
        ),
        ([("Split", ["x"], {"axis": -1}), ("Sub", ["v0.0", "v0.1"], {})], IMAGE, {}),
    ],
    "Squeeze": [
        view("Squeeze", ("batch", 1, 3, 1), ints(1, -1)),
        view("Squeeze", (1, 1, 3, 1)),
    ],
    "Transpose": [
        view("Transpose", IMAGE, perm=[0, 2, 3, 1]),
        view("Transpose", FIXED, perm=[2, 3, 1, 0]),
        view("Transpose", FIXED),
    ],
    "Unsqueeze": [
        view("Unsqueeze", IMAGE, ints(1, -1)),
        view("Unsqueeze", (3,), ints(0)),
    ],
}


def test_every_view_has_a_case() -> None:
    assert set(CASES) == set(VIEWS)


@pytest.mark.parametrize("op", CASES)
def test_a_view_means_what_the_runtime_computes(op: str) -> None:
    outputs = (2,) if op == "Split" else ()
    for steps, sizes, constants in CASES[op]:
        network = read(steps, sizes, constants, outputs=outputs)
        assert network.in_shape == (
            tuple(sizes) if len(sizes) == 1 else tuple(sizes[1:])
        )


def test_axes_as_attributes_of_old_operator_sets() -> None:
    for op, sizes, attributes in (
        ("Squeeze", (1, 1, 3), {"axes": [1]}),
        ("Unsqueeze", (1, 3), {"axes": [1]}),
        ("Pad", (1, 3), {"pads": [0, 1, 0, 2]}),
        ("Slice", (1, 3), {"starts": [1], "ends": [3], "axes": [1]}),
        ("ReduceSum", (1, 3), {"axes": [1]}),
    ):
        read([(op, ["x"], attributes), TANH], sizes, opset=9)


def test_unequal_split_of_operator_set_18() -> None:
    steps: list[Step] = [
        ("Split", ["x"], {"axis": 1, "num_outputs": 2}),
        ("Neg", ["v0.1"], {}),
    ]
    assert value(read(steps, (1, 5), opset=18, outputs=(2,)), 1, 2, 3, 4, 5) == [-4, -5]


def test_padding_of_chosen_axes() -> None:
    steps: list[Step] = [("Pad", ["x", "p", "", "a"], {}), ("Neg", ["v0"], {})]
    network = read(steps, (1, 2), {"p": ints(1, 0), "a": ints(-1)}, opset=18)
    assert value(network, 1.0, 2.0) == [0.0, -1.0, -2.0]


# Models without batch axis, or with column vectors


def test_a_column_vector_is_not_taken_for_rows() -> None:
    """W2 relu(W1 x + b) with x a column, the batch axis nowhere."""
    w1, w2, b = numbers(5, 3), numbers(2, 5), numbers(5, 1)
    steps: list[Step] = [
        ("Reshape", ["x", "k"], {}),
        ("MatMul", ["w1", "v0"], {}),
        ("Add", ["v1", "b"], {}),
        ("Relu", ["v2"], {}),
        ("MatMul", ["w2", "v3"], {}),
    ]
    constants = {"k": ints(3, 1), "w1": w1, "w2": w2, "b": b}
    x = np.array([[0.3], [-1.0], [2.0]])
    wanted = (w2.astype(float) @ np.maximum(w1.astype(float) @ x + b, 0.0)).ravel()
    for sizes in ((1, 1, 1, 3), (1, 3), (3,)):
        network = read(steps, sizes, constants)
        assert value(network, *x.ravel()) == pytest.approx(list(wanted), rel=1e-12)


REFUSED: list[tuple[Case, type[Exception], str]] = [
    (
        view("Pad", IMAGE, ints(*range(8)), mode="reflect"),
        UnsupportedLayerError,
        "zeros",
    ),
    (
        view("Pad", IMAGE, ints(*[0] * 8), np.array(1, np.float32)),
        UnsupportedLayerError,
        "zeros",
    ),
    (view("Pad", IMAGE, ints(1, 1)), ShapeError, "do not fit"),
    (view("Reshape", IMAGE, ints(0, 5)), ShapeError, "cannot be reshaped"),
    (view("Reshape", IMAGE, ints(-1, -1)), ShapeError, "cannot be reshaped"),
    (view("Squeeze", IMAGE, ints(1)), ShapeError, "does not fit shape"),
    (view("Squeeze", IMAGE, ints(7)), ShapeError, "axis 7 does not exist"),
    (
        view("Slice", IMAGE, ints(3), ints(0), ints(3), ints(-1)),
        UnsupportedLayerError,
        "step",
    ),
    (view("Slice", IMAGE, ints(0, 1), ints(1)), InputError, "of one length"),
    (view("Slice", IMAGE, ints(2), ints(2), ints(3)), ShapeError, "is empty"),
    (view("Gather", IMAGE, ints(0, 2), axis=3), UnsupportedLayerError, "consecutive"),
    (view("Gather", IMAGE, ints(9), axis=3), ShapeError, "outside axis"),
    (view("Expand", IMAGE, ints(5)), ShapeError, "does not fit"),
    (view("Cast", IMAGE, to=10), UnsupportedLayerError, "float32 and float64"),
    (view("Cast", IMAGE, to=7), UnsupportedLayerError, "float32 and float64"),
    (view("Transpose", IMAGE, perm=[0, 1]), ShapeError, "do not reorder"),
    (
        view("Dropout", IMAGE, np.array(0.5, np.float32), np.array(1, bool)),
        UnsupportedLayerError,
        "training mode",
    ),
    (
        view("Concat", IMAGE, numbers(1, 2, 3, 4), axis=1),
        UnsupportedLayerError,
        "with a constant",
    ),
    (view("Split", IMAGE, ints(1, 1), axis=3), ShapeError, "does not make up"),
    (
        ([("Abs", ["x"], {}), ("Reshape", ["x", "v0"], {})], (1, 4), {}),
        UnsupportedLayerError,
        "must be constant",
    ),
]


@pytest.mark.parametrize(("case", "error", "message"), REFUSED)
def test_views_that_do_not_fit_are_refused(
    case: Case, error: type[Exception], message: str
) -> None:
    steps, sizes, constants = case
    with pytest.raises(error, match=message):
        read(steps, sizes, constants)


@pytest.mark.parametrize(
    "case",
    [
        view("Reshape", IMAGE, ints(1, -1)),
        view("Flatten", IMAGE, axis=0),
        view("Transpose", IMAGE, perm=[1, 0, 2, 3]),
        ([("ReduceMean", ["x"], {"axes": [0]}), TANH], IMAGE, {}),
    ],
)
def test_samples_of_an_open_batch_must_not_mix(case: Case) -> None:
    with pytest.raises(InputError, match="mixes the samples"):
        read(*case)
