import pytest
import torch

from imported import compare_graph
from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.aten_graph import (
    Argument,
    AtenGraph,
    AtenNode,
    Ref,
    bind,
    calculate,
    call,
    complete,
    evaluate,
    references,
    resolve,
    with_changes,
)
from tacit.lipschitz.readers.from_torch import make_node, out_of_place


def node(op: str, output: str, *arguments: Argument, kind: str = "") -> AtenNode:
    """Return one operation, in-place if it is spelt with an underscore."""
    name, overwrites = out_of_place(f"aten.{op}.{kind or 'default'}")
    keys = ("self", "other") if len(arguments) < 3 else ("self", "a", "b")
    given: dict[str, Argument] = dict(zip(keys, arguments, strict=False))
    return make_node(name, given, (output,), output, overwrites=overwrites)


def graph(*nodes: AtenNode, output: str) -> AtenGraph:
    return AtenGraph(
        nodes=with_changes(nodes, output),
        constants={},
        input_name="x",
        input_sizes=(1, 4),
        output_name=output,
    )


X, Y, Z = Ref("x"), Ref("y"), Ref("z")


def test_references_are_found_and_resolved_in_lists() -> None:
    argument: Argument = [X, 1, [Y, None]]
    assert references(argument) == ["x", "y"]
    assert resolve(argument, {"x": 5, "y": 6}) == [5, 1, [6, None]]
    with pytest.raises(InputError, match="uses 'y' before it is computed"):
        resolve(argument, {"x": 5})


def test_defaults_come_from_torchs_schema() -> None:
    full = complete("aten.leaky_relu.default", {"self": X})
    assert full == {"self": X, "negative_slope": 0.01}
    with pytest.raises(InputError, match="needs the argument 'other'"):
        complete("aten.add.Tensor", {"self": X})


@pytest.mark.parametrize(
    ("op", "result"), [("add", 9), ("sub", 5), ("mul", 14), ("floordiv", 3)]
)
def test_sizes_are_calculated_with(op: str, result: int) -> None:
    assert calculate(f"operator.{op}", [7, 2]) == result


@pytest.mark.parametrize("values", [[7, 0], [7], [7.0, 2], [1, 2, 3]])
def test_other_calculations_are_refused(values: list[object]) -> None:
    with pytest.raises(UnsupportedLayerError, match="between two sizes"):
        calculate("operator.floordiv", values)


def test_constants_too_large_are_refused_before_they_are_made() -> None:
    fill = complete("aten.full.default", {"size": [2**20, 2**20], "fill_value": 1.0})
    with pytest.raises(InputError, match="at most 134217728 entries"):
        call("aten.full.default", fill)
    assert torch.equal(
        torch.ones(2),
        call("aten.ones.default", complete("aten.ones.default", {"size": [2]})),  # pyright: ignore[reportArgumentType]
    )


def test_results_are_bound_to_their_names() -> None:
    values: dict[str, object] = {}
    several = AtenNode(op="o", arguments={}, outputs=("a", "b"), place="p")
    bind(several, [1, 2], values)
    assert values == {"a": 1, "b": 2}
    with pytest.raises(InputError, match="has one result"):
        bind(several, 3, values)


# In-place operations, against torch on real memory


def test_overwritten_values_are_seen_by_whoever_reads_them_later(
    generator: torch.Generator,
) -> None:
    """y = tanh(x); z = relu_(y); y *= 2; the sum of both names."""
    nodes = [
        node("tanh", "y", X),
        node("relu_", "z", Y),
        node("mul_", "w", Y, 2.0, kind="Scalar"),
        node("add", "out", Y, Z, kind="Tensor"),
    ]
    x = torch.tensor([[-1.0, 0.5, 2.0, -3.0]], dtype=torch.float64)
    assert torch.equal(evaluate(graph(*nodes, output="out"), x), 4.0 * x.tanh().relu())
    compare_graph(graph(*nodes, output="out"), generator)


def test_the_old_name_may_be_the_output(generator: torch.Generator) -> None:
    nodes = [node("tanh", "y", X), node("neg_", "z", Y)]
    x = torch.tensor([[-1.0, 0.5, 2.0, -3.0]], dtype=torch.float64)
    assert torch.equal(evaluate(graph(*nodes, output="y"), x), -x.tanh())
    compare_graph(graph(*nodes, output="y"), generator)


def test_a_view_that_only_the_overwriting_operation_reads_is_safe() -> None:
    nodes = [node("tanh", "y", X), node("t", "z", Y), node("neg_", "out", Z)]
    x = torch.ones(1, 4, dtype=torch.float64)
    assert torch.equal(evaluate(graph(*nodes, output="out"), x), -x.tanh().T)


UNSAFE: dict[str, tuple[list[AtenNode], str]] = {
    "the input": ([node("relu_", "y", X)], "y"),
    "a view of the input": ([node("t", "y", X), node("relu_", "z", Y)], "z"),
    "what a view shows": (
        [
            node("tanh", "y", X),
            node("t", "z", Y),
            node("neg_", "w", Y),
            node("add", "out", Z, Z, kind="Tensor"),
        ],
        "out",
    ),
    "a view of what is read later": (
        [
            node("tanh", "y", X),
            node("t", "z", Y),
            node("neg_", "w", Z),
            node("add", "out", Y, Y, kind="Tensor"),
        ],
        "out",
    ),
    "a view of the output": (
        [node("tanh", "y", X), node("t", "z", Y), node("neg_", "w", Z)],
        "y",
    ),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_overwriting_what_something_else_shows_is_refused(case: str) -> None:
    nodes, output = UNSAFE[case]
    with pytest.raises(InputError, match="overwrites memory in place"):
        graph(*nodes, output=output)


def test_the_dtype_is_the_widest_of_the_constants() -> None:
    def dtype(*tensors: torch.Tensor) -> torch.dtype:
        constants = {str(i): tensor for i, tensor in enumerate(tensors)}
        base = graph(node("tanh", "y", X), output="y")
        return AtenGraph(
            nodes=base.nodes,
            constants=constants,
            input_name="x",
            input_sizes=(1, 4),
            output_name="y",
        ).dtype

    single, double = torch.ones(1), torch.ones(1).double()
    assert dtype(single, torch.ones(1).int()) == torch.float32
    assert dtype(single, double) == torch.float64
    assert dtype() == torch.float64


def test_constants_are_computed_in_their_own_dtype() -> None:
    """1 / 3 in float32 stays what float32 makes of it when the input is float64."""
    third = make_node(
        "aten.div.Scalar", {"self": Ref("c"), "other": 3}, ("t",), "t", overwrites=False
    )
    product = node("mul", "out", X, Ref("t"), kind="Tensor")
    whole = AtenGraph(
        nodes=(third, product),
        constants={"c": torch.ones(1)},
        input_name="x",
        input_sizes=(1, 4),
        output_name="out",
    )
    y = evaluate(whole, torch.ones(1, 4, dtype=torch.float64))
    assert y.dtype == torch.float64
    assert float(y[0, 0]) == float(torch.ones(1) / 3)
