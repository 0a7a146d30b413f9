"""Import a network from PyTorch: from a module or from an exported program."""

import copy
import operator
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind, TensorArgument

from tacit.errors import InputError
from tacit.lipschitz.layers import Shape
from tacit.lipschitz.network import Network
from tacit.lipschitz.readers import build
from tacit.lipschitz.readers.aten_graph import (
    Argument,
    AtenGraph,
    AtenNode,
    Ref,
    complete,
    with_changes,
)
from tacit.lipschitz.readers.aten_translate import (
    KNOWN,
    checked_network,
    from_graph,
    refuse_unknown,
)
from tacit.lipschitz.readers.check_import import InputLayout, Original, check_import


def from_module(module: torch.nn.Module, in_shape: Shape) -> Network:
    """Return the network of a PyTorch module in evaluation mode.

    The module is copied, traced by ``torch.export`` at batch size 1, translated, and
    the result compared with the module on random inputs.

    Parameters
    ----------
    module : torch.nn.Module
        With float32 or float64 weights, which are converted to float64 exactly. It is
        left as it is, its training flag included.
    in_shape : tuple of int
        Shape of one input sample, without batch axis.

    Returns
    -------
    Network

    Raises
    ------
    UnsupportedLayerError
        If it holds a layer that no bound is proved for.
    InputError
        If it cannot be traced, or takes or gives other than one tensor.
    ShapeError
        If its shapes do not fit ``in_shape``.
    ImportMismatchError
        If the network does not compute what the module computes.

    Examples
    --------
    >>> from torch import nn
    >>> from tacit.lipschitz.readers.from_torch import from_module
    >>> network = from_module(nn.Sequential(nn.AvgPool1d(2), nn.ReLU()), (1, 6))
    >>> network.out_shape
    (1, 3)
    """
    layout = InputLayout(sample=tuple(in_shape), batched=True)
    build.start(layout.sample, batched=True)  # checks the shape
    own = copy.deepcopy(module).cpu().eval()
    dtype = _dtype_of(own)
    example = torch.zeros(1, *layout.sample, dtype=dtype)
    try:
        with torch.no_grad():
            program = torch.export.export(own, (example,))
    except Exception as error:  # noqa: BLE001  torch.export raises all kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            "the module cannot be traced by torch.export on one sample of shape "
            f"{layout.sample}: {reason}"
        ) from None
    graph = _graph_of(program)
    network = checked_network(graph, layout)
    original = Original(
        run=lambda x: _only_tensor(own(x)),
        dtype=dtype,
        name="the module",
        takes_batches=True,
    )
    check_import(network, original)
    return network


def _only_tensor(output: object) -> Tensor:
    if isinstance(output, Tensor):
        return output
    parts: list[object] = []
    if isinstance(output, Mapping):
        parts = list(cast("Mapping[str, object]", output).values())
    elif isinstance(output, list | tuple):
        parts = list(cast("Sequence[object]", output))
    if len(parts) == 1:
        return _only_tensor(parts[0])
    raise InputError(
        f"a network must give one tensor; the module gives {type(output).__name__}"
    )


def _dtype_of(module: torch.nn.Module) -> torch.dtype:
    tensors = [*module.parameters(), *module.buffers()]
    found = {t.dtype for t in tensors if t.is_floating_point() or t.is_complex()}
    if not found <= {torch.float32, torch.float64}:
        names = ", ".join(sorted(str(dtype) for dtype in found))
        raise InputError(
            f"weights must be float32 or float64; got {names}; convert with .float()"
        )
    return torch.float32 if found == {torch.float32} else torch.float64


def from_exported_program(
    program: ExportedProgram, *, in_shape: Shape | None = None
) -> Network:
    """Return the network of a program made by ``torch.export.export``.

    Parameters
    ----------
    program : torch.export.ExportedProgram
        Of a module in evaluation mode, with one input and one output tensor; its batch
        size must be 1 or open.
    in_shape : tuple of int or None
        Shape of one sample. None: the program's input shape without the batch axis.

    Returns
    -------
    Network

    Raises
    ------
    UnsupportedLayerError, InputError, ShapeError, ImportMismatchError
        As :func:`from_module`.
    """
    return from_graph(_graph_of(program), in_shape)


def _graph_of(program: ExportedProgram) -> AtenGraph:
    constants, input_name = _inputs(program)
    nodes: list[AtenNode] = []
    sizes: tuple[int | None, ...] = ()
    output_name = _output(program)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name == input_name:
            sizes = tuple(
                size if isinstance(size, int) else None
                for size in node.meta["val"].shape
            )
        elif node.op == "get_attr":
            constants[node.name] = _attribute(program, str(node.target))
        elif node.op == "call_function":
            nodes.append(_node(node))
    refuse_unknown(nodes)
    return AtenGraph(
        nodes=with_changes(nodes, output_name),
        constants=constants,
        input_name=input_name,
        input_sizes=sizes,
        output_name=output_name,
    )


def _attribute(program: ExportedProgram, name: str) -> Tensor:
    value: object = program.graph_module
    for part in name.split("."):
        value = getattr(value, part)
    if isinstance(value, Tensor):
        return value.detach()
    raise InputError(
        f"the program holds {name!r}, a {type(value).__name__}; only plain tensors and "
        "operations are read, so remove control flow and gradient switches from the "
        "model"
    )


def _inputs(program: ExportedProgram) -> tuple[dict[str, Tensor], str]:
    constants: dict[str, Tensor] = {}
    inputs: list[str] = []
    stored = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}
    for spec in program.graph_signature.input_specs:
        if spec.kind in stored:
            target = str(spec.target)
            found = program.state_dict.get(target, program.constants.get(target))
            if not isinstance(found, Tensor):
                raise InputError(
                    f"the program holds no tensor {target!r}; export it again"
                )
            constants[spec.arg.name] = found.detach()
        elif isinstance(spec.arg, TensorArgument) and spec.kind == InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        else:
            inputs.append("?")
    if len(inputs) != 1 or inputs[0] == "?":
        raise InputError(
            f"a network must take one tensor; the program takes {len(inputs)} "
            f"inputs{'' if len(inputs) != 1 else ' of another kind'}; wrap it so that "
            "it takes one"
        )
    return constants, inputs[0]


def _output(program: ExportedProgram) -> str:
    specs = program.graph_signature.output_specs
    if any(spec.kind != OutputKind.USER_OUTPUT for spec in specs):
        raise InputError(
            "the program changes its own buffers or inputs; export it in eval mode"
        )
    if len(specs) != 1 or not isinstance(specs[0].arg, TensorArgument):
        raise InputError(
            f"a network must give one tensor; the program gives {len(specs)} outputs; "
            "wrap it so that it gives one"
        )
    return specs[0].arg.name


def _node(node: fx.Node) -> AtenNode:
    place = _place(node)
    target = node.target
    if target is operator.getitem:
        items, index = node.args
        given = {"items": _argument(items), "index": _argument(index)}
        return AtenNode(
            op="operator.getitem", arguments=given, outputs=(node.name,), place=place
        )
    if isinstance(target, torch._ops.OpOverload):  # pyright: ignore[reportPrivateUsage]
        op, overwrites = out_of_place(str(target))
        names = [str(a.name) for a in target._schema.arguments]  # pyright: ignore[reportPrivateUsage]
        given = dict(zip(names, map(_argument, node.args), strict=False))
        given |= {name: _argument(value) for name, value in node.kwargs.items()}
    else:
        op, overwrites = f"operator.{getattr(target, '__name__', target)}", False
        given = {str(i): _argument(value) for i, value in enumerate(node.args)}
    return make_node(op, given, (node.name,), place, overwrites=overwrites)


def out_of_place(op: str) -> tuple[str, bool]:
    """Return the out-of-place name of an ATen operation and whether it was in-place."""
    parts = op.split(".")
    if len(parts) == 3 and parts[1].endswith("_") and not parts[1].endswith("__"):
        return f"{parts[0]}.{parts[1][:-1]}.{parts[2]}", parts[1] != "detach_"
    return op, False


def make_node(
    op: str,
    given: Mapping[str, Argument],
    outputs: tuple[str, ...],
    place: str,
    *,
    overwrites: bool,
) -> AtenNode:
    """Return the node with the defaults of its schema, if it is an accepted one."""
    arguments = (
        complete(op, given) if op in KNOWN and op.startswith("aten.") else dict(given)
    )
    first = next(iter(arguments.values()), None)
    changes = (first.name,) if overwrites and isinstance(first, Ref) else ()
    return AtenNode(
        op=op, arguments=arguments, outputs=outputs, place=place, changes=changes
    )


def _argument(item: object) -> Argument:
    match item:
        case fx.Node():
            return Ref(item.name)
        case list() | tuple():
            return [_argument(part) for part in cast("Sequence[object]", item)]
        case bool() | int() | float() | str() | None | torch.dtype() | Tensor():
            return item
        case _:
            return None  # a device, layout or memory format, which changes no number


def _place(node: fx.Node) -> str:
    stack = cast(
        "Mapping[str, tuple[str, object]]", node.meta.get("nn_module_stack") or {}
    )
    if not stack:
        return node.name
    path, kind = list(stack.values())[-1]
    name = kind.__name__ if isinstance(kind, type) else str(kind).rsplit(".", 1)[-1]
    return f"{path} ({name})" if path else node.name
