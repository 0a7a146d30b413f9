"""Help for the tests of the readers: compare what they make with the original."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from cases import normal
from tacit.lipschitz.network import Network, run
from tacit.lipschitz.readers import build
from tacit.lipschitz.readers.aten_graph import (
    Argument,
    AtenGraph,
    AtenNode,
    Ref,
    evaluate,
)
from tacit.lipschitz.readers.aten_translate import translate
from tacit.lipschitz.readers.build import Builder, Operand, Value
from tacit.lipschitz.readers.check_import import input_layout
from tacit.lipschitz.readers.from_torch import make_node

Make = Callable[[Builder, Value], Operand]
Plain = Callable[[Tensor], Tensor]


def compare(
    make: Make, plain: Plain, shape: tuple[int, ...], generator: torch.Generator
) -> None:
    """Build from an input of the original's ``shape`` and compare entry by entry."""
    batched = shape[:1] == (1,)
    sample = shape[1:] if batched else shape
    builder, start = build.start(sample, batched=batched)
    assert start.shape == shape
    value = make(builder, start)
    assert isinstance(value, Value)
    network = build.finish(builder, value)
    for _ in range(2):
        x = normal(generator, *shape)
        wanted = plain(x)
        assert value.shape == tuple(wanted.shape)
        got = run(network, x.reshape(1, *sample))
        torch.testing.assert_close(got.flatten(), wanted.flatten())


def one_operation(
    op: str,
    given: Mapping[str, Argument],
    sizes: tuple[int | None, ...],
    *,
    pick: int | None = None,
) -> AtenGraph:
    """Return the graph of one ATen operation on ``x``, or of one of its results."""
    nodes = [make_node(op, given, ("y",), "here", overwrites=False)]
    if pick is not None:
        nodes.append(
            AtenNode(
                op="operator.getitem",
                arguments={"items": Ref("y"), "index": pick},
                outputs=("z",),
                place="here",
            )
        )
    # An activation, so that a change of shape alone is not an empty network.
    last = {"self": Ref(nodes[-1].outputs[0])}
    nodes.append(
        make_node("aten.tanh.default", last, ("out",), "here", overwrites=False)
    )
    return AtenGraph(
        nodes=tuple(nodes),
        constants={},
        input_name="x",
        input_sizes=sizes,
        output_name="out",
    )


def compare_graph(graph: AtenGraph, generator: torch.Generator) -> Network:
    """Translate a graph of fixed sizes and compare with torch's own run of it."""
    shape = tuple(size for size in graph.input_sizes if size is not None)
    layout = input_layout(shape, shape[1:] if shape[0] == 1 else shape)
    network = translate(graph, layout)
    for scale in (0.3, 3.0):
        x = scale * normal(generator, *shape)
        wanted = evaluate(graph, x).flatten()
        got = run(network, x.reshape(1, *layout.sample)).flatten()
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    return network
