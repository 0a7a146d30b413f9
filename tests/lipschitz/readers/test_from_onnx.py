"""Whole ONNX models: what is read, and what is refused before anything runs."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from torch import nn

from cases import normal
from onnx_models import (
    DENSE,
    IR_VERSION,
    WEIGHTS,
    Step,
    dense,
    model,
    numbers,
    read,
    save,
    value,
)
from tacit.errors import (
    ImportMismatchError,
    InputError,
)
from tacit.lipschitz.network import run
from tacit.lipschitz.readers import from_onnx as module
from tacit.lipschitz.readers.build import Builder, Value
from tacit.lipschitz.readers.from_onnx import from_onnx
from tacit.lipschitz.readers.onnx_node import OnnxNode


def test_a_model_is_read_with_exact_weights() -> None:
    w, c = WEIGHTS["w"].astype(float), WEIGHTS["c"].astype(float)
    x = np.array([0.5, -1.0, 2.0, 0.25])
    wanted = np.maximum(w @ x + c, 0.0) @ w
    network = from_onnx(dense())
    assert value(network, *x) == pytest.approx(list(wanted), rel=1e-14)


def test_a_model_may_come_as_a_path(tmp_path: Path) -> None:
    path = save(dense(), tmp_path / "model.onnx")
    assert (
        from_onnx(path).digest
        == from_onnx(str(path)).digest
        == from_onnx(dense()).digest
    )


def test_weights_as_constants_and_as_old_style_inputs_are_the_same() -> None:
    plain = dense()
    listed = dense()
    for tensor in listed.graph.initializer:
        listed.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        )
    inside = dense()
    nodes = [
        helper.make_node("Constant", [], [t.name], value=t)
        for t in inside.graph.initializer
    ]
    del inside.graph.initializer[:]
    for node in reversed(nodes):
        inside.graph.node.insert(0, node)
    digests = {from_onnx(proto).digest for proto in (plain, listed, inside)}
    assert len(digests) == 1


def test_local_functions_are_inlined() -> None:
    body = [helper.make_node("Relu", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "Rectify", ["a"], ["b"], body, opsets)
    proto = dense()
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[1].op_type = "Rectify"
    proto.graph.node[1].domain = "own"
    assert from_onnx(proto).digest == from_onnx(dense()).digest


def test_float64_models_without_a_kernel_are_checked_by_the_reference() -> None:
    """ONNX Runtime has no float64 convolution."""
    weights = {"w": numbers(2, 1, 3).astype(np.float64)}
    steps: list[Step] = [("Conv", ["x", "w"], {"strides": [2]}), ("Relu", ["v0"], {})]
    proto = model(steps, (1, 1, 7), weights, dtype=TensorProto.DOUBLE)
    network = from_onnx(proto)
    assert network.out_shape == (2, 3)


def test_the_shape_may_be_given() -> None:
    proto = model([("Relu", ["x"], {})], ("batch", "channels", "length"))
    with pytest.raises(
        InputError, match=r"leaves sizes of its input open.*give in_shape"
    ):
        from_onnx(proto)
    assert from_onnx(proto, in_shape=(2, 5)).in_shape == (2, 5)


def test_a_fixed_batch_is_refused_unless_it_is_the_sample() -> None:
    proto = model(DENSE, (6, 4), WEIGHTS)
    with pytest.raises(InputError, match="has 6 as its batch size"):
        from_onnx(proto)
    assert from_onnx(proto, in_shape=(6, 4)).out_shape == (6, 4)


def test_a_normalised_verification_benchmark_is_read() -> None:
    """The shape of ACAS Xu and MNIST files: [1, 1, 1, n], Sub, Flatten, MatMul, Add."""
    steps: list[Step] = [
        ("Sub", ["x", "mean"], {}),
        ("Div", ["v0", "range"], {}),
        ("Flatten", ["v1"], {}),
        ("MatMul", ["v2", "w"], {}),
        ("Add", ["v3", "c"], {}),
        ("Relu", ["v4"], {}),
    ]
    mean, spread = numbers(1, 1, 1, 4), numbers(1, 1, 1, 4) + np.float32(3)
    constants = {**WEIGHTS, "w": numbers(4, 3), "mean": mean, "range": spread}
    network = read(steps, (1, 1, 1, 4), constants)
    x = np.array([0.5, -1.0, 2.0, 0.25])
    scaled = (x - mean.ravel().astype(float)) / spread.ravel().astype(float)
    wanted = np.maximum(scaled @ numbers(4, 3) + WEIGHTS["c"].astype(float), 0.0)
    assert network.in_shape == (1, 1, 4)
    assert value(network, *x) == pytest.approx(list(wanted), rel=1e-6)


# Random graphs, compared with ONNX Runtime in float32


OPS = ("Relu", "Tanh", "Sigmoid", "Abs", "Neg", "Softplus", "Elu", "LeakyRelu")


@settings(max_examples=40)
@given(
    choices=st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=8,
    )
)
def test_random_graphs_are_what_the_runtime_computes(
    choices: list[tuple[int, int, int]],
) -> None:
    names = ["x"]
    steps: list[Step] = []
    for kind, one, two in choices:
        a, b = names[one % len(names)], names[two % len(names)]
        match kind:
            case 0:
                steps.append(("Gemm", [a, "m", "k"], {"transB": two % 2, "alpha": 0.5}))
            case 1:
                steps.append((OPS[two % len(OPS)], [a], {}))
            case 2:
                steps.append(("Sub", [a, b], {}))
            case 3:
                steps.append(("Concat", [a, b], {"axis": 1}))
                steps.append(("Slice", [f"v{len(steps) - 1}", "two", "six", "one"], {}))
            case 4:
                steps.append(("Reshape", [a, "square"], {}))
                steps.append(("Transpose", [f"v{len(steps) - 1}"], {"perm": [0, 2, 1]}))
                steps.append(("Flatten", [f"v{len(steps) - 1}"], {}))
            case 5:
                steps.append(("Mul", ["k", a], {}))
            case _:
                steps.append(("Sum", [a, b, "k"], {}))
        names.append(f"v{len(steps) - 1}")
    steps.append(("Tanh", [names[-1]], {}))
    constants = {
        "m": numbers(4, 4),
        "k": numbers(4),
        "two": np.array([2]),
        "six": np.array([6]),
        "one": np.array([1]),
        "square": np.array([0, 2, 2]),
    }
    network = read(steps, ("batch", 4), constants)
    session = onnxruntime.InferenceSession(
        model(steps, ("batch", 4), constants).SerializeToString(),
        providers=["CPUExecutionProvider"],
    )
    x = numbers(5, 4)
    (theirs,) = session.run(None, {"x": x})
    ours = run(network, torch.from_numpy(x.astype(np.float64))).numpy()
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=1e-4, atol=1e-5)


# torch's own exporter


@pytest.mark.global_rng
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_model_of_torchs_exporter_is_read(
    tmp_path: Path, generator: torch.Generator
) -> None:
    exported = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1),
        nn.BatchNorm2d(3),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(12, 6),
        nn.GELU(),
        nn.Linear(6, 2),
    ).eval()
    program = torch.onnx.export(
        exported,
        (torch.zeros(2, 1, 8, 8),),
        dynamo=True,
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )
    assert program is not None
    network = from_onnx(save(program.model_proto, tmp_path / "model.onnx"))
    x = normal(generator, 3, 1, 8, 8)
    # The exporter folds batch norm into the convolution in float32.
    torch.testing.assert_close(
        run(network, x), exported.double()(x).detach(), rtol=1e-5, atol=1e-6
    )


# A wrong reader is found out


def _skipped(_: Builder, n: OnnxNode) -> Value:
    return n.value()


@pytest.mark.parametrize("op", ["Relu", "Gemm"])
def test_a_wrong_reader_is_found_out(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = cast("dict[str, object]", module.TABLE)
    right = module.TABLE[op]

    def transposed(b: Builder, n: OnnxNode) -> object:
        other = OnnxNode(
            op=n.op,
            inputs=(n.inputs[0], n.constant(1).flip(0), *n.inputs[2:]),
            attributes=n.attributes,
            opset=n.opset,
            num_outputs=n.num_outputs,
        )
        return right(b, other)

    monkeypatch.setitem(table, op, transposed if op == "Gemm" else _skipped)
    with pytest.raises(ImportMismatchError, match="differs from ONNX Runtime by"):
        from_onnx(dense())


def test_the_runtime_is_given_the_model_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is compared with is the file's own graph, not one that was simplified."""
    given_models: list[bytes] = []
    right = onnxruntime.InferenceSession

    def session(content: bytes, *others: Any, providers: list[str]) -> Any:
        given_models.append(content)
        return right(content, *others, providers=providers)

    monkeypatch.setattr(module.onnxruntime, "InferenceSession", session)
    proto = dense()
    from_onnx(proto)
    assert given_models == [proto.SerializeToString()]
    assert proto.ir_version == IR_VERSION
