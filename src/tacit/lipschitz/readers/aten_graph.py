"""A graph of ATen operations as plain data, and its evaluation by torch itself.

Both a traced module and a ``.pt2`` file become an :class:`AtenGraph`. It holds
nothing but names, numbers and tensors, so reading one from a file executes nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast, final

import torch
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.build import MAX_VALUE_ENTRIES, Value


@final
@dataclass(frozen=True)
class Ref:
    """The result of another node, or a constant, or the input, by name."""

    name: str


# What a node takes: plain data and references, in lists or alone.
Argument = (
    Ref | Tensor | bool | int | float | str | torch.dtype | None | Sequence["Argument"]
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AtenNode:
    """One operation.

    Parameters
    ----------
    op : str
        Such as ``aten.conv2d.default``, in-place forms by their out-of-place name.
    arguments : mapping of str to Argument
        By the names of the operation's schema, defaults filled in.
    outputs : tuple of str
        Names of its results.
    place : str
        Where it is in the module, for messages.
    changes : tuple of str
        Names of the memory that an in-place form overwrites.
    """

    op: str
    arguments: Mapping[str, Argument]
    outputs: tuple[str, ...]
    place: str
    changes: tuple[str, ...] = ()


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class AtenGraph:
    """A program with one input and one output.

    Parameters
    ----------
    nodes : tuple of AtenNode
        In the order of execution.
    constants : mapping of str to Tensor
        Weights, buffers and other constants.
    input_name, output_name : str
        The input and the result.
    input_sizes : tuple of int or None
        Sizes of the input, None for those left open.
    """

    nodes: tuple[AtenNode, ...]
    constants: Mapping[str, Tensor]
    input_name: str
    input_sizes: tuple[int | None, ...]
    output_name: str

    @property
    def dtype(self) -> torch.dtype:
        """The widest floating type among its constants, float64 if there is none."""
        found = {t.dtype for t in self.constants.values() if t.is_floating_point()}
        return torch.float32 if found == {torch.float32} else torch.float64


def resolve(argument: Argument, values: Mapping[str, object]) -> object:
    """Replace every reference in an argument by what it stands for."""
    if isinstance(argument, Ref):
        if argument.name not in values:
            raise InputError(
                f"the graph uses {argument.name!r} before it is computed; the file is "
                "damaged"
            )
        return values[argument.name]
    if isinstance(argument, list | tuple):
        return [resolve(item, values) for item in argument]
    return argument


def references(argument: Argument) -> list[str]:
    """Return the names an argument refers to."""
    if isinstance(argument, Ref):
        return [argument.name]
    if isinstance(argument, list | tuple):
        return [name for item in argument for name in references(item)]
    return []


def overload_of(op: str) -> torch._ops.OpOverload:  # pyright: ignore[reportPrivateUsage]
    """Return torch's operation for ``aten.<name>.<overload>``."""
    _, name, overload = op.split(".")
    return cast(
        "torch._ops.OpOverload",  # pyright: ignore[reportPrivateUsage]
        getattr(getattr(torch.ops.aten, name), overload),
    )


def complete(op: str, given: Mapping[str, Argument]) -> dict[str, Argument]:
    """Return the arguments of ``op`` with the defaults of its schema filled in."""
    full: dict[str, Argument] = {}
    for argument in overload_of(op)._schema.arguments:  # pyright: ignore[reportPrivateUsage]
        name = str(argument.name)
        if name in given:
            full[name] = given[name]
        elif argument.has_default_value():
            full[name] = argument.default_value
        else:
            raise InputError(f"{op} needs the argument {name!r}; the file is damaged")
    return full


_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "operator.add": lambda a, b: a + b,
    "operator.sub": lambda a, b: a - b,
    "operator.mul": lambda a, b: a * b,
    "operator.floordiv": lambda a, b: a // b,
}
ARITHMETIC = frozenset(_ARITHMETIC)
"""Operations between sizes that are evaluated, not translated."""


def calculate(op: str, values: Sequence[object]) -> int:
    """Evaluate one of ``ARITHMETIC`` on two whole numbers."""
    match list(values):
        case [int() as a, int() as b] if op != "operator.floordiv" or b != 0:
            return _ARITHMETIC[op](a, b)
        case _:
            raise UnsupportedLayerError(
                f"{op} is read between two sizes only; got {values}"
            )


def call(op: str, arguments: Mapping[str, object]) -> object:
    """Run one ATen operation on constants, refusing results that are too large."""
    function = overload_of(op)
    on_meta = {name: _to_meta(value) for name, value in arguments.items()}
    if "device" in on_meta:
        on_meta["device"] = "meta"
    _check_size(function(**on_meta), op)
    return function(**arguments)


def _to_meta(value: object) -> object:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, list | tuple):
        return [_to_meta(item) for item in cast("Sequence[object]", value)]
    return value


def _check_size(result: object, op: str) -> None:
    if isinstance(result, Tensor) and result.numel() > MAX_VALUE_ENTRIES:
        raise InputError(
            f"{op} makes a constant of shape {tuple(result.shape)}; at most "
            f"{MAX_VALUE_ENTRIES} entries are accepted"
        )
    if isinstance(result, list | tuple):
        for item in cast("Sequence[object]", result):
            _check_size(item, op)


def bind(node: AtenNode, result: object, values: dict[str, object]) -> None:
    """Store the results of a node under their names, and those it overwrites."""
    values.update(dict.fromkeys(node.changes, result))
    if len(node.outputs) == 1:
        values[node.outputs[0]] = result
        return
    if not node.outputs:
        return
    if not isinstance(result, list | tuple):
        raise InputError(
            f"{node.op} at {node.place} has one result, the file claims more"
        )
    values.update(zip(node.outputs, cast("Sequence[object]", result), strict=False))


def evaluate(graph: AtenGraph, inputs: Tensor) -> Tensor:
    """Run the graph by torch's own operations, in the dtype of ``inputs``.

    Parameters
    ----------
    graph : AtenGraph
        Already translated once, so that it holds accepted operations only.
    inputs : Tensor, shape of the graph's input
        What depends on it runs in its dtype; what is computed from constants alone
        keeps the dtype of the program.

    Returns
    -------
    Tensor
        The output as the original program computes it.
    """
    dtype = inputs.dtype
    values: dict[str, object] = {**graph.constants, graph.input_name: inputs}
    varying = {graph.input_name}
    with torch.no_grad():
        for node in graph.nodes:
            used = {name for a in node.arguments.values() for name in references(a)}
            arguments = {name: resolve(a, values) for name, a in node.arguments.items()}
            if used & varying:
                varying.update(node.outputs, node.changes)
                arguments = {name: _retype(a, dtype) for name, a in arguments.items()}
            bind(node, _run(node, arguments), values)
    output = values[graph.output_name]
    if not isinstance(output, Tensor):
        raise InputError("the output of the graph is not a tensor")
    return output


def _retype(value: object, dtype: torch.dtype) -> object:
    """Convert constants to ``dtype`` where they meet the input, and casts likewise."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, torch.dtype):
        return dtype if value.is_floating_point else value
    if isinstance(value, list | tuple):
        return [_retype(item, dtype) for item in cast("Sequence[object]", value)]
    return value


def _run(node: AtenNode, arguments: dict[str, object]) -> object:
    if node.op in ARITHMETIC:
        return calculate(node.op, list(arguments.values()))
    if node.op == "operator.getitem":
        items, index = arguments["items"], arguments["index"]
        return cast("Sequence[object]", items)[cast("int", index)]
    if node.op == "aten._assert_tensor_metadata.default":
        return None
    return overload_of(node.op)(**arguments)


def holds_value(arguments: Mapping[str, object]) -> bool:
    """Whether an argument depends on the network's input."""

    def depends(item: object) -> bool:
        if isinstance(item, list | tuple):
            return any(depends(part) for part in cast("Sequence[object]", item))
        return isinstance(item, Value)

    return any(depends(item) for item in arguments.values())


# Results of these share no memory with their arguments, unless they are in-place.
_FRESH = re.compile(
    r"aten\.(linear|conv|batch_norm|_native_batch_norm|add|sub|mul|div|neg|abs|relu|prelu"
    r"|leaky_relu|sigmoid|tanh|elu|selu|silu|gelu|softplus|hardtanh|clamp|matmul|mm|mean"
    r"|sum|avg_pool|adaptive_avg_pool|_adaptive_avg_pool|cat|stack|constant_pad|clone"
    r"|lift_fresh_copy)"
)


def with_changes(nodes: Sequence[AtenNode], output_name: str) -> tuple[AtenNode, ...]:
    """Let every in-place operation rebind all names of the memory it overwrites.

    An in-place operation is read as its out-of-place form, after which the overwritten
    value has the new one. That is right as long as the memory was made by an operation
    of the graph, and nothing else uses what it is a view of or views it.

    Raises
    ------
    InputError
        If an operation overwrites the input, a weight, or what something else views.
    """
    makers: dict[str, AtenNode] = {}
    viewed: set[str] = set()
    names: dict[
        str, list[str]
    ] = {}  # all names of the same memory, the first one first
    done: list[AtenNode] = []
    uses = Counter(name for node in nodes for name in _used_by(node))
    uses[output_name] += 1
    for node in nodes:
        if node.changes:
            same = names.setdefault(node.changes[0], [node.changes[0]])
            maker = makers.get(same[0])
            if (
                maker is None
                or viewed & {*same}
                or not _may_change(maker, makers, uses)
            ):
                raise InputError(
                    f"{node.place} overwrites memory in place that is also the input, "
                    "a weight or a part of another tensor; use inplace=False"
                )
            node = replace(node, changes=tuple(same))
            same.extend(node.outputs)
            names |= dict.fromkeys(node.outputs, same)
        elif _FRESH.match(node.op) is None:
            viewed.update(_used_by(node))
        makers |= dict.fromkeys(node.outputs, node)
        done.append(node)
    return tuple(done)


def _used_by(node: AtenNode) -> list[str]:
    return [name for item in node.arguments.values() for name in references(item)]


def _may_change(
    maker: AtenNode, makers: Mapping[str, AtenNode], uses: Mapping[str, int]
) -> bool:
    """Whether nothing but the result of ``maker`` shows the memory of its result."""
    while _FRESH.match(maker.op) is None:
        bases = _used_by(maker)
        if len(bases) != 1 or len(maker.outputs) != 1 or uses[bases[0]] != 1:
            return False
        if bases[0] not in makers:
            return False
        maker = makers[bases[0]]
    return True
