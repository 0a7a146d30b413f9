"""Every accepted change of shape against torch's own run of it."""

from collections.abc import Mapping

import pytest
import torch

from imported import compare_graph, one_operation
from tacit.errors import ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers.aten_graph import Argument, AtenGraph, AtenNode, Ref
from tacit.lipschitz.readers.aten_translate import translate
from tacit.lipschitz.readers.aten_views import VIEWS
from tacit.lipschitz.readers.check_import import input_layout
from tacit.lipschitz.readers.from_torch import make_node

X = Ref("x")
Given = Mapping[str, Argument]
IMAGE = (1, 2, 6)
# Shape, arguments, and which of several results is looked at.
CASES: dict[str, list[tuple[tuple[int, ...], Given, int | None]]] = {
    "aten.view.default": [
        (IMAGE, {"self": X, "size": [1, -1]}, None),
        (IMAGE, {"self": X, "size": [4, 3]}, None),
        (IMAGE, {"self": X, "size": [12]}, None),
    ],
    "aten._unsafe_view.default": [(IMAGE, {"self": X, "size": [1, 12]}, None)],
    "aten.reshape.default": [(IMAGE, {"self": X, "shape": [1, 3, 4]}, None)],
    "aten.flatten.using_ints": [
        (IMAGE, {"self": X, "start_dim": 1}, None),
        (IMAGE, {"self": X}, None),
        ((1, 2, 3, 2), {"self": X, "start_dim": -3, "end_dim": -2}, None),
    ],
    "aten.unflatten.int": [(IMAGE, {"self": X, "dim": -1, "sizes": [2, -1]}, None)],
    "aten.squeeze.default": [((1, 1, 2, 1, 3), {"self": X}, None)],
    "aten.squeeze.dim": [((1, 1, 2), {"self": X, "dim": 1}, None)],
    "aten.squeeze.dims": [((1, 1, 2, 1), {"self": X, "dim": [-1, 1, 2]}, None)],
    "aten.unsqueeze.default": [
        (IMAGE, {"self": X, "dim": -1}, None),
        (IMAGE, {"self": X, "dim": 1}, None),
    ],
    "aten.permute.default": [
        (IMAGE, {"self": X, "dims": [0, 2, 1]}, None),
        (IMAGE, {"self": X, "dims": [2, 0, 1]}, None),
    ],
    "aten.transpose.int": [(IMAGE, {"self": X, "dim0": -1, "dim1": 1}, None)],
    "aten.swapaxes.default": [(IMAGE, {"self": X, "axis0": 0, "axis1": 2}, None)],
    "aten.t.default": [((3, 4), {"self": X}, None), ((4,), {"self": X}, None)],
    "aten.numpy_T.default": [((3, 4), {"self": X}, None)],
    "aten.mT.default": [(IMAGE, {"self": X}, None)],
    "aten.movedim.int": [
        ((1, 2, 3, 4), {"self": X, "source": 1, "destination": -1}, None)
    ],
    "aten.movedim.intlist": [
        ((1, 2, 3, 4), {"self": X, "source": [3, 1], "destination": [1, 2]}, None)
    ],
    "aten.expand.default": [
        ((1, 2, 1), {"self": X, "size": [-1, 2, 5]}, None),
        ((1, 3), {"self": X, "size": [2, 1, 3]}, None),
    ],
    "aten.slice.Tensor": [
        (IMAGE, {"self": X, "dim": 2, "start": 1, "end": -1, "step": 2}, None),
        (IMAGE, {"self": X, "dim": 1, "start": 1}, None),
    ],
    "aten.narrow.default": [
        (IMAGE, {"self": X, "dim": 2, "start": 2, "length": 3}, None)
    ],
    "aten.select.int": [
        (IMAGE, {"self": X, "dim": 2, "index": -2}, None),
        (IMAGE, {"self": X, "dim": 0, "index": 0}, None),
    ],
    "aten.unbind.int": [(IMAGE, {"self": X, "dim": 1}, 1)],
    "aten.chunk.default": [
        ((1, 7), {"self": X, "chunks": 3, "dim": 1}, 1),
        ((1, 7), {"self": X, "chunks": 3, "dim": 1}, 2),
    ],
    "aten.split.Tensor": [((1, 7), {"self": X, "split_size": 3, "dim": 1}, 2)],
    "aten.split.sizes": [((1, 7), {"self": X, "split_size": [3, 4], "dim": 1}, 1)],
    "aten.split_with_sizes.default": [
        ((1, 7), {"self": X, "split_sizes": [5, 2], "dim": 1}, 0)
    ],
    "aten.cat.default": [
        (IMAGE, {"tensors": [X, X], "dim": 1}, None),
        (IMAGE, {"tensors": [X, X], "dim": 0}, None),
    ],
    "aten.concat.default": [(IMAGE, {"tensors": [X, X], "dim": -1}, None)],
    "aten.stack.default": [
        (IMAGE, {"tensors": [X, X], "dim": 1}, None),
        (IMAGE, {"tensors": [X, X], "dim": -1}, None),
    ],
    "aten.constant_pad_nd.default": [(IMAGE, {"self": X, "pad": [1, 2, 0, 1]}, None)],
    "aten.pad.default": [(IMAGE, {"self": X, "pad": [1, -2]}, None)],
}
# Tested below: its result is a number.
NUMBERS = {"aten.sym_size.int"}


def test_every_view_has_a_case() -> None:
    assert set(CASES) | NUMBERS == set(VIEWS)


@pytest.mark.parametrize("op", CASES)
def test_a_view_means_what_torch_computes(op: str, generator: torch.Generator) -> None:
    for sizes, given, pick in CASES[op]:
        compare_graph(one_operation(op, given, sizes, pick=pick), generator)


def test_sizes_are_calculated_with(generator: torch.Generator) -> None:
    """A view to (x.shape[0], x.shape[1] * x.shape[2])."""

    def size(axis: int) -> AtenNode:
        given: Given = {"self": X, "dim": axis}
        return make_node(
            "aten.sym_size.int", given, (f"s{axis}",), "here", overwrites=False
        )

    product = make_node(
        "operator.mul",
        {"0": Ref("s1"), "1": Ref("s2")},
        ("p",),
        "here",
        overwrites=False,
    )
    view: Given = {"self": X, "size": [Ref("s0"), Ref("p")]}
    tanh: Given = {"self": Ref("v")}
    nodes = [
        *(size(axis) for axis in range(3)),
        product,
        make_node("aten.view.default", view, ("v",), "here", overwrites=False),
        make_node("aten.tanh.default", tanh, ("out",), "here", overwrites=False),
    ]
    graph = AtenGraph(
        nodes=tuple(nodes),
        constants={},
        input_name="x",
        input_sizes=(1, 2, 3),
        output_name="out",
    )
    assert compare_graph(graph, generator).out_shape == (6,)


REFUSED: list[tuple[str, Given, type[Exception], str]] = [
    ("aten.view.default", {"self": X, "size": [5, -1]}, ShapeError, "cannot be viewed"),
    (
        "aten.view.default",
        {"self": X, "size": [-1, -1]},
        ShapeError,
        "cannot be viewed",
    ),
    ("aten.view.default", {"self": X, "size": [0, -1]}, ShapeError, "cannot be viewed"),
    ("aten.select.int", {"self": X, "dim": 1, "index": 2}, ShapeError, "outside axis"),
    (
        "aten.split.sizes",
        {"self": X, "split_size": [1], "dim": 1},
        ShapeError,
        "make up",
    ),
    ("aten.split.Tensor", {"self": X, "split_size": 0}, ShapeError, "positive size"),
    (
        "aten.pad.default",
        {"self": X, "pad": [1, 1], "mode": "reflect"},
        UnsupportedLayerError,
        "with zeros only; got mode 'reflect'",
    ),
    (
        "aten.constant_pad_nd.default",
        {"self": X, "pad": [1, 1], "value": 0.5},
        UnsupportedLayerError,
        "with zeros only",
    ),
    (
        "aten.cat.default",
        {"tensors": [X, torch.ones(1, 2, 6)], "dim": 1},
        UnsupportedLayerError,
        "concatenation with a constant",
    ),
    (
        "aten.stack.default",
        {"tensors": [X, torch.ones(1, 2, 6)]},
        UnsupportedLayerError,
        "a constant is not read",
    ),
    (
        "aten.slice.Tensor",
        {"self": X, "dim": 3},
        ShapeError,
        "axis 3 does not exist",
    ),
]


@pytest.mark.parametrize(("op", "given", "error", "message"), REFUSED)
def test_views_that_do_not_fit_are_refused(
    op: str, given: Given, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translate(one_operation(op, given, IMAGE), input_layout(IMAGE, None))
