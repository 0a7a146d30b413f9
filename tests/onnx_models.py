"""Small ONNX models written operation by operation, for the tests of the reader."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tacit.lipschitz.network import Network, run
from tacit.lipschitz.readers.from_onnx import from_onnx

Array = NDArray[np.generic]
# Operation, inputs, attributes; the i-th gives "v<i>", or several "v<i>.<j>".
Step = tuple[str, Sequence[str], Mapping[str, Any]]
# ONNX Runtime's newest may lag behind that of the onnx package.
IR_VERSION = 8


def numbers(*shape: int) -> NDArray[np.float32]:
    """Return distinct numbers without symmetry: no transposition goes unseen."""
    count = int(np.prod(shape))
    return np.sin(0.7 * np.arange(1.0, count + 1)).reshape(shape).astype(np.float32)


def model(
    steps: Sequence[Step],
    sizes: Sequence[int | str | None],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[int] = (),
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Return a model of ``steps`` from the input "x" to the output of the last one.

    Parameters
    ----------
    steps : sequence of (operation, inputs, attributes)
        In order.
    sizes : sequence
        Sizes of the input; a word or None leaves one open.
    constants : mapping of str to array
        Weights by name.
    opset : int
        Version of the operator set.
    outputs : sequence of int
        How many outputs each step has; 1 where the list is too short.
    dtype : int
        Type of the input and the output.
    """
    nodes = [
        helper.make_node(
            op, inputs, _outputs(i, outputs), name=f"step{i}", **attributes
        )
        for i, (op, inputs, attributes) in enumerate(steps)
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", dtype, sizes)],
        [helper.make_tensor_value_info(nodes[-1].output[0], dtype, None)],
        [numpy_helper.from_array(v, name) for name, v in (constants or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = IR_VERSION
    return proto


def _outputs(index: int, outputs: Sequence[int]) -> list[str]:
    count = outputs[index] if index < len(outputs) else 1
    return [f"v{index}"] if count == 1 else [f"v{index}.{j}" for j in range(count)]


def read(
    steps: Sequence[Step],
    sizes: Sequence[int | str | None],
    constants: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    outputs: Sequence[int] = (),
) -> Network:
    """Return the network of :func:`model`; the reader compares it with the runtime."""
    return from_onnx(model(steps, sizes, constants, opset=opset, outputs=outputs))


def save(proto: onnx.ModelProto, path: Path) -> Path:
    """Write a model to a file."""
    path.write_bytes(proto.SerializeToString())
    return path


def value(network: Network, *entries: float) -> list[float]:
    """Return the outputs of a network for one sample given by its entries."""
    x = torch.tensor(entries, dtype=torch.float64).reshape(1, *network.in_shape)
    return run(network, x).flatten().tolist()


DENSE: list[Step] = [
    ("Gemm", ["x", "w", "c"], {"transB": 1}),
    ("Relu", ["v0"], {}),
    ("Gemm", ["v1", "w"], {}),
]
WEIGHTS: dict[str, Array] = {"w": numbers(3, 4), "c": numbers(3)}


def dense(**changes: Any) -> onnx.ModelProto:
    """Return a model of two dense layers and a relu, its batch axis open."""
    return model(DENSE, ("batch", 4), WEIGHTS, **changes)
