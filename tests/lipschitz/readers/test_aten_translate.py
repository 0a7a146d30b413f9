from collections.abc import Mapping

import pytest
import torch

from cases import normal
from imported import compare_graph
from tacit.errors import (
    ImportMismatchError,
    InputError,
    ShapeError,
    UnsupportedLayerError,
)
from tacit.lipschitz.readers import aten_translate
from tacit.lipschitz.readers.aten_arguments import Arguments
from tacit.lipschitz.readers.aten_graph import Argument, AtenGraph, AtenNode, Ref
from tacit.lipschitz.readers.aten_translate import (
    KNOWN,
    from_graph,
    refuse_unknown,
    translate,
)
from tacit.lipschitz.readers.build import Builder, Value
from tacit.lipschitz.readers.check_import import input_layout
from tacit.lipschitz.readers.from_torch import make_node

X = Ref("x")


def node(op: str, given: Mapping[str, Argument], output: str) -> AtenNode:
    return make_node(op, given, (output,), "here", overwrites=False)


def graph(
    *nodes: AtenNode,
    constants: Mapping[str, torch.Tensor] | None = None,
    sizes: tuple[int | None, ...] = (1, 4),
    output: str = "out",
) -> AtenGraph:
    return AtenGraph(
        nodes=nodes,
        constants=constants or {},
        input_name="x",
        input_sizes=sizes,
        output_name=output,
    )


TANH = node("aten.tanh.default", {"self": X}, "out")


def test_constants_are_folded(generator: torch.Generator) -> None:
    """A weight that the graph itself turns and scales, as weight norm does."""
    weight = normal(generator, 3, 4)
    turned = node("aten.t.default", {"self": Ref("w")}, "v")
    norm = node(
        "aten.linalg_vector_norm.default",
        {"self": Ref("v"), "dim": [0], "keepdim": True},
        "n",
    )
    scaled = node("aten.div.Tensor", {"self": Ref("v"), "other": Ref("n")}, "s")
    product = node("aten.mm.default", {"self": X, "mat2": Ref("s")}, "out")
    network = compare_graph(
        graph(turned, norm, scaled, product, constants={"w": weight}), generator
    )
    assert len(network.nodes) == 1


def test_an_operation_for_constants_alone_is_refused_on_the_input() -> None:
    power = node("aten.exp.default", {"self": X}, "out")
    with pytest.raises(UnsupportedLayerError, match=r"aten\.exp\.default"):
        translate(graph(power), input_layout((1, 4), None))


def test_nothing_that_opens_files_or_runs_code_is_known() -> None:
    names = {op.split(".")[1] for op in KNOWN}
    assert not names & {"from_file", "load", "save", "system", "eval", "empty", "rand"}
    for op in KNOWN:
        assert op.startswith(("aten.", "operator.")), op


def test_unknown_operations_are_named_with_what_is_accepted() -> None:
    sort = AtenNode(
        op="aten.sort.default", arguments={}, outputs=("y",), place="a.b (Sort)"
    )
    with pytest.raises(
        UnsupportedLayerError, match=r"layer a\.b \(Sort\), operation aten\.s"
    ):
        refuse_unknown([TANH, sort])
    with pytest.raises(UnsupportedLayerError, match="accepted are Linear, Conv1d"):
        translate(graph(sort, TANH), input_layout((1, 4), None))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64])
def test_other_number_types_are_refused(dtype: torch.dtype) -> None:
    constants = {"w": torch.ones(4).to(dtype)}
    with pytest.raises(InputError, match="must be float32 or float64; w is"):
        from_graph(graph(TANH, constants=constants))


BROKEN: list[tuple[AtenNode, type[Exception], str]] = [
    (
        node("aten.linear.default", {"input": X, "weight": torch.ones(3, 5)}, "out"),
        ShapeError,
        r"here \(aten.linear.default\): Dense does not fit",
    ),
    (
        node("aten.mm.default", {"self": torch.ones(2), "mat2": torch.ones(2)}, "out"),
        InputError,
        r"here \(aten.mm.default\) cannot be read",
    ),
    (
        node("aten.view.default", {"self": X, "size": ["a"]}, "out"),
        InputError,
        "a list of whole numbers",
    ),
    (
        AtenNode(
            op="operator.getitem",
            arguments={"items": [1], "index": 5},
            outputs=("out",),
            place="here",
        ),
        InputError,
        "list index out of range",
    ),
]


@pytest.mark.parametrize(("broken", "error", "message"), BROKEN)
def test_what_goes_wrong_names_the_place(
    broken: AtenNode, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        translate(graph(broken), input_layout((1, 4), None))


def test_an_output_that_is_no_tensor_is_refused() -> None:
    size = node("aten.sym_size.int", {"self": X, "dim": 1}, "out")
    with pytest.raises(InputError, match="is not a tensor"):
        translate(graph(size), input_layout((1, 4), None))
    with pytest.raises(InputError, match="is not a tensor"):
        translate(graph(TANH, output="nothing"), input_layout((1, 4), None))


def test_checks_of_the_exporter_are_passed_over() -> None:
    check = node("aten._assert_tensor_metadata.default", {"a": X}, "n")
    assert from_graph(graph(check, TANH)).num_neurons == 4


def test_an_open_batch_is_tried_and_a_mixing_one_refused() -> None:
    mixing = node("aten.mean.dim", {"self": Ref("out"), "dim": [0]}, "m")
    assert from_graph(graph(TANH, sizes=(None, 4))).in_shape == (4,)
    with pytest.raises(InputError, match="mixes the samples"):
        from_graph(graph(TANH, mixing, sizes=(None, 4), output="m"))
    # At batch size 1 the mean is the sample itself.
    assert from_graph(graph(TANH, mixing, sizes=(1, 4), output="m")).out_shape == (4,)


def test_a_wrong_translation_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(b: Builder, a: Arguments) -> Value:
        return aten_translate.build.activation(b, a.first, "relu")

    monkeypatch.setitem(aten_translate.TABLE, "aten.tanh.default", wrong)
    with pytest.raises(ImportMismatchError, match="from the program in float64"):
        from_graph(graph(TANH))
