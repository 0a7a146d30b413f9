"""ONNX models that are refused, each in one sentence and before anything runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_models import WEIGHTS, Step, dense, model, numbers, read, save
from tacit.errors import InputError, ShapeError, UnsupportedLayerError
from tacit.lipschitz.readers import from_onnx as module
from tacit.lipschitz.readers.from_onnx import from_onnx


def _external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/hostname"


def _external_constant(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer.pop()
    _ = tensor
    node = helper.make_node(
        "Constant", [], ["c"], value=numpy_helper.from_array(numbers(3))
    )
    node.attribute[0].t.data_location = TensorProto.EXTERNAL
    proto.graph.node.insert(0, node)


def _subgraph(proto: onnx.ModelProto) -> None:
    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=proto.graph, else_branch=proto.graph
    )
    proto.graph.node.append(node)


def _two_inputs(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(
        helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4])
    )


def _two_outputs(proto: onnx.ModelProto) -> None:
    proto.graph.output.append(
        helper.make_tensor_value_info("v0", TensorProto.FLOAT, None)
    )


def _half(proto: onnx.ModelProto) -> None:
    half = numpy_helper.from_array(numbers(3, 4).astype(np.float16), "w")
    proto.graph.initializer[0].CopyFrom(half)


def _integer_input(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64


def _no_shape(proto: onnx.ModelProto) -> None:
    proto.graph.input[0].type.tensor_type.ClearField("shape")


def _not_a_number(proto: onnx.ModelProto) -> None:
    bad = numbers(3, 4)
    bad[1, 2] = np.nan
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(bad, "w"))


def _short_weight(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = 2**40


def _unknown_type(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_type = 250


def _text_weight(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].CopyFrom(
        helper.make_tensor("w", TensorProto.STRING, [1], cast("Any", ["a"]))
    )


def _old_opset(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 6


def _no_opset(proto: onnx.ModelProto) -> None:
    del proto.opset_import[:]


def _unordered(proto: onnx.ModelProto) -> None:
    proto.graph.node.append(proto.graph.node.pop(0))


def _foreign(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].domain = "com.microsoft"


def _sparse(proto: onnx.ModelProto) -> None:
    proto.graph.sparse_initializer.add()


def _missing_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "nothing"


def _constant_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "w"


def _input_as_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "x"


def _empty(proto: onnx.ModelProto) -> None:
    del proto.graph.node[:]


def _recursive(proto: onnx.ModelProto) -> None:
    body = [helper.make_node("Self", ["a"], ["b"], domain="own")]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    proto.functions.append(
        helper.make_function("own", "Self", ["a"], ["b"], body, opsets)
    )
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = "Self", "own"


def _for_the_runtime_only(proto: onnx.ModelProto) -> None:
    attribute = helper.make_attribute("unknown", 3)
    proto.graph.node[1].attribute.append(attribute)


REFUSED: list[tuple[Callable[[onnx.ModelProto], None], type[Exception], str]] = [
    (_external, InputError, "stored outside the model's file"),
    (_external_constant, InputError, "stored outside the model's file"),
    (_subgraph, UnsupportedLayerError, "control flow"),
    (_two_inputs, InputError, "takes 2 and gives 1"),
    (_two_outputs, InputError, "takes 1 and gives 2"),
    (_half, InputError, "must be float32 or float64; 'w' is torch.float16"),
    (_integer_input, InputError, "float32 or float64; got INT64"),
    (_no_shape, InputError, "how many axes"),
    (_not_a_number, InputError, "weights must be finite"),
    (_short_weight, InputError, "weight 'w' is damaged"),
    (_unknown_type, InputError, "weight 'w' is damaged"),
    (_text_weight, InputError, "weight 'w' is damaged"),
    (_old_opset, InputError, "operator set 6; 7 or later"),
    (_no_opset, InputError, "names no operator set"),
    (_unordered, InputError, "uses 'v0', which nothing before it computes"),
    (_foreign, UnsupportedLayerError, r"com\.microsoft\.Relu"),
    (_sparse, InputError, "sparse"),
    (_missing_output, InputError, "not computed by its graph"),
    (_constant_output, InputError, "does not depend on the input"),
    (_input_as_output, InputError, "is empty"),
    (_empty, InputError, "holds no operation"),
    (_recursive, InputError, "cannot be inlined"),
    (_for_the_runtime_only, InputError, "ONNX Runtime cannot load the model"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED)
def test_what_cannot_be_read_is_refused(
    change: Callable[[onnx.ModelProto], None], error: type[Exception], message: str
) -> None:
    proto = dense()
    change(proto)
    with pytest.raises(error, match=message) as caught:
        from_onnx(proto)
    assert len(str(caught.value).splitlines()) == 1


def test_a_value_of_another_kind_in_a_constant_is_refused() -> None:
    proto = dense()
    proto.graph.node.insert(
        0, helper.make_node("Constant", [], ["s"], value_string="a")
    )
    with pytest.raises(
        UnsupportedLayerError, match="constants are read as numbers only"
    ):
        from_onnx(proto)


def test_constants_may_be_listed_as_numbers() -> None:
    proto = dense()
    proto.graph.node.insert(
        0, helper.make_node("Constant", [], ["c2"], value_floats=[1.0, 2.0, 3.0])
    )
    proto.graph.node.insert(
        0, helper.make_node("Constant", [], ["i"], value_ints=[0, -1])
    )
    proto.graph.node[2].input[2] = "c2"
    proto.graph.node.insert(4, helper.make_node("Reshape", ["v1", "i"], ["v1b"]))
    proto.graph.node[5].input[0] = "v1b"
    assert from_onnx(proto).num_outputs == 4


def test_huge_values_are_refused_before_they_are_made() -> None:
    steps: list[Step] = [("Pad", ["x", "p"], {}), ("Relu", ["v0"], {})]
    pads = np.array([0, 2**40, 0, 0])
    with pytest.raises(InputError, match=r"must have 1\.\.134217728 entries"):
        read(steps, (1, 4), {"p": pads})
    with pytest.raises(InputError, match="at most 134217728 entries"):
        from_onnx(model([("Relu", ["x"], {})], (1, 2**20, 2**20)))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = save(dense(), tmp_path / "model.onnx")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is not an ONNX model"):
        from_onnx(path)
    with pytest.raises(InputError, match="cannot be read"):
        from_onnx(tmp_path / "nothing.onnx")


def _unread(_: Path) -> bytes:
    pytest.fail("the file was read")


def test_a_file_over_the_limit_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(dense(), tmp_path / "model.onnx")
    monkeypatch.setattr(module, "MAX_MODEL_BYTES", 100)
    monkeypatch.setattr(Path, "read_bytes", _unread)
    with pytest.raises(InputError, match="of at most 100 are read"):
        from_onnx(path)


def test_shapes_that_do_not_fit_name_the_layer() -> None:
    with pytest.raises(ShapeError, match=r"layer 'step0' \(Gemm\)"):
        read([("Gemm", ["x", "w"], {})], (1, 5), WEIGHTS)
