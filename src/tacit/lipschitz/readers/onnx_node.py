"""One ONNX operation with its inputs and attributes, taken out with types checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor

from tacit.errors import InputError, UnsupportedLayerError
from tacit.lipschitz.readers.build import Builder, Operand, Value, constant

MAX_LIST = 10_000
"""Most numbers that a list such as a shape may hold."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class GeluPart:
    """A step of GELU written out with Erf, which is no layer by itself.

    Parameters
    ----------
    source : Value
        The x that everything is computed from.
    step : {"erf", "one_plus_erf", "half", "x_times"}
        erf(x / sqrt(2)), then 1 + that, then half of it or x times it.
    """

    source: Value
    step: str


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxNode:
    """An operation.

    Parameters
    ----------
    op : str
        Such as ``Conv``.
    inputs : tuple
        Values, constants, or None where an optional input is left out.
    attributes : mapping of str to object
        As Python values.
    opset : int
        Version of the ONNX operator set.
    num_outputs : int
        Results that the graph names.
    """

    op: str
    inputs: tuple[Operand | GeluPart | None, ...]
    attributes: Mapping[str, object]
    opset: int
    num_outputs: int

    def has(self, position: int) -> bool:
        """Whether an input is given."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def operand(self, position: int) -> Operand:
        """Return an input."""
        item = self.inputs[position] if position < len(self.inputs) else None
        if isinstance(item, GeluPart):
            raise UnsupportedLayerError(
                "Erf is read only as part of 0.5 * x * (1 + Erf(x / sqrt(2)))"
            )
        if item is None:
            raise InputError(f"{self.op} needs an input number {position + 1}")
        return item

    def value(self, position: int = 0) -> Value:
        """Return an input that depends on the network's input."""
        item = self.operand(position)
        if isinstance(item, Value):
            return item
        raise UnsupportedLayerError(f"{self.op} of a constant is not read here")

    def constant(self, position: int) -> Tensor:
        """Return a constant input."""
        return constant(self.operand(position), f"input {position + 1} of {self.op}")

    def optional(self, position: int) -> Tensor | None:
        """Return a constant input, or None where it is left out."""
        return self.constant(position) if self.has(position) else None

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        item = self.attributes.get(name, default)
        if isinstance(item, int):
            return item
        raise self._wrong(name)

    def number(self, name: str, default: float) -> float:
        """Return an attribute that is a number."""
        item = self.attributes.get(name, default)
        if isinstance(item, int | float):
            return float(item)
        raise self._wrong(name)

    def text(self, name: str, default: str) -> str:
        """Return an attribute that is a word."""
        item = self.attributes.get(name, default)
        if isinstance(item, bytes):
            return item.decode("utf-8", "replace")
        if isinstance(item, str):
            return item
        raise self._wrong(name)

    def integers(self, name: str) -> list[int] | None:
        """Return an attribute that lists whole numbers, None if it is left out."""
        item = self.attributes.get(name)
        if item is None:
            return None
        if isinstance(item, list | tuple):
            parts = cast("Sequence[object]", item)
            found = [part for part in parts if isinstance(part, int)]
            if len(found) == len(parts) <= MAX_LIST:
                return found
        raise self._wrong(name)

    def listed(self, name: str, position: int) -> list[int] | None:
        """Return whole numbers given as an attribute (old opsets) or as an input."""
        if name in self.attributes:
            return self.integers(name)
        return whole_numbers(self.constant(position)) if self.has(position) else None

    def _wrong(self, name: str) -> InputError:
        got = type(self.attributes.get(name)).__name__
        return InputError(
            f"attribute {name!r} of {self.op} has an unexpected type {got}"
        )


Result = Operand | GeluPart | list[Operand]
Handler = Callable[[Builder, OnnxNode], Result]


def whole_numbers(tensor: Tensor) -> list[int]:
    """Return the entries of a constant integer tensor."""
    if tensor.is_floating_point() or tensor.numel() > MAX_LIST or tensor.dim() > 1:
        raise InputError(
            f"expected a list of whole numbers, got {tensor.dtype} of shape "
            f"{tuple(tensor.shape)}"
        )
    return [int(entry) for entry in tensor.reshape(-1).to(torch.int64).tolist()]
