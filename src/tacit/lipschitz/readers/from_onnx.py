"""Import a network from an ONNX model, and check it against ONNX Runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast, final

import numpy as np
import onnx
import onnx.inliner
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.network import Network
from tacit.lipschitz.readers import build
from tacit.lipschitz.readers.build import Builder, Value
from tacit.lipschitz.readers.check_import import (
    InputLayout,
    Original,
    check_import,
    input_layout,
)
from tacit.lipschitz.readers.onnx_fold import fold
from tacit.lipschitz.readers.onnx_node import GeluPart, OnnxNode
from tacit.lipschitz.readers.onnx_ops import OPERATIONS
from tacit.lipschitz.readers.onnx_views import VIEWS
from tacit.lipschitz.readers.place import located

MAX_MODEL_BYTES = 2**31
"""Largest model file that is read (2 GiB, also the limit of the format)."""

TABLE = OPERATIONS | VIEWS
_ACCEPTED = ", ".join(sorted([*TABLE, "Constant"]))
# Attributes and broadcasting rules changed meaning before it.
_OLDEST_OPSET = 7
_DTYPES: dict[int, torch.dtype] = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.DOUBLE: torch.float64,
}

_Held = Value | Tensor | GeluPart


def from_onnx(
    model: str | Path | onnx.ModelProto, *, in_shape: Shape | None = None
) -> Network:
    """Return the network of an ONNX model.

    The model is read at batch size 1, axis 0 of an input of several axes being the
    batch axis, and the result is compared with ONNX Runtime on random inputs.

    Parameters
    ----------
    model : path or onnx.ModelProto
        With one float32 or float64 input, one output, and all weights in one file.
    in_shape : tuple of int or None
        Shape of one sample, without batch axis; needed where the model leaves sizes
        open. The whole input's shape takes all of it as one sample.

    Returns
    -------
    Network

    Raises
    ------
    UnsupportedLayerError
        If it holds an operation that no bound is proved for.
    InputError
        If the file is no such model, is too large, or ONNX Runtime cannot run it.
    ShapeError
        If shapes do not fit together.
    ImportMismatchError
        If the network does not compute what the model computes.
    """
    proto = model if isinstance(model, onnx.ModelProto) else _load(Path(model))
    proto = _inlined(proto)
    _refuse_hidden(proto)
    opset = _opset(proto)
    constants = {t.name: _tensor(t) for t in proto.graph.initializer}
    given = _only_input(proto, constants)
    layout = input_layout(given.sizes, in_shape)
    network = _translate(proto, layout, given.name, constants, opset)
    check_import(network, _original(proto, layout, given))
    return network


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _Input:
    name: str
    sizes: tuple[int | None, ...]
    dtype: torch.dtype


def _load(path: Path) -> onnx.ModelProto:
    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise InputError(
                f"{path} has {size} bytes; ONNX models of at most {MAX_MODEL_BYTES} "
                "are read"
            )
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path} is not an ONNX model: {error}") from None


def _inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    if not proto.graph.node or proto.ir_version < 1:
        raise InputError(
            "the model is empty or no ONNX model: it holds no operation; export it "
            "again"
        )
    if not proto.functions:
        return proto
    try:
        inlined = onnx.inliner.inline_local_functions(proto)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"the model's local functions cannot be inlined: {reason}"
        ) from None
    if inlined.functions:
        raise InputError(
            "the model's local functions cannot be inlined; export it without"
        )
    return inlined


def _refuse_hidden(proto: onnx.ModelProto) -> None:
    """Refuse weights outside the file and graphs inside operations."""
    if proto.graph.sparse_initializer:
        raise InputError("the model holds sparse weights; store them as dense ones")
    tensors = list(proto.graph.initializer)
    for node in proto.graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            if attribute.HasField("g") or attribute.graphs:
                raise UnsupportedLayerError(
                    f"no bound is proved for {_place(node)}: it holds a graph of its "
                    "own (control flow); export a model without branches or loops"
                )
    for tensor in tensors:
        is_outside = tensor.data_location == onnx.TensorProto.EXTERNAL
        if is_outside or tensor.external_data:
            raise InputError(
                f"weight {tensor.name!r} is stored outside the model's file; save one "
                "file with onnx.save(model, path, save_as_external_data=False)"
            )


def _opset(proto: onnx.ModelProto) -> int:
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            if entry.version < _OLDEST_OPSET:
                raise InputError(
                    f"the model uses operator set {entry.version}; {_OLDEST_OPSET} or "
                    "later is read, convert it with onnx.version_converter"
                )
            return int(entry.version)
    raise InputError("the model names no operator set of ONNX; export it again")


def _tensor(proto: onnx.TensorProto) -> Tensor:
    try:
        array = numpy_helper.to_array(proto)
        tensor = torch.from_numpy(np.array(array))
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise InputError(
            f"weight {proto.name!r} is damaged or of a type that is not read: {error}"
        ) from None
    if tensor.dtype in (torch.float16, torch.bfloat16) or tensor.is_complex():
        raise InputError(
            f"weights must be float32 or float64; {proto.name!r} is {tensor.dtype}"
        )
    return tensor


def _only_input(proto: onnx.ModelProto, constants: dict[str, Tensor]) -> _Input:
    inputs = [entry for entry in proto.graph.input if entry.name not in constants]
    if len(inputs) != 1 or len(proto.graph.output) != 1:
        raise InputError(
            "a network must take one tensor and give one; the model takes "
            f"{len(inputs)} and gives {len(proto.graph.output)}"
        )
    kind = inputs[0].type.tensor_type
    dtype = _DTYPES.get(kind.elem_type)
    if dtype is None:
        number = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise InputError(f"the model's input must be float32 or float64; got {number}")
    if not kind.HasField("shape"):
        raise InputError(
            "the model does not say how many axes its input has; add a shape to its "
            "input"
        )
    sizes = tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)
    return _Input(name=inputs[0].name, sizes=sizes, dtype=dtype)


def _translate(
    proto: onnx.ModelProto,
    layout: InputLayout,
    input_name: str,
    constants: dict[str, Tensor],
    opset: int,
) -> Network:
    builder, start = build.start(layout.sample, batched=layout.batched)
    values: dict[str, _Held] = {**constants, input_name: start}
    for node in proto.graph.node:
        results = _apply(builder, node, values, opset)
        values.update(zip(node.output, results, strict=False))
    output = values.get(proto.graph.output[0].name)
    if output is None or isinstance(output, GeluPart):
        raise InputError("the model's output is not computed by its graph")
    return build.finish(builder, output)


def _place(node: onnx.NodeProto) -> str:
    name = node.name or (node.output[0] if node.output else "?")
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"layer {name!r} ({domain}{node.op_type})"


def _apply(
    builder: Builder, node: onnx.NodeProto, values: dict[str, _Held], opset: int
) -> Sequence[_Held]:
    where = _place(node)
    if node.domain not in ("", "ai.onnx"):
        raise UnsupportedLayerError(
            f"no bound is proved for {where}; accepted are {_ACCEPTED}"
        )
    missing = [name for name in node.input if name and name not in values]
    if missing:
        raise InputError(
            f"{where} uses {missing[0]!r}, which nothing before it computes"
        )
    with located(where):
        if node.op_type == "Constant":
            return [_constant(node)]
        own = OnnxNode(
            op=node.op_type,
            inputs=tuple(values[name] if name else None for name in node.input),
            attributes={
                a.name: onnx.helper.get_attribute_value(a) for a in node.attribute
            },
            opset=opset,
            num_outputs=sum(1 for name in node.output if name),
        )
        depends = any(isinstance(item, Value | GeluPart) for item in own.inputs)
        if not depends and own.op != "Shape":
            return [fold(own)]
        if own.op not in TABLE:
            raise UnsupportedLayerError(
                f"no bound is proved for it; accepted are {_ACCEPTED}"
            )
        result = TABLE[own.op](builder, own)
    return result if isinstance(result, list) else [result]


def _constant(node: onnx.NodeProto) -> Tensor:
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        match attribute.name:
            case "value":
                return _tensor(cast("onnx.TensorProto", value))
            case "value_float" | "value_floats":
                return torch.tensor(value, dtype=torch.float32)
            case "value_int" | "value_ints":
                return torch.tensor(value, dtype=torch.int64)
            case _:
                continue
    raise UnsupportedLayerError("constants are read as numbers only")


def _original(proto: onnx.ModelProto, layout: InputLayout, given: _Input) -> Original:
    evaluate = _session(proto, given)

    def run(batch: Tensor) -> Tensor:
        if layout.batched:
            return evaluate(batch)
        return torch.stack([evaluate(sample) for sample in batch])

    is_open = layout.batched and given.sizes[0] is None
    return Original(
        run=run, dtype=given.dtype, name="ONNX Runtime", takes_batches=is_open
    )


def _session(proto: onnx.ModelProto, given: _Input) -> Callable[[Tensor], Tensor]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # Without rewriting, so that what runs is what the file says.
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    )
    try:
        session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        run = cast("Callable[..., Sequence[object]]", session.run)
    except Exception as error:  # noqa: BLE001  ONNX Runtime raises its own kinds
        # It has no float64 kernels of some layers; ONNX's reference has all.
        run = _reference(proto, str(error))

    def evaluate(x: Tensor) -> Tensor:
        try:
            outputs = run(None, {given.name: x.numpy()})
        except Exception as error:  # noqa: BLE001  as above
            raise RuntimeError(str(error)) from None
        return torch.from_numpy(np.array(outputs[0]))

    return evaluate


def _reference(proto: onnx.ModelProto, reason: str) -> Callable[..., Sequence[object]]:
    short = " ".join(reason.split())[:200]
    if "NOT_IMPLEMENTED" not in reason and "IR version" not in reason:
        raise InputError(
            "ONNX Runtime cannot load the model, so the import cannot be checked: "
            f"{short}"
        )
    try:
        return cast("Callable[..., Sequence[object]]", ReferenceEvaluator(proto).run)
    except Exception as error:  # noqa: BLE001  as above
        raise InputError(
            f"neither ONNX Runtime nor ONNX's reference can run the model: {short}; "
            f"{error}"
        ) from None
