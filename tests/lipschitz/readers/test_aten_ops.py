"""Every accepted ATen operation against torch's own run of it."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from imported import compare_graph, one_operation
from tacit.errors import UnsupportedLayerError
from tacit.lipschitz.readers.aten_graph import Argument, Ref
from tacit.lipschitz.readers.aten_ops import OPERATIONS
from tacit.lipschitz.readers.aten_translate import translate
from tacit.lipschitz.readers.check_import import input_layout

X = Ref("x")
Case = tuple[tuple[int, ...], Mapping[str, Argument]]


def numbers(*shape: int) -> Tensor:
    """Return distinct numbers without symmetry: no transposition goes unseen."""
    count = math.prod(shape)
    return (torch.arange(1.0, count + 1).double() * 0.7).sin().reshape(shape)


STATISTICS: dict[str, Argument] = {
    "weight": numbers(3),
    "bias": numbers(3) + 1.0,
    "running_mean": numbers(3) - 0.5,
    "running_var": numbers(3).square() + 0.2,
    "momentum": 0.1,
    "eps": 1e-3,
}
ON_TWO: dict[str, Argument] = {"self": X, "other": numbers(4)}
WINDOW: dict[str, Argument] = {
    "kernel_size": [2],
    "stride": [1],
    "padding": [1],
    "ceil_mode": True,
    "count_include_pad": False,
}


def _conv(axes: int, **more: Argument) -> dict[str, Argument]:
    base: dict[str, Argument] = {"input": X, "weight": numbers(4, 1, *(2, 3, 2)[:axes])}
    return {**base, "bias": numbers(4), "groups": 2, **more}


def _transposed(axes: int) -> dict[str, Argument]:
    return {
        "input": X,
        "weight": numbers(2, 3, *(2, 3, 2)[:axes]),
        "bias": numbers(3),
        "stride": [2] * axes,
        "padding": [1] * axes,
        "output_padding": [1] * axes,
    }


IMAGE = {1: (1, 2, 6), 2: (1, 2, 6, 5), 3: (1, 2, 4, 5, 3)}
CASES: dict[str, list[Case]] = {
    "aten.linear.default": [
        ((1, 4), {"input": X, "weight": numbers(3, 4), "bias": numbers(3)}),
        ((2, 4), {"input": X, "weight": numbers(3, 4)}),
        ((1, 2, 4), {"input": X, "weight": numbers(3, 4), "bias": numbers(3)}),
    ],
    "aten.addmm.default": [
        ((1, 4), {"self": numbers(3), "mat1": X, "mat2": numbers(4, 3)}),
        (
            (4, 2),
            {
                "self": numbers(3, 1),
                "mat1": numbers(3, 4),
                "mat2": X,
                "alpha": 0.5,
                "beta": -2.0,
            },
        ),
    ],
    "aten.mm.default": [
        ((1, 4), {"self": X, "mat2": numbers(4, 3)}),
        ((4, 2), {"self": numbers(3, 4), "mat2": X}),
    ],
    "aten.matmul.default": [
        ((1, 2, 4), {"self": X, "other": numbers(4, 3)}),
        ((4,), {"self": numbers(3, 4), "other": X}),
    ],
    "aten.conv1d.default": [
        (IMAGE[1], _conv(1, stride=[2], padding=[2], dilation=[2]))
    ],
    "aten.conv2d.default": [(IMAGE[2], _conv(2, stride=[2, 1], padding=[1, 0]))],
    "aten.conv3d.default": [(IMAGE[3], _conv(3, stride=[2, 1, 1], padding=[1, 0, 2]))],
    "aten.conv1d.padding": [
        (IMAGE[1], _conv(1, padding="same", dilation=[3])),
        (IMAGE[1], _conv(1, padding="valid", stride=[2])),
    ],
    "aten.conv2d.padding": [(IMAGE[2], _conv(2, padding="same", dilation=[1, 2]))],
    "aten.conv3d.padding": [(IMAGE[3], _conv(3, padding="same"))],
    "aten.convolution.default": [
        (
            IMAGE[2],
            _conv(
                2,
                stride=[2, 1],
                padding=[1, 0],
                dilation=[1, 1],
                transposed=False,
                output_padding=[0, 0],
            ),
        ),
        (
            IMAGE[1],
            {
                **_transposed(1),
                "dilation": [1],
                "transposed": True,
                "groups": 1,
            },
        ),
    ],
    "aten.conv_transpose1d.default": [(IMAGE[1], _transposed(1))],
    "aten.conv_transpose2d.input": [(IMAGE[2], _transposed(2))],
    "aten.conv_transpose3d.input": [(IMAGE[3], _transposed(3))],
    "aten.batch_norm.default": [
        (
            (1, 3, 2),
            {**STATISTICS, "input": X, "training": False, "cudnn_enabled": False},
        )
    ],
    "aten._native_batch_norm_legit_no_training.default": [
        ((1, 3, 2, 2), {**STATISTICS, "input": X})
    ],
    "aten.avg_pool1d.default": [((1, 2, 5), {"self": X, **WINDOW})],
    "aten.avg_pool2d.default": [
        ((1, 2, 5, 4), {"self": X, **WINDOW}),
        ((1, 2, 6, 4), {"self": X, "kernel_size": [3, 2]}),
    ],
    "aten.avg_pool3d.default": [((1, 2, 4, 4, 3), {"self": X, **WINDOW})],
    "aten.adaptive_avg_pool1d.default": [((1, 2, 6), {"self": X, "output_size": [3]})],
    "aten.adaptive_avg_pool2d.default": [
        ((1, 2, 6, 4), {"self": X, "output_size": [3, 4]}),
        ((1, 2, 6, 4), {"self": X, "output_size": [1, 1]}),
    ],
    "aten.adaptive_avg_pool3d.default": [
        ((1, 2, 4, 2, 3), {"self": X, "output_size": [2, 1, 3]})
    ],
    "aten._adaptive_avg_pool2d.default": [
        ((1, 2, 6, 4), {"self": X, "output_size": [2, 2]})
    ],
    "aten._adaptive_avg_pool3d.default": [
        ((1, 2, 4, 2, 3), {"self": X, "output_size": [1, 1, 1]})
    ],
    "aten.mean.dim": [((1, 3, 4), {"self": X, "dim": [-1], "keepdim": True})],
    "aten.mean.default": [((1, 3, 4), {"self": X})],
    "aten.sum.dim_IntList": [((1, 3, 4), {"self": X, "dim": [1, 2]})],
    "aten.sum.default": [((3, 4), {"self": X})],
    "aten.add.Tensor": [
        ((1, 4), {**ON_TWO, "alpha": 3.0}),
        ((1, 4), {"self": numbers(4), "other": X, "alpha": 3.0}),
        ((1, 4), {"self": X, "other": X, "alpha": -0.5}),
    ],
    "aten.add.Scalar": [((1, 4), {"self": X, "other": 2.5, "alpha": 2})],
    "aten.sub.Tensor": [
        ((1, 4), {**ON_TWO, "alpha": 3.0}),
        ((1, 4), {"self": numbers(4), "other": X, "alpha": 3.0}),
    ],
    "aten.sub.Scalar": [((1, 4), {"self": X, "other": 2, "alpha": 2})],
    "aten.rsub.Tensor": [((1, 4), {**ON_TWO, "alpha": 3.0})],
    "aten.rsub.Scalar": [((1, 4), {"self": X, "other": 2.0, "alpha": 3.0})],
    "aten.mul.Tensor": [((1, 4), ON_TWO), ((1, 4), {"self": numbers(4), "other": X})],
    "aten.mul.Scalar": [((1, 4), {"self": X, "other": -2})],
    "aten.div.Tensor": [((1, 4), ON_TWO)],
    "aten.div.Scalar": [((1, 4), {"self": X, "other": 3})],
    "aten.neg.default": [((1, 4), {"self": X})],
    "aten.relu.default": [((1, 4), {"self": X})],
    "aten.relu6.default": [((1, 40), {"self": X})],
    "aten.hardtanh.default": [
        ((1, 40), {"self": X}),
        ((1, 40), {"self": X, "min_val": 0.0, "max_val": 6.0}),
    ],
    "aten.clamp.default": [
        ((1, 40), {"self": X, "min": 0}),
        ((1, 40), {"self": X, "min": 0, "max": 6}),
        ((1, 40), {"self": X, "min": -1, "max": 1}),
    ],
    "aten.clamp_min.default": [((1, 4), {"self": X, "min": 0})],
    "aten.leaky_relu.default": [((1, 4), {"self": X, "negative_slope": -0.3})],
    "aten.prelu.default": [
        ((1, 4), {"self": X, "weight": torch.tensor([0.3]).double()})
    ],
    "aten.tanh.default": [((1, 4), {"self": X})],
    "aten.sigmoid.default": [((1, 4), {"self": X})],
    "aten.silu.default": [((1, 4), {"self": X})],
    "aten.abs.default": [((1, 4), {"self": X})],
    "aten.elu.default": [
        ((1, 40), {"self": X, "alpha": 1.7}),
        ((1, 40), {"self": X, "alpha": 1.7, "scale": 1.3}),
    ],
    "aten.selu.default": [((1, 40), {"self": X})],
    "aten.softplus.default": [((1, 40), {"self": X, "beta": 1.5, "threshold": 50.0})],
    "aten.gelu.default": [
        ((1, 40), {"self": X}),
        ((1, 40), {"self": X, "approximate": "tanh"}),
    ],
    "aten.dropout.default": [((1, 4), {"input": X, "p": 0.5, "train": False})],
    "aten.feature_dropout.default": [((1, 4), {"input": X, "p": 0.5, "train": False})],
    "aten.alpha_dropout.default": [((1, 4), {"input": X, "p": 0.5, "train": False})],
    "aten.to.dtype": [((1, 4), {"self": X, "dtype": torch.float64})],
    "aten._to_copy.default": [((1, 4), {"self": X, "dtype": torch.float64})],
    "aten.detach.default": [((1, 4), {"self": X})],
    "aten.clone.default": [((1, 4), {"self": X})],
    "aten.contiguous.default": [((1, 4), {"self": X})],
    "aten.alias.default": [((1, 4), {"self": X})],
    "aten.lift_fresh_copy.default": [((1, 4), {"self": X})],
}


def test_every_operation_has_a_case() -> None:
    assert set(CASES) == set(OPERATIONS)


@pytest.mark.parametrize("op", CASES)
def test_an_operation_means_what_torch_computes(
    op: str, generator: torch.Generator
) -> None:
    for sizes, given in CASES[op]:
        pick = 0 if "no_training" in op else None
        compare_graph(one_operation(op, given, sizes, pick=pick), generator)


REFUSED: list[tuple[str, tuple[int, ...], Mapping[str, Argument], str]] = [
    (
        "aten.clamp.default",
        (1, 4),
        {"self": X, "min": -2, "max": 1},
        "clipping is read",
    ),
    ("aten.hardtanh.default", (1, 4), {"self": X, "min_val": -2.0}, "clipping is read"),
    ("aten.elu.default", (1, 4), {"self": X, "input_scale": 2.0}, "input scale"),
    ("aten.softplus.default", (1, 4), {"self": X, "threshold": 1}, "jumps"),
    ("aten.prelu.default", (1, 4), {"self": X, "weight": numbers(4)}, "one slope"),
    (
        "aten.dropout.default",
        (1, 4),
        {"input": X, "p": 0.5, "train": True},
        "training mode is random",
    ),
    (
        "aten.batch_norm.default",
        (1, 3),
        {**STATISTICS, "input": X, "training": True, "cudnn_enabled": False},
        "training mode depends",
    ),
    (
        "aten.avg_pool2d.default",
        (1, 2, 4, 4),
        {"self": X, "kernel_size": [2, 2], "divisor_override": 3},
        "divisor_override",
    ),
    (
        "aten.to.dtype",
        (1, 4),
        {"self": X, "dtype": torch.float16},
        "changes the function",
    ),
    (
        "aten.to.dtype",
        (1, 4),
        {"self": X, "dtype": torch.int64},
        "changes the function",
    ),
    ("aten.mul.Tensor", (1, 4), {"self": X, "other": X}, "product of two values"),
    ("aten.div.Tensor", (1, 4), {"self": numbers(4), "other": X}, "a divisor must be"),
    ("aten.div.Tensor", (1, 4), {"self": X, "other": X}, "a divisor must be"),
    ("aten.mm.default", (2, 2), {"self": X, "mat2": X}, "constant matrix on one side"),
    ("aten.linear.default", (2, 2), {"input": X, "weight": X}, "must be constant"),
]


@pytest.mark.parametrize(("op", "sizes", "given", "message"), REFUSED)
def test_forms_without_a_bound_are_refused(
    op: str, sizes: tuple[int, ...], given: Mapping[str, Argument], message: str
) -> None:
    layout = input_layout(sizes, sizes)
    with pytest.raises(UnsupportedLayerError, match=message) as caught:
        translate(one_operation(op, given, sizes), layout)
    assert f"here ({op})" in str(caught.value)
