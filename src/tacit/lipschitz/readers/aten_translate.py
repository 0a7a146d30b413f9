"""Translate a graph of ATen operations into a network, and check the result."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.network import Network
from tacit.lipschitz.readers import build
from tacit.lipschitz.readers.aten_arguments import Arguments
from tacit.lipschitz.readers.aten_graph import (
    ARITHMETIC,
    AtenGraph,
    AtenNode,
    bind,
    calculate,
    call,
    evaluate,
    holds_value,
    resolve,
)
from tacit.lipschitz.readers.aten_ops import OPERATIONS
from tacit.lipschitz.readers.aten_views import VIEWS
from tacit.lipschitz.readers.build import Builder, Value
from tacit.lipschitz.readers.check_import import (
    InputLayout,
    Original,
    check_import,
    input_layout,
)
from tacit.lipschitz.readers.place import located

ACCEPTED = (
    "Linear, Conv1d-3d, ConvTranspose1d-3d, BatchNorm (eval), average pooling, mean, "
    "flatten, reshape, permute, slices, concatenation, zero padding, dropout (eval), "
    "sums, products with constants, ReLU, ReLU6, LeakyReLU, Hardtanh, Tanh, Sigmoid, "
    "ELU, SELU, SiLU, GELU, Softplus and abs"
)
"""What the readers accept, for messages."""

TABLE = OPERATIONS | VIEWS
# Evaluated on constants only, as in weight normalisation.
_ON_CONSTANTS = frozenset(
    f"aten.{name}"
    for name in (
        "_weight_norm.default",
        "_weight_norm_interface.default",
        "norm.ScalarOpt_dim",
        "linalg_vector_norm.default",
        "sqrt.default",
        "rsqrt.default",
        "reciprocal.default",
        "exp.default",
        "pow.Tensor_Scalar",
        "arange.default",
        "eye.default",
        "ones.default",
        "zeros.default",
        "full.default",
    )
)
_IGNORED = frozenset({"aten._assert_tensor_metadata.default"})
KNOWN = TABLE.keys() | _ON_CONSTANTS | ARITHMETIC | _IGNORED | {"operator.getitem"}
"""Operations that may be looked up and run; all others are refused unseen."""


def refuse_unknown(nodes: Sequence[AtenNode]) -> None:
    """Refuse operations that are not accepted, before anything else is asked of them.

    Raises
    ------
    UnsupportedLayerError
        Naming the first one and its place.
    """
    for node in nodes:
        if node.op not in KNOWN:
            raise _unsupported(node)


def translate(graph: AtenGraph, layout: InputLayout) -> Network:
    """Return the network of a graph, unchecked against any run of it.

    Raises
    ------
    UnsupportedLayerError
        If an operation is not accepted; the message names it and its place.
    InputError
        If an argument is not what the operation takes.
    ShapeError
        If shapes do not fit together.
    """
    for name, tensor in graph.constants.items():
        if tensor.is_complex() or tensor.dtype in (torch.float16, torch.bfloat16):
            raise InputError(
                f"weights must be float32 or float64; {name} is {tensor.dtype}; "
                "convert the model with .float() before exporting it"
            )
    refuse_unknown(graph.nodes)
    builder, start = build.start(layout.sample, batched=layout.batched)
    values: dict[str, object] = {**graph.constants, graph.input_name: start}
    for node in graph.nodes:
        arguments = {
            name: resolve(item, values) for name, item in node.arguments.items()
        }
        bind(node, _apply(builder, node, arguments), values)
    output = values.get(graph.output_name)
    if not isinstance(output, Value | Tensor):
        raise InputError("the output of the graph is not a tensor that it computes")
    return build.finish(builder, output)


def _apply(builder: Builder, node: AtenNode, arguments: Mapping[str, object]) -> object:
    where = f"{node.place} ({node.op})"
    with located(where):
        return _result(builder, node, arguments)


def _result(
    builder: Builder, node: AtenNode, arguments: Mapping[str, object]
) -> object:
    if node.op in _IGNORED:
        return None
    if node.op in ARITHMETIC:
        return calculate(node.op, list(arguments.values()))
    if node.op == "operator.getitem":
        items = cast("list[object]", arguments["items"])
        return items[cast("int", arguments["index"])]
    if not holds_value(arguments):
        return call(node.op, arguments)
    if node.op not in TABLE:
        raise _unsupported(node)
    return TABLE[node.op](builder, Arguments(arguments))


def _unsupported(node: AtenNode) -> UnsupportedLayerError:
    return UnsupportedLayerError(
        f"no bound is proved for layer {node.place}, operation {node.op}; accepted are "
        f"{ACCEPTED}"
    )


def from_graph(graph: AtenGraph, in_shape: Shape | None = None) -> Network:
    """Translate a graph and compare the result with torch's own run of it.

    Raises
    ------
    UnsupportedLayerError, InputError, ShapeError
        As :func:`translate`.
    ImportMismatchError
        If the network does not compute what the graph computes.
    """
    layout = input_layout(graph.input_sizes, in_shape)
    network = checked_network(graph, layout)
    if graph.dtype != torch.float64:
        check_import(network, _original(graph, layout, graph.dtype))
    return network


def checked_network(graph: AtenGraph, layout: InputLayout) -> Network:
    """Translate a graph and compare with torch's run of it in float64.

    In float64 rounding hides less than in the program's own float32.
    """
    network = translate(graph, layout)
    check_import(network, _original(graph, layout, torch.float64))
    return network


def _original(graph: AtenGraph, layout: InputLayout, dtype: torch.dtype) -> Original:
    def each(batch: Tensor) -> Tensor:
        return torch.stack([evaluate(graph, sample) for sample in batch])

    run: Callable[[Tensor], Tensor] = each
    if layout.batched:
        run = lambda batch: evaluate(graph, batch)  # noqa: E731
    is_open = layout.batched and graph.input_sizes[0] is None
    name = f"the program in {str(dtype).removeprefix('torch.')}"
    return Original(run=run, dtype=dtype, name=name, takes_batches=is_open)
